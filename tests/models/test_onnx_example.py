"""examples/onnx: the program is the GRU that it says, by the command of its page; and the other one is told."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FEW = ("ordinary", "one_unit", "large_weights", "saturated")


def command(*options):
    """The page's, with more options."""
    page = (ROOT / "examples/README.md").read_text()
    (line,) = [each for each in re.findall(r"^    (.*)$", page, re.M) if "onnx/gru.py" in each]
    words = [{"python": sys.executable}.get(word, word) for word in shlex.split(line)][1:]
    at = words.index("--")
    return [*words[:at], *options, *words[at:]]


def test_the_onnx_example_is_equal(isogru, results, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = isogru(*command(*(word for name in FEW for word in ("--case", f"gru_reset_after-{name}"))))
    assert done.status == 0, done
    assert done.out.splitlines()[-1].startswith("equal to gru_reset_after in float32: states of 4 cases, "), done.out


def test_the_operators_default_is_another_function(isogru, results, tmp_path):
    """linear_before_reset is 0 where nobody says it."""
    text = (ROOT / "examples/onnx/gru.py").read_text()
    (tmp_path / "gru.py").write_text(text.replace("model(p, linear_before_reset=1)", "model(p, linear_before_reset=0)"))
    words = command("--case", "gru_reset_after-ordinary", "--why")
    words[words.index("examples/onnx/gru.py")] = str(tmp_path / "gru.py")
    done = isogru(*words)
    assert (done.status, "✗ different: gru_reset_after-ordinary: H[" in done.out) == (1, True), done
    assert "the reset gate acts before the product with W_hh" in done.out
