"""The neutral command lines: what they print, what they refuse, and with which exit status. They are run in this
process, and one of each package as a process of its own, as a user types them.
"""

from __future__ import annotations

import json

import pytest

from shared_spec import cases


@pytest.fixture(autouse=True)
def _own_results(results):
    """Nothing here touches the user's results."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("isogru", "cells"),
        ("isogru", "verdict", "none.safetensors", "none.npy"),
        ("shared_spec", "case", "gru-ordinary", "-o", "frameworks"),
        ("frameworks", "caffe", "list"),
        ("reports", "verdict", "none.safetensors", "none.npy"),
    ],
)
def test_a_process_of_its_own_does_the_same(command, process, arguments):
    """The same exit status and the same words: what other tests see of `command` holds for what a user types."""
    here, there = command(*arguments), process(*arguments)
    assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
    assert there.returncode == (0 if arguments == ("isogru", "cells") else 2)


def test_listings(command):
    rows = json.loads(command("shared_spec", "cases", "--json").stdout)
    assert [row["name"] for row in rows] == cases.names()
    assert rows[0]["cell"] == "gru"
    assert "gru-ordinary" in command("shared_spec", "cases").stdout
    described = json.loads(command("shared_spec", "cells", "--json").stdout)
    assert described[0]["cost"]["dependent_products"] == 2
    assert "Z = sigmoid(X @ W_xz + H @ W_hz + b_z)" in command("shared_spec", "cells").stdout


def test_the_oracle_against_itself(command, tmp_path):
    case, result = str(tmp_path / "case.safetensors"), str(tmp_path / "oracle.safetensors")
    for dtype in ("float32", "float64"):
        assert command("shared_spec", "case", "gru-one_unit", "-o", case).returncode == 0
        assert command("shared_spec", "run", case, "-o", result, "--dtype", dtype).returncode == 0
        assert command("reports", "verdict", case, result).returncode == 0
    other = str(tmp_path / "other.safetensors")
    command("shared_spec", "case", "gru-one_step", "-o", other)
    refused = command("reports", "verdict", other, result)
    assert refused.returncode == 2
    assert f"made of another case than {other}; run it again on this one" in refused.stderr
    # What is read is not written over.
    before = (tmp_path / "case.safetensors").read_bytes()
    refused = command("shared_spec", "run", case, "-o", case)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "would overwrite what is read; write to another file" in refused.stderr
    assert (tmp_path / "case.safetensors").read_bytes() == before


def test_a_language_model_case_says_which_text_it_has(command, tmp_path, text):
    out = tmp_path / "case.safetensors"
    given = {"ISOGRU_CORPUS": ""} if text.source == "built-in" else {}
    done = command("shared_spec", "case", "short-training-gru", "-o", str(out), ISOGRU_CACHE=str(tmp_path), **given)
    assert done.returncode == 0
    assert done.stderr.startswith("corpus: ")
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("shared_spec", "case", "gru-none", "-o", "OUT"),
            "no case 'gru-none'; python -m shared_spec cases lists them",
        ),
        (
            ("shared_spec", "case", "short-training-gru", "-o", "OUT", "--corpus", "none.txt"),
            "corpus none.txt: no such f",
        ),
        (("shared_spec", "run", "none.safetensors", "-o", "OUT"), "none.safetensors: no such file"),
        (("shared_spec", "run", "README.md", "-o", "OUT"), "README.md: damaged, truncated or not a case file"),
        (("shared_spec", "run", "none", "-o", "OUT", "--dtype", "float8"), "no dtype 'float8'; the dtypes are float32"),
        (("reports", "verdict", "none.safetensors", "none.safetensors"), "none.safetensors: no such file"),
        (("reports", "site", "-o", "OUT"), "no results: there is no "),
        (("reports", "site", "--from", "none.json", "-o", "OUT"), "none.json: no such file"),
        (("reports", "compare", "none.json", "none.json"), "none.json: no such file"),
        (("reports", "compare", "README.md", "README.md"), "README.md: damaged, truncated or not a report"),
        (("reports", "site", "--framework", "caffe", "-o", "OUT"), "no framework 'caffe'; the frameworks are torch"),
        (("frameworks", "caffe", "list"), "no framework 'caffe'; the frameworks are torch, tensorflow, jax, mxnet"),
        (("frameworks", "torch", "prove"), "framework torch asked for but not importable here; run tox -e torch"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(command, tmp_path, arguments, said):
    out = tmp_path / "OUT"
    done = command(*(str(out) if word == "OUT" else word for word in arguments))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("isogru: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not out.exists()


def test_an_output_that_cannot_be_written(command, tmp_path):
    (tmp_path / "file").write_text("")
    done = command("shared_spec", "case", "gru-ordinary", "-o", str(tmp_path / "file" / "case.safetensors"))
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)


def test_an_output_that_is_a_folder(command, tmp_path):
    done = command("shared_spec", "case", "gru-ordinary", "-o", str(tmp_path))
    assert (done.returncode, "cannot be written" in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_a_folder_of_results_that_cannot_be_written(command, tmp_path):
    (tmp_path / "file").write_text("")
    done = command("reports", "site", ISOGRU_RESULTS=str(tmp_path / "file" / "results"))
    assert (done.returncode, "there is no" in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_threads_must_be_a_number(monkeypatch):
    from frameworks.harness.supervisor import threads_of_environment
    from shared_spec.errors import UserError

    for value, expected in (("", None), ("3", 3)):
        monkeypatch.setenv("ISOGRU_THREADS", value)
        assert threads_of_environment() == expected
    for value in ("many", "²", "0", "-1", "1" + 30 * "0", 5000 * "9", "٣"):
        monkeypatch.setenv("ISOGRU_THREADS", value)
        with pytest.raises(
            UserError, match=f"ISOGRU_THREADS is '{value[:40]}', should be a whole number from 1 to 4096"
        ):
            threads_of_environment()
