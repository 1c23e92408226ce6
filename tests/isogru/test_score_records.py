"""The file of a kill matrix: what is written is read again, and what is damaged is refused."""

from __future__ import annotations

import pytest

from isogru.score import records
from isogru.score.records import Control, Matrix, Trial, TriedMutant
from shared_spec.errors import InterchangeError


def matrix(*outcomes):
    trials = [Trial("reset_after", "equations", "gru", f"gru-{i}", each, "H", None) for i, each in enumerate(outcomes)]
    mutants = [TriedMutant("reset_after", "equations", "the reset gate acts after the product")]
    controls = [Control("gru-0", "equal", "H", 0.3)]
    return Matrix("numpy", "float32", 7, "isogru score --seed 7", "d", {"numpy": "2"}, mutants, controls, trials)


def test_what_is_written_is_read_again(results):
    written = matrix("killed", "alive")
    file = records.write(written)
    assert file == results / "score/numpy-float32.json"
    assert records.read(file) == written
    assert records.read_all() == [written]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("alive", "killed", "not applicable"), "killed"),
        (("alive", "equivalent"), "equivalent"),
        (("alive", "not applicable"), "alive"),
        (("not applicable",), "not applicable"),
        ((), "not applicable"),
    ],
)
def test_one_case_that_kills_is_enough(outcomes, expected):
    assert records.outcome(matrix(*outcomes).trials) == expected


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"isogru-score/1", b"isogru-score/9", "its format is 'isogru-score/9', this isogru reads isogru-score/1"),
        (b'"killed"', b'"slain"', "damaged: an outcome is 'slain'"),
        (b'"id": "reset_after"', b'"id": "other"', "damaged: 'reset_after' was tried and is none of its mutants"),
        (b'"seed": 7', b'"seed": "x"', "damaged"),
        (b"}\n  ],", b"", "damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(results, old, new, words):
    file = records.write(matrix("killed"))
    raw = file.read_bytes()
    assert old in raw
    file.write_bytes(raw.replace(old, new))
    with pytest.raises(InterchangeError, match=r"numpy-float32\.json: ") as refused:
        records.read(file)
    assert words in str(refused.value)
    assert "run isogru score again, or delete it" in str(refused.value)
