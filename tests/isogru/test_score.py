"""The score: what is drawn, what is proven equal, what is counted, and a small matrix of the equations."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from isogru.conventions import every, read_table
from isogru.edits import edited, unedited
from isogru.judge import reference
from isogru.score import drawing, exact, faults, problems, records, run, tally
from isogru.score.equations import Equations
from isogru.score.run import Plan
from shared_spec import cases
from shared_spec.cells import cell, cells
from shared_spec.errors import SpecificationError, UserError

E = every()
ONE_CASE = ("--case", "gru-one_step", "--dtype", "float32", "--drawn", "0")
PLANTED = ("update_turned", "order_rz: W_x", "start_ignored", "path_start")


def conventions(names):
    return [E[name] for name in names.split(" + ")]


@pytest.mark.parametrize(
    ("of", "names"),
    [
        ("gru", "update_turned + update_negated"),
        ("gru", "time_reversed + time_reversed"),
        ("gru", "time_reversed + inputs_reversed + states_reversed"),
        # Of two biases that are added to each other the sum counts.
        ("gru", "biases_exchanged"),
        ("gru_reset_after", "order_rz: every weight and bias + order_rz: every weight and bias"),
        ("rnn", "recurrent_transposed + recurrent_h_transposed"),
        ("gru", "state_in_float32"),
    ],
)
def test_the_same_function_is_proven_to_be_so(of, names):
    assert exact.proof(cell(of), conventions(names), bits=24)


@pytest.mark.parametrize(
    ("of", "names"),
    [
        ("gru", "reset_after"),
        ("gru", "update_turned"),
        ("gru", "reset_turned + update_negated"),
        ("gru_reset_after", "biases_exchanged"),
        ("gru", "start_ignored"),
        ("rnn", "states_late + states_late"),
        ("gru", "weights_in_float16"),
        ("gru", "bias_in_float16"),
        ("gru", "tanh_by_table"),
        ("gru", "gates_hard_sigmoid"),
    ],
)
def test_another_function_is_never_proven_to_be_the_same(of, names):
    assert not exact.proof(cell(of), conventions(names), bits=24)


def test_in_float64_a_state_in_float32_is_another_function():
    assert not exact.proof(cell("gru"), conventions("state_in_float32"), bits=53)


def test_what_is_finer_than_the_numbers_of_a_problem_is_not_proven_to_be_the_same():
    table = {"sentence": "s", "remedy": "r", "precision": {"bits": 50, "values": ["W_xh"]}}
    assert not exact.proof(cell("gru"), read_table("finer", table, {}, drawing.HERE), bits=53)


def test_every_convention_is_one_of_some_cell():
    missing = {*E} - {each.id for each in faults.fixed()}
    # A second bias has no update gate in any cell of cells.toml.
    assert missing == {"order_rz: the second bias"}
    kinds = {each.kind for each in faults.fixed()}
    assert kinds == {"equations", "weights", "sequence", "gradient", "training", "precision"}
    assert len(faults.fixed()) >= 60


def test_the_same_seed_draws_the_same():
    first, again, other = (drawing.drawn(seed, 60, dtype="float32") for seed in (1, 1, 2))
    ids = [[(each.id, each.cells) for each in those] for those in (first, again, other)]
    assert ids[0] == ids[1]
    assert len({*ids[0]}) == 60
    assert len({*ids[0]} & {*ids[2]}) < 10


def test_what_is_drawn_is_of_every_kind_and_written_down_nowhere():
    drawn = drawing.drawn(3, 300, dtype="float32")
    assert not {each.id for each in drawn} & {*E}
    kinds = {kind for each in drawn for kind in each.kind.split(" + ")}
    assert kinds == {"equations", "weights", "sequence", "gradient", "training", "precision"}
    assert {name for each in drawn for name in each.cells} == {*cells()}
    assert 0.15 < sum(len(each.conventions) == 2 for each in drawn) / 300 < 0.35
    assert all(len(each.cells) == 1 and faults.applies(each.conventions, cell(each.cells[0])) for each in drawn)


def one_convention(folder, edit):
    file = folder / "conventions.toml"
    table = f'[a]\nsentence = "s"\nremedy = "r"\n{edit}\n' if edit else ""
    file.write_text(f'format = "isogru-conventions/1"\n{table}')
    return file


def test_where_nothing_of_a_kind_is_written_down_none_of_it_is_drawn(tmp_path):
    """Of sequences, which are not made by drawing."""
    file = one_convention(tmp_path, 'rewrite = [["R * H", "H"]]')
    drawn = drawing.drawn(3, 60, dtype="float32", file=file)
    assert len(drawn) == 60
    assert {kind for each in drawn for kind in each.kind.split(" + ")} == {*drawing.MAKERS}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ('rewrite = [["R * H", "X"]]', "[a] cannot be computed: "),
        ('weights = { W_xz = "W_hz" }', "[a] cannot be computed: "),
        ('weights = { W_none = "W_none" }', "has no convention that any cell can have; "),
        ("", "has no convention that any cell can have; "),
    ],
)
def test_conventions_that_cannot_be_planted(tmp_path, edit, words):
    file = one_convention(tmp_path, edit)
    with pytest.raises(SpecificationError) as refused:
        faults.fixed(file)
    assert str(refused.value).startswith(f"{file}: {words}")


def test_the_interval_of_a_share():
    # Closed forms: of n out of n, and of none.
    assert tally.clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert tally.clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    low, high = tally.clopper_pearson(7, 20)
    for p, at_most in ((high, 7), (low, 6)):
        chance = sum(math.comb(20, i) * p**i * (1 - p) ** (20 - i) for i in range(at_most + 1))
        assert min(chance, 1 - chance) == pytest.approx(0.025)


def test_a_share_is_rounded_down():
    assert [tally.percent(share) for share in (3987 / 3991, 0.0, 1.0, 0.9999999)] == [
        "99.89%",
        "0.00%",
        "100.00%",
        "99.99%",
    ]


def test_a_training_whose_batches_are_the_same_is_proven_to_be_so():
    setting = E["batch_repeated"].training
    # Before the first batch of an epoch there is none.
    steps = problems.build("small-training-gru").problem.recipe.steps_per_epoch
    assert problems.same_batches("gru", replace(setting, value=steps))
    assert not problems.same_batches("gru", replace(setting, value=steps + 1))
    assert not problems.same_batches("gru", E["momentum"].training)


def test_small_trainings_are_clipped_at_some_steps_and_not_at_others():
    for name in cells():
        case = problems.build(f"small-training-{name}")
        norms = Equations().right(case, "float64").arrays["norm"]
        assert norms.min() < case.problem.recipe.clip_norm < norms.max()


def test_mutants_of_the_equations_are_killed(isogru, results):
    done = isogru("score", *ONE_CASE, *(word for name in PLANTED for word in ("--mutant", name)), "--seed", 5)
    assert done.status == 0, done
    assert "numpy in float32: 4 mutants, 4 killed, 0 equivalent, 0 alive" in done.out
    matrix = records.read(results / "score/numpy-float32.json")
    assert {each.mutant: each.quantity for each in matrix.trials} == {
        "update_turned": "H",
        "order_rz: W_x": "H",
        "start_ignored": "H",
        "path_start": "grad.H0",
    }
    assert {each.outcome for each in matrix.trials} == {"killed"}
    assert [(each.case, each.verdict) for each in matrix.controls] == [("gru-one_step", "equal")]
    assert matrix.trials[0].ratio > 1
    assert not list((results / "score").glob("*.jsonl"))


def test_a_mutant_that_lives_fails_the_run(isogru):
    # Of one step alone, nobody sees that the state is not carried on.
    done = isogru("score", *ONE_CASE, "--mutant", "not_carried", "--mutant", "reset_after")
    assert done.status == 1
    assert "alive: not_carried of gru" in done.out
    assert "alive: reset_after" not in done.out


def test_a_training_fault_is_seen_in_float32(isogru):
    case = ("--case", "small-training-rnn", "--dtype", "float32", "--drawn", "0")
    done = isogru("score", *case, "--mutant", "dropout_left_on", "--mutant", "clip_per_tensor")
    assert (done.status, "2 mutants, 2 killed" in done.out) == (0, True), done


def test_with_first_kill_who_is_dead_is_tried_no_more(isogru, results):
    asked = ("score", "--dtype", "float32", "--drawn", "0", "--mutant", "update_turned", "--mutant", "not_carried")
    done = isogru(*asked, "--case", "gru-one_step", "--case", "gru-one_sequence", "--first-kill", "--seed", 5)
    assert done.status == 0, done
    matrix = records.read(results / "score/numpy-float32.json")
    # Of one step, nobody sees that the state is not carried on.
    assert [(each.mutant, each.case, each.outcome) for each in matrix.trials] == [
        ("update_turned", "gru-one_step", "killed"),
        ("not_carried", "gru-one_step", "alive"),
        ("not_carried", "gru-one_sequence", "killed"),
    ]
    assert [each.case for each in matrix.controls] == ["gru-one_step", "gru-one_sequence"]
    assert (matrix.first_kill, "--first-kill" in matrix.command) == (True, True)


def test_a_mutant_that_fits_square_matrices_alone_is_killed_by_a_case_that_has_them(isogru):
    square = [word for name in cells() for word in ("--case", f"{name}-square")]
    transposed = ("--mutant", "input_transposed", "--mutant", "every_matrix_transposed")
    done = isogru("score", "--dtype", "float32", "--drawn", "0", *transposed, *square)
    assert (done.status, f"{2 * len(cells())} mutants, {2 * len(cells())} killed" in done.out) == (0, True), done


@pytest.mark.parametrize("name", cases.with_a_gate())
def test_a_gate_whose_argument_is_rounded_is_seen_to_the_finest_that_is_drawn(name):
    """Six bits fewer than the precision has, on the case whose bounds are the narrowest."""
    table = {"sentence": "s", "remedy": "r", "precision": {"bits": 24 - 6, "arguments": ["sigmoid"]}}
    case = problems.build(f"{name}-gates")
    planted = faults.fault([read_table("coarse", table, {}, drawing.HERE)[0]], [name])
    made = run.trial(Equations(), case, "float32", planted, reference.get(case, "float32"))
    assert (made.outcome, made.quantity) == ("killed", "H")


def test_every_mutant_of_a_cell_is_tried_on_some_case():
    for each in faults.fixed():
        of_states = each.of(*faults.CHANGES_STATES)
        for name in each.cells if of_states else ():
            some = (problems.build(f"{name}-{entry}") for entry in ("ordinary", "square"))
            assert any(edited(unedited(case), of_states) for case in some), (each.id, name)


def test_what_was_cut_off_goes_on(results, monkeypatch):
    plan = Plan("float32", 5, "c", faults.chosen(faults.fixed(), ["update_turned", "reset_turned"]), ["gru-one_step"])
    hand, planted = Equations(), []
    whole = run.run(hand, plan, resume=False, tell=planted.append)

    def once(case, dtype, conventions):
        if planted.count(dtype):
            raise KeyboardInterrupt
        planted.append(dtype)
        return wrong(case, dtype, conventions)

    wrong = hand.wrong
    monkeypatch.setattr(hand, "wrong", once)
    with pytest.raises(KeyboardInterrupt):
        run.run(hand, plan, resume=False, tell=planted.append)
    kept = run.kept_file(hand, plan)
    with pytest.raises(UserError, match="there already; go on with it by --seed 5 --resume"):
        run.run(hand, plan, resume=False, tell=planted.append)
    lines = kept.read_bytes()
    kept.write_bytes(lines.replace(b'"killed"', b'"kil', 1))
    with pytest.raises(UserError, match=r"line 3: damaged: .*; remove .* and begin anew without --resume"):
        run.run(hand, plan, resume=True, tell=planted.append)
    # A line that was cut off is done again.
    kept.write_bytes(lines + b'{"trial":{"mut')
    planted.clear()
    again = run.run(hand, plan, resume=True, tell=lambda line: None)
    assert planted == ["float32"]
    assert again == whole
    assert not kept.exists()


def test_an_older_matrix_is_no_obstacle_to_going_on(isogru, results):
    """Cut off after float32, where float64 was made before with another seed."""
    asked = ("score", "--case", "gru-one_step", "--drawn", "0", "--mutant", "update_turned")
    for words in (("--seed", 5), ("--seed", 6, "--dtype", "float32")):
        assert isogru(*asked, *words).status == 0
    done = isogru(*asked, "--seed", 6, "--resume")
    assert (done.status, done.out.count("1 mutants, 1 killed")) == (0, 2), done
    assert records.read(results / "score/numpy-float64.json").seed == 6
    done = isogru(*asked, "--seed", 7, "--resume")
    assert (done.status, "nothing is kept of isogru score --dtype float32 --seed 7" in done.err) == (2, True), done


def test_what_was_kept_of_another_run_is_refused(results):
    plan = Plan("float32", 5, "c", faults.chosen(faults.fixed(), ["update_turned"]), ["gru-one_step"])
    file = run.kept_file(Equations(), plan)
    file.parent.mkdir(parents=True)
    other = {"format": "isogru-score/1", "judge": "another", "command": "c", "mutants": [], "cases": []}
    file.write_text(json.dumps(other) + "\n")
    with pytest.raises(UserError, match="is of another version of the judge, or of other mutants or cases"):
        run.run(Equations(), plan, resume=True, tell=print)


def test_a_matrix_whose_control_is_not_equal_is_none(isogru, results, monkeypatch):
    hand = Equations()
    monkeypatch.setattr(
        Equations, "right", lambda self, case, dtype: hand.wrong(case, dtype, conventions("reset_after"))
    )
    done = isogru("score", *ONE_CASE, "--mutant", "update_turned")
    assert done.status == 3, done
    assert "without any fault is different, and a matrix would say nothing: H" in done.err
    assert not list((results / "score").glob("*.json"))


def test_an_own_file_of_conventions(isogru, tmp_path, results):
    file = tmp_path / "own.toml"
    table = '[turned]\nsentence = "s"\nremedy = "r"\nrewrite = [["H @ W_hr", "H @ W_hr - b_r"]]\n'
    file.write_text(f'format = "isogru-conventions/1"\n{table}')
    done = isogru("score", *ONE_CASE, "--conventions", file)
    assert (done.status, "1 mutants, 1 killed" in done.out) == (0, True), done
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(file.read_text().replace("- b_r", "/ b_r"))
    done = isogru("score", *ONE_CASE, "--conventions", wrong)
    assert done.status == 2
    assert "wrong.toml:2:" in done.err
