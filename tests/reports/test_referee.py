"""The page Referee: what is there, what is missing and how to make it, and what stands in its record."""

from __future__ import annotations

import json

import pytest

from isogru.score import records as score
from isogru.score.records import ALIVE, EQUIVALENT, KILLED, NOT_APPLICABLE
from isogru.suites import records as suites
from isogru.suites.matrix import Row
from isogru.suites.own import Curve, Measured
from reports.__main__ import app
from reports.referee import build, page
from shared_spec.command import main

MUTANTS = (
    score.TriedMutant("reset_after", "equations", "the reset gate acts after the product"),
    score.TriedMutant("labels_shifted", "training", "labels are shifted"),
    score.TriedMutant("W_hz = 2 * W_hz", "weights", "drawn", drawn=True),
)


def trial(mutant, outcome, case="gru-ordinary", ratio=1.0, **more):
    kind = next(each.kind for each in MUTANTS if each.id == mutant)
    return score.Trial(mutant, kind, "gru", case, outcome, "H", ratio, **more)


def matrix(framework="numpy", dtype="float32", trials=(), mutants=MUTANTS):
    controls = [score.Control("gru-ordinary", "equal", "H", 0.1)]
    return score.Matrix(framework, dtype, 7, "isogru score", "0", {"numpy": "1"}, list(mutants), controls, list(trials))


def suite(alive=("reset_after",), killed=None):
    killed = {"start_ignored": "one step"} if killed is None else killed
    return Row("keras", "Keras", "gru", "rtol 1e-05", 1, killed, tuple(alive), 9, 1, ("keras-team/keras: a",), "masks")


def curve(mutants, right, bounds=(1e-8, 1e-6)):
    """The tolerances that just accept each, on two cases."""
    names = ("gru-one_step", "gru-ordinary")
    made = [
        tuple(Measured(str(i), dict(zip(names, each, strict=True)), caught) for i, each in enumerate(those))
        for those, caught in ((mutants, True), (right, False))
    ]
    return Curve("gru", *made, dict.fromkeys(names, bounds))


@pytest.fixture
def scored(results):
    score.write(
        matrix(
            trials=[
                trial("reset_after", ALIVE, "gru-one_unit", 0.1),
                trial("reset_after", KILLED, "gru-ordinary", None),
                trial("labels_shifted", EQUIVALENT, proof="by equations"),
                trial("W_hz = 2 * W_hz", ALIVE),
            ]
        )
    )
    score.write(matrix("torch", trials=[trial("reset_after", ALIVE), trial("labels_shifted", NOT_APPLICABLE)]))
    suites.write(suites.made([suite()], [curve([(0.1, 0.2), (1e-3, float("inf"))], [(1e-7, 1e-6)])]))
    return build.build()


def test_a_mutant_is_killed_by_any_case(scored):
    (of,) = scored.cells
    fields = {row.mutant: row.fields for row in of.rows}
    numpys, torchs = fields["reset_after"]
    assert (numpys.outcome, numpys.by, numpys.tried, numpys.ratio, numpys.case) == (KILLED, 1, 2, None, "gru-ordinary")
    assert torchs.outcome == ALIVE
    assert of.alive == ["reset_after"]
    assert of.proofs == {"labels_shifted": "by equations"}


def test_what_was_drawn_counts_by_itself(scored):
    numpys, torchs = scored.columns
    assert (numpys.killed, numpys.equivalent, numpys.alive) == (1, 1, 0)
    assert numpys.drawn == {KILLED: 0, EQUIVALENT: 0, ALIVE: 1}
    assert (torchs.framework, torchs.alive, torchs.drawn[ALIVE]) == ("torch", 1, 0)
    assert [(one.mutant, one.framework) for one in scored.survivors] == [("W_hz = 2 * W_hz", "numpy")]


def test_what_is_missing_has_its_command(scored, results):
    told = {one.what: one.command for one in scored.missing}
    assert told["the mutants in numpy in float64"] == "tox -e score"
    assert told["the mutants in jax in float32 and float64"] == "tox -e score-jax"
    assert "the suites of other projects and the curve" not in told
    suites.file().unlink()
    assert "isogru suites" in [one.command for one in build.build().missing]


def test_a_curve_has_both_sides(scored):
    (drawn,) = scored.curves
    at = {point.tolerance: point for point in drawn.points}
    # Within what each is off at most, and within what it is off on one of two cases.
    assert (at[1e-4].killed, at[1e-4].killed_by_one, at[1e-4].rejected) == (1.0, 1.0, 0.0)
    assert (at[0.1].killed, at[0.1].killed_by_one) == (1.0, 0.5)
    assert (at[1e-9].rejected, at[1e-6].rejected) == (1.0, 0.0)
    assert (drawn.caught, drawn.accused, drawn.window) == (2, 0, (1e-6, 0.2))
    assert drawn.bounds == (1e-8, 1e-6)


def test_no_tolerance_is_told_where_none_serves(results):
    suites.write(suites.made([suite()], [curve([(1e-9, 1e-8)], [(1e-7, 1e-6)])]))
    assert build.build().curves[0].window is None


def test_the_page_and_its_record_say_it_all(scored, tmp_path):
    html = page.write(scored, tmp_path).read_text()
    for words in ("reset_after", "Keras", "tox -e score-jax", "1</span> of 9", "masks", "gru-square", "by equations"):
        assert words in html
    record = json.loads((tmp_path / "referee.json").read_text())
    assert record["format"] == "isogru-referee/1"
    assert record["suites"]["rows"][0]["alive"] == ["reset_after"]


def ended(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(lambda: app(["referee", *words]))
    return end.value.code or 0, capsys.readouterr()


def test_the_command_makes_a_page_of_nothing_and_says_what_to_run(results, tmp_path, capsys):
    status, said = ended(capsys, "-o", str(tmp_path / "site"))
    assert status == 0
    assert "not here: the suites of other projects and the curve: isogru suites" in said.out
    html = (tmp_path / "site" / "referee.html").read_text()
    assert "No matrix is here yet" in html
    assert "Not measured here yet" in html


@pytest.mark.parametrize("file", ["suites.json", "score/numpy-float32.json"])
def test_a_damaged_file_is_refused_and_nothing_is_written(scored, results, tmp_path, capsys, file):
    (results / file).write_text("{")
    status, said = ended(capsys, "-o", str(tmp_path / "site"))
    assert status == 2
    assert said.err.startswith(f"isogru: {results / file}: damaged")
    assert not (tmp_path / "site").exists()
