"""Exercise 1: the map of the right answer, every other corner, the other polarity, and what a training remembers."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from isogru.judge import verdict_cache
from isogru.judge.comparison import Finding
from reports.exercises import build, corners, gates, memory
from reports.exercises.corners import AT, FLAGS, STEPS, Answer, Gates
from reports.exercises.records import gates as records
from reports.pages import render
from shared_spec import cases, language_model, oracle
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError
from shared_spec.files import interchange, store
from shared_spec.influence import influence
from shared_spec.weights import layouts
from tests import sample_results

BOOK = cell("gru")
TURNED = gates.turned_round(BOOK)
RIGHT = Answer(at=Gates(Z=0, R=0), after=Gates(Z=1))
RIGHT_TURNED = Answer(at=Gates(Z=1, R=0), after=Gates(Z=0))
SEEDS = range(1, 6)


def wrong(one, answer):
    return corners.seen(corners.influence_of(one, answer)).wrong


def pairs(ends):
    return zip(ends[::2], ends[1::2], strict=True)


def derivatives(one, given):
    """dH_t/dX_k of every unit and column by the oracle's way back, as an array (T, T, n, h, d)."""
    unrolled = oracle.Unrolled(one, given.X, given.H0, given.parameters, {"X"})
    derivatives = np.empty((STEPS, *given.X.shape[:2], given.H0.shape[1], given.X.shape[2]))
    for t, unit in itertools.product(range(STEPS), range(given.H0.shape[1])):
        dH = np.zeros((STEPS, *given.H0.shape))
        dH[t, :, unit] = 1
        derivatives[t, :, :, unit] = unrolled.backward(dH)["X"]
    return derivatives


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("one", "answer"), [(BOOK, RIGHT), (TURNED, RIGHT_TURNED)])
def test_only_the_column_of_t_is_not_zero(one, answer, seed):
    given = corners.problem(one, answer, seed=seed)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        influences = influence(one, *given)
        back = derivatives(one, given)
    for t, k in itertools.product(range(AT, STEPS), range(STEPS)):
        if k == AT:
            assert (influences[t, k] > 0.01).all()
            assert (influences[t, k] == influences[AT, AT]).all(), "nothing is lost"
        else:
            assert (influences[t, k] == 0).all()
            assert not back[t, k].any(), "by the way back, every derivative by itself"
    assert (influences[:AT, :AT][np.tril_indices(AT)] > 0).all(), "before t' it is a GRU like any other"


def test_the_gates_are_where_they_were_put_and_else_anywhere():
    quantities = oracle.quantities(BOOK, *corners.problem(BOOK, RIGHT))
    assert (quantities["Z"][AT] == 0).all()
    assert (quantities["R"][AT] == 0).all()
    assert (quantities["Z"][AT + 1 :] == 1).all()
    for free in (quantities["Z"][:AT], quantities["R"][:AT], quantities["R"][AT + 1 :]):
        assert free.min() < 0.3 < 0.7 < free.max()
        assert ((free > 0) & (free < 1)).all()


@pytest.mark.parametrize("end", [0, 1])
def test_the_reset_gate_after_t_does_not_matter(end):
    free = corners.problem(BOOK, RIGHT)
    shut = corners.problem(BOOK, RIGHT._replace(after=Gates(1, end)))
    assert (oracle.quantities(BOOK, *shut)["R"][AT + 1 :] == end).all()
    assert (influence(BOOK, *shut)[AT:] == influence(BOOK, *free)[AT:]).all()
    assert (oracle.states(BOOK, *shut) == oracle.states(BOOK, *free)).all()


@pytest.mark.parametrize("before", corners.ENDS)
def test_the_gates_before_t_do_not_matter(before):
    free, other = (corners.problem(BOOK, RIGHT._replace(before=each)) for each in (Gates(), before))
    assert (oracle.states(BOOK, *free)[:AT] != oracle.states(BOOK, *other)[:AT]).any()
    assert (oracle.states(BOOK, *free)[AT:] == oracle.states(BOOK, *other)[AT:]).all()
    assert (influence(BOOK, *free)[AT:] == influence(BOOK, *other)[AT:]).all()


def test_another_past_and_future_change_nothing():
    given = corners.problem(BOOK, RIGHT)
    other = corners.another_past_and_future(BOOK, RIGHT, seed=7)
    content = (slice(None), slice(None), slice(FLAGS, None))
    apart = [t for t in range(STEPS) if (given.X[content][t] != other.X[content][t]).all()]
    assert apart == [t for t in range(STEPS) if t != AT], "all drawn anew but X_t'"
    assert (given.H0 != other.H0).all()
    assert {name for name, array in given.parameters.items() if (array == other.parameters[name]).all()} == {
        "W_xh",
        "W_hh",
        "b_h",
    }
    assert gates.independence(BOOK, RIGHT) == records.Independence(100, 100, 100, True)


@pytest.mark.parametrize(
    ("answer", "same", "changed", "alone"),
    [
        (RIGHT._replace(at=Gates(0, 1)), 0, 100, False),
        (RIGHT._replace(at=Gates(1, 0)), 0, 0, False),
        (RIGHT._replace(after=Gates(0, 0)), 0, 0, False),
        (RIGHT._replace(after=Gates(0, 1)), 0, 100, False),
    ],
)
def test_of_a_wrong_answer_something_else_matters(answer, same, changed, alone):
    independence = gates.independence(BOOK, answer)
    assert (independence.same, independence.changed, independence.alone) == (same, changed, alone)


def test_which_of_all_corners_work():
    every = corners.every_corner(BOOK)
    assert len(every) == 64
    for (before, at, after), sighting in every.items():
        works = at.Z == 0 and after.Z == 1 and (at.R == 0 or before.Z == 1)
        assert (not sighting.wrong) == works, (before, at, after)
    assert gates.right_answers(every) == [RIGHT, Answer(Gates(Z=1), Gates(Z=0), Gates(Z=1))]
    turned = gates.right_answers(corners.every_corner(TURNED))
    assert turned == [RIGHT_TURNED, Answer(Gates(Z=0), Gates(Z=1), Gates(Z=0))]


@pytest.mark.parametrize(
    ("at", "after", "why"),
    [
        (Gates(0, 0), Gates(1), ()),
        (Gates(0, 1), Gates(1), ("earlier",)),
        (Gates(1), Gates(1), ("ignored", "earlier")),
        (Gates(0, 0), Gates(0, 0), ("forgotten", "later")),
        (Gates(0, 0), Gates(0, 1), ("later",)),
        (Gates(1), Gates(0, 0), ("ignored", "later")),
        (Gates(0, 1), Gates(0, 1), ("earlier", "later")),
        (Gates(0), Gates(1), ("earlier",)),
        (Gates(0, 0), Gates(), ("later",)),
    ],
)
def test_what_goes_wrong(at, after, why):
    answer = Answer(at=at, after=after)
    assert wrong(BOOK, answer) == why
    assert corners.seen(corners.influence_of(BOOK, answer, flags=False)).wrong == why, "the content alone says the same"


@pytest.mark.parametrize(
    ("t", "k", "why"),
    [
        (AT + 1, AT - 1, ("earlier",)),
        (STEPS - 1, 0, ("earlier",)),
        (AT + 1, AT + 1, ("later",)),
        (STEPS - 1, STEPS - 1, ("later",)),
        (AT, 0, ()),
        (AT - 1, 1, ()),
    ],
)
def test_a_leak_anywhere_is_seen(t, k, why):
    """In one row of the batch only; states up to t' itself are not asked about."""
    influences = np.zeros((STEPS, STEPS, 2))
    influences[AT:, AT] = 1
    influences[t, k, 1] = 1e-300
    assert corners.seen(influences).wrong == why


def test_a_state_that_does_not_see_t_is_enough():
    influences = np.zeros((STEPS, STEPS, 2))
    influences[AT:, AT] = 1
    influences[STEPS - 1, AT, 1] = 0
    assert corners.seen(influences).wrong == ("forgotten",)
    influences[AT, AT] = 0
    assert corners.seen(influences).wrong == ("ignored",)


@pytest.mark.parametrize("seed", SEEDS)
def test_corners_are_written_short(seed):
    """All of them, no other, and no answer that another one covers or that could ask for less."""
    random = np.random.RandomState(seed)
    every = [Answer(*each) for each in itertools.product(corners.ENDS, repeat=3)]
    chosen = {corner for corner in every if random.rand() < (0.3, 0.7, 0.9)[seed % 3]}
    answers = corners.shortest(chosen)
    assert {corner for corner in every if any(answer.covers(corner) for answer in answers)} == chosen
    for answer in answers:
        ends = list(itertools.chain(*answer))
        for i in (i for i, end in enumerate(ends) if end is not None):
            less = Answer(*itertools.starmap(Gates, pairs([*ends[:i], None, *ends[i + 1 :]])))
            assert not {corner for corner in every if less.covers(corner)} <= chosen


def test_the_update_gate_turned_round_is_that():
    given = corners.problem(BOOK, RIGHT)
    negated = {name: -array if name.endswith("z") else array for name, array in given.parameters.items()}
    turned = oracle.states(TURNED, *given._replace(parameters=negated))
    np.testing.assert_allclose(turned, oracle.states(BOOK, *given), rtol=1e-12)
    assert np.abs(oracle.states(TURNED, *given) - oracle.states(BOOK, *given)).max() > 0.1


def test_an_answer_works_one_way_round_and_mixed_ones_neither():
    works = {
        (Z_at, Z_after): tuple(
            not wrong(one, Answer(at=Gates(Z_at, 0), after=Gates(Z_after))) for one in (BOOK, TURNED)
        )
        for Z_at, Z_after in itertools.product((0, 1), repeat=2)
    }
    assert works == {(0, 1): (True, False), (1, 0): (False, True), (0, 0): (False, False), (1, 1): (False, False)}
    assert wrong(BOOK, Answer(at=Gates(1, 0), after=Gates(1))) == ("ignored", "earlier")
    assert wrong(TURNED, Answer(at=Gates(1, 0), after=Gates(1))) == ("later",)
    assert wrong(BOOK, RIGHT_TURNED) == wrong(TURNED, RIGHT) == ("ignored", "earlier", "later")
    # In the map itself: the column of t' is empty, and what came before it stays.
    mixed = corners.influence_of(BOOK, Answer(at=Gates(1, 0), after=Gates(1)))
    assert (mixed[AT:, AT:] == 0).all()
    assert (mixed[AT:, :AT] > 0).all()


def test_what_the_part_says_is_what_was_computed(text):
    part = gates.build()
    book, turned = part.cells
    assert (book.corners, book.works, [answer.more for answer in book.answers]) == (64, 12, [8, 4])
    assert [answer.wrong for one in part.cells for answer in one.answers] == [[]] * 4, "with random gates too"
    assert [(kind.Z, kind.R) for kind in book.kinds] == [(0, 0), (0, 1), (1, None)]
    assert [(kind.Z, kind.R) for kind in turned.kinds] == [(0, None), (1, 0), (1, 1)]
    assert len(part.corners) == 9
    (right,) = [row for row in part.corners if not row.wrong]
    assert (right.at.Z, right.at.R, right.after.Z, right.after.R) == (0, 0, 1, None)
    for row in part.corners:
        assert (row.own == 0) == bool({"ignored", "forgotten"} & set(row.wrong))
        assert [getattr(row, way) > 0 for way in ("earlier", "later")] == [
            way in row.wrong for way in ("earlier", "later")
        ]
    assert part.polarity.works_in == [2, 2, 0]
    assert part.layers == records.Layers(len(layouts.layouts()), ["haiku.GRU"])
    assert [len(row) for row in part.map] == list(range(1, STEPS + 1))
    at = part.at - 1
    assert all((value > 0) == (k == at) for row in part.map[at:] for k, value in enumerate(row))


def test_gates_that_are_nearly_shut_nearly_work():
    rows = gates.build().degrees
    others = [row.others for row in rows]
    assert others == sorted(others, reverse=True)
    assert others[-1] == rows[-1].lost == 0 < others[-2]
    assert [row.kept for row in rows] == sorted(row.kept for row in rows)
    assert rows[0].kept < 0.5


def a_training(text, monkeypatch, kind=cases.SHORT_TRAINING):
    """A small language model as a case that is there; the weights at its end are made up."""
    small = {"num_hiddens": 4, "num_steps": 6, "num_train": 8, "num_val": 60, "batch_size": 4, "epochs": 2}
    recipe = language_model.recipe("gru", start="uniform", **small)
    monkeypatch.setattr(cases, "training_recipe", lambda name: recipe)
    case = cases.build(f"{kind}-gru", text)
    interchange.write_case(store.case_file(case.name), case)
    return case


def save(of, case, **changes):
    problem, steps = case.problem, 4
    random = np.random.RandomState(3)
    start = {f"{part}.{name}": p for part in ("grad", "step1") for name, p in problem.parameters.items()}
    end = {f"end.{name}": p + random.standard_normal(p.shape) for name, p in problem.parameters.items()}
    arrays = start | end | {"loss": np.ones(steps), "norm": np.ones(steps)}
    arrays = {name: array.astype(of.dtype) for name, array in arrays.items()}
    arrays |= {"perplexity.train": np.array([3.0, 2.0]), "perplexity.val": np.array([4.0, 2.5])}
    arrays |= {"text": np.zeros(problem.recipe.num_predictions, np.int32)}
    sample_results.save(of, arrays | changes.pop("arrays", {}), case=case, **changes)
    return arrays


def test_without_a_training_the_part_says_how_to_make_one(results):
    assert memory.remembered() == records.Memory(there=False, command="tox -e train-torch", passed=[])


def test_which_training_is_taken(text, monkeypatch):
    cases_of = {kind: a_training(text, monkeypatch, kind) for kind in (cases.SHORT_TRAINING, cases.FULL_TRAINING)}
    names = {kind: case.name for kind, case in cases_of.items()}
    best_first = [
        sample_results.job("jax", names[cases.FULL_TRAINING], "float64"),
        sample_results.job("torch", names[cases.FULL_TRAINING], "float32"),
        sample_results.job("torch", names[cases.SHORT_TRAINING], "float64"),
        sample_results.job("torch", names[cases.SHORT_TRAINING], "float64", "compiled"),
        sample_results.job("jax", names[cases.SHORT_TRAINING], "float64"),
        sample_results.job("torch", names[cases.SHORT_TRAINING], "float32"),
    ]
    for framework in ("jax", "torch"):
        sample_results.manifest(framework, [job for job in best_first if job.framework == framework])
    for job in best_first:
        save(job, cases_of[job.case.rpartition("-")[0]])
    for job in best_first:
        training = memory.find([])
        assert (training.origin.framework, training.origin.implementation) == (job.framework, job.implementation)
        assert (training.case.name, training.origin.dtype, training.verdict) == (job.case, job.dtype, "")
        job.result_file.unlink()
    assert memory.find([]) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"case_digest": "other"}, "stale"),
        ({"spec_digest": "other"}, "stale"),
        ({"unit_roundoff": 2.0**-24}, "asked for float64, computed with unit roundoff 6.0e-08: the label lies"),
        ({"arrays": {"end.W_hh": np.full((4, 4), np.nan)}}, "diverged"),
    ],
)
def test_a_training_of_no_use_is_passed_over_and_named(text, monkeypatch, changes, why):
    case = a_training(text, monkeypatch)
    bad, good = sample_results.job("torch", case.name, "float64"), sample_results.job("jax", case.name, "float64")
    for job in (bad, good):
        sample_results.manifest(job.framework, [job])
    save(bad, case, **changes)
    save(good, case)
    part = memory.remembered()
    assert part.label == "jax/scratch"
    assert part.passed == [records.Passed("torch/scratch", case.name, "float64", why)]
    good.result_file.unlink()
    assert [one.why for one in memory.remembered().passed] == [why]


def test_a_training_on_other_text_alone_is_of_no_use(text, monkeypatch):
    case = a_training(text, monkeypatch)
    job = sample_results.job("torch", case.name, "float64")
    sample_results.manifest("torch", [job])
    short = language_model.recipe("gru", num_steps=6, num_train=8, num_val=6, batch_size=4, epochs=2, num_hiddens=4)
    monkeypatch.setattr(cases, "training_recipe", lambda name: short)
    case = cases.build(case.name, text)
    interchange.write_case(store.case_file(case.name), case)
    save(job, case)
    (passed,) = memory.remembered().passed
    assert passed.why == "every window of its validation part has characters that were trained on"


def test_a_verdict_that_is_kept_is_told(text, monkeypatch):
    case = a_training(text, monkeypatch)
    job = sample_results.job("torch", case.name, "float64")
    sample_results.manifest("torch", [job])
    save(job, case)
    for verdict in ("equal", "different"):
        finding = Finding("loss", verdict, (0,), 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, "twins", 0, None, None)
        there = verdict_cache.Kept("", (finding,), None, None, {})
        monkeypatch.setattr(memory, "is_kept", lambda *_: True)
        monkeypatch.setattr(memory, "verdict_on", lambda *_, there=there: there)
        part = memory.remembered()
        assert part.there == (verdict == "equal")
        assert (part.verdict if part.there else part.passed[0].why) == verdict


def test_a_damaged_training_is_named(text, monkeypatch):
    case = a_training(text, monkeypatch)
    job = sample_results.job("torch", case.name, "float64")
    sample_results.manifest("torch", [job])
    save(job, case)
    job.result_file.write_bytes(b"no")
    with pytest.raises(InterchangeError, match=r"short-training-gru\.scratch\.float64\.cpu\.safetensors: damaged"):
        memory.remembered()


def test_windows_hold_nothing_that_was_trained_on(text, monkeypatch):
    case = a_training(text, monkeypatch)
    recipe, tokens = case.problem.recipe, case.problem.tokens
    trained = recipe.num_train + recipe.num_steps
    inputs, targets = memory.windows(case.problem)
    assert (targets[:, :-1] == inputs[:, 1:]).all()
    assert inputs.shape == (recipe.num_val - recipe.num_steps, recipe.num_steps)
    assert (inputs[0] == tokens[trained : trained + recipe.num_steps]).all()
    assert (inputs[-1] == tokens[recipe.num_train + recipe.num_val - 1 :][: recipe.num_steps]).all()


def test_what_is_remembered_is_of_the_weights_at_the_end(text, monkeypatch):
    case = a_training(text, monkeypatch)
    job = sample_results.job("torch", case.name, "float64")
    sample_results.manifest("torch", [job])
    arrays = save(job, case)
    part = memory.remembered()
    end = {name: arrays[f"end.{name}"] for name in case.cell.parameters}
    tokens, _ = memory.windows(case.problem)
    X, H0 = np.eye(len(case.problem.vocabulary))[tokens.T], np.zeros((len(tokens), 4))
    influences = influence(case.cell, X, H0, end)
    for t, row in enumerate(part.map):
        np.testing.assert_allclose(row, influences[t, : t + 1, 0], rtol=1e-3)
    back = [np.mean([influences[t, t - 2] for t in range(2, 6)]), np.mean([influences[t, t] for t in range(6)])]
    assert part.distance.trained[2] == pytest.approx(back[0] / back[1], rel=1e-3)
    assert part.text == list(case.problem.vocabulary.decode(tokens[0]))
    assert (part.perplexity, part.windows, part.units) == (2.5, len(tokens), 4)
    Z = oracle.quantities(case.cell, X, H0, end)["Z"]
    assert part.gates["Z"] == records.Ends((Z < 0.1).mean(), (Z > 0.9).mean())


def test_how_far_states_move_is_by_replacing_a_character(text, monkeypatch):
    case = a_training(text, monkeypatch)
    tokens, _ = memory.windows(case.problem)
    X, H0 = np.eye(len(case.problem.vocabulary))[tokens.T], np.zeros((len(tokens), 4))
    parameters = {name: case.problem.parameters[name] for name in case.cell.parameters}
    shifts = memory.moved(case.cell, tokens, X, H0, parameters)
    T = len(X)
    assert (shifts[np.triu_indices(T, 1)] == 0).all(), "no state moves by a character that comes after it"
    assert (shifts[np.diag_indices(T)] > 0).all(), "each character was replaced by another one"
    nothing = memory.moved(
        case.cell,
        tokens,
        X,
        H0,
        {**parameters, "W_xz": 0 * parameters["W_xz"]} | {name: 0 * parameters[name] for name in ("W_xr", "W_xh")},
    )
    assert not nothing.any()


def test_how_far_back():
    profile = 0.5 ** np.arange(10)
    assert memory.reach(profile, 0.5) == pytest.approx(1)
    assert memory.reach(profile, 0.5**3.5) == pytest.approx(3.5)
    assert memory.reach(profile, 1e-3) is None
    assert memory.reach(np.array([1.0, 0.6, 0.0]), 0.5) == 2
    shares = memory.by_distance(np.tril(np.full((5, 5), 4.0))[..., None])
    np.testing.assert_array_equal(shares, np.ones(5))
    falling = np.fromfunction(lambda t, k, n: np.where(t >= k, 3 * 0.5 ** (t - k), 0), (5, 5, 2))
    np.testing.assert_allclose(memory.by_distance(falling), 0.5 ** np.arange(5))


def visible(page):
    """What is read where no script runs."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", "", page[page.index('<section id="gates"') :])
    return " ".join(re.sub(r"<[^>]+>", " ", body.replace("&nbsp;", " ")).split())


def test_the_page_has_the_answer_without_scripts(tmp_path):
    page = render.write_exercises(build.build(), tmp_path).read_text(encoding="utf-8")
    words = visible(page)
    assert "at t′ Z = 0, R = 0" in words
    assert "after t′ Z = 1 , R anything" in words.replace("1,", "1 ,")
    assert "12 work; 8 of them are this answer. 4 more come with another" in words
    assert "the same to the last bit in 100 of 100 draws" in words
    assert "2 work for one of the two, none for both, and 2, which mix the two, for neither" in words
    assert "tox -e train-torch" in words
    assert words.count("✓ works") == 3
    part = page[page.index('<section id="gates"') : page.index("</section>")]
    assert part.count("<math") == 4 + 2 + 3 + 2
    for name in ("forced", "book", "turned"):
        assert f'id="chart-gates-{name}"' in part
    assert "chart-gates-trained" not in part
    assert '<a href="#gates">' in page


def test_the_page_names_the_training(text, monkeypatch, tmp_path):
    case = a_training(text, monkeypatch)
    jobs = [sample_results.job("torch", case.name, "float64"), sample_results.job("torch", case.name, "float32")]
    sample_results.manifest("torch", jobs)
    for job in jobs:
        save(job, case)
    whole = build.build()
    page = render.write_exercises(whole, tmp_path).read_text(encoding="utf-8")
    words = visible(page)
    assert "at the end of short-training-gru in torch/scratch, float64 ( 2 epochs, 4 units" in words.replace(
        "(2", "( 2"
    )
    assert "not judged yet: python -m reports site does" in words
    assert "Passed over" not in words
    assert 'id="chart-gates-trained"' in page
    assert json.loads((tmp_path / "exercises.json").read_text())["gates"]["memory"]["label"] == "torch/scratch"
    save(jobs[0], case, case_digest="<b>")
    page = render.write_exercises(build.build(), tmp_path).read_text(encoding="utf-8")
    assert f"Passed over: torch/scratch float64 {case.name} (stale)." in visible(page)
