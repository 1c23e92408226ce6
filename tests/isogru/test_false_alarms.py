"""Right GRUs in many forms, on problems at the ends of the precisions: nobody is accused."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager

import msgspec
import pytest

from shared_spec.errors import UserError
from shared_spec.files.door import InterchangeError
from tests.false_alarms import campaign, judging
from tests.false_alarms.__main__ import app
from tests.false_alarms.problems import KINDS

SEED = 3


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_who_is_right_is_accused(kind):
    for made in judging.judged(SEED, 0, kind)["results"]:
        assert made["verdict"] in ("equal", "undetermined"), (made["form"], made["sentence"])


def test_states_that_come_together_again_after_chaos_accuse_nobody(monkeypatch):
    """Twins parted at step 79, and are close to each other again for some steps later; the results are not."""
    monkeypatch.delitem(judging.RESULTS, "float64")
    for made in judging.judged(20261127, 1935)["results"]:
        assert made["verdict"] in ("equal", "undetermined"), (made["form"], made["sentence"])


@pytest.mark.parametrize("kind", ["ordinary", "saturated", "denormal", "exploding", "chaotic", "overflowing"])
def test_no_wrong_gradient_is_equal_without_a_word(kind):
    assert list(judging.missed(SEED, 0, kind)) == []


def run(capsys, *arguments):
    """The exit status of the campaign's command, and what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app(["--seed", "5", "--processes", "1", *arguments])
    return ended.value.code, capsys.readouterr().out


def test_a_campaign_that_was_cut_off_goes_on(capsys, monkeypatch, results):
    # In this process: to start one takes longer than to judge.
    monkeypatch.setattr(campaign.reference, "pool", in_this_process)
    file = results / "false-alarms/5.jsonl"
    status, whole = run(capsys, "--results", "24", "-o", str(results / "table.md"))
    assert (status, whole.count("**all** | 24 |")) == (0, 1)
    assert whole.endswith("no right result is suspect or different\n")
    assert (results / "table.md").read_text() in whole
    kept = file.read_bytes()
    # Killed while the last problem was written.
    file.write_bytes(kept[:-100])
    status, again = run(capsys, "--results", "24", "--resume")
    assert (status, again, file.read_bytes()) == (0, whole, kept)
    with pytest.raises(UserError, match="is there already; go on with it by --resume, or remove it"):
        run(capsys, "--results", "24")


def test_who_is_accused_is_named_and_the_status_is_1(capsys, monkeypatch, results):
    monkeypatch.setattr(campaign.reference, "pool", in_this_process)
    right = judging.result_of

    def wrong(case, arrays, dtype):
        return right(case, {**arrays, "H": arrays["H"] + 1}, dtype)

    monkeypatch.setattr(judging, "result_of", wrong)
    status, out = run(capsys, "--results", "8")
    assert status == 1
    assert out.endswith("8 right results are suspect or different\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"no json", "line 1"),
        (msgspec.json.encode(campaign.Header(campaign.FORMAT, 6, "x")), "of seed 6 and not 5"),
        (msgspec.json.encode(campaign.Header(campaign.FORMAT, 5, "x")), "of another version of the judge"),
    ],
)
def test_records_that_are_not_those_of_the_campaign_are_refused(tmp_path, line, said):
    file = tmp_path / "5.jsonl"
    file.write_bytes(line + b"\n")
    with pytest.raises((UserError, InterchangeError), match=said) as error:
        campaign.read(file, 5)
    assert str(error.value).endswith(f"remove {file} and begin anew without --resume")
    with pytest.raises(InterchangeError, match="no such file; begin without --resume"):
        campaign.read(tmp_path / "6.jsonl", 6)


@contextmanager
def in_this_process(processes):
    class Pool:
        def submit(self, function, *given):
            done = Future()
            done.set_result(function(*given))
            return done

    yield Pool()
