"""The errata of the page: what becomes of the records of their runs, and of what is wrong with them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from frameworks.harness.errata import faults
from frameworks.harness.errata.faults import training as training_faults
from frameworks.harness.errata.time_axis import perplexity_of_character
from reports.diff.collect import FRAMEWORKS
from reports.exercises import build, errata, measured
from reports.exercises.records.errata import Wiring
from reports.pages import render
from shared_spec import cases, language_model
from shared_spec.cells import cell
from shared_spec.errata import records, texts
from shared_spec.errata.records import Held, Record, Wirings
from shared_spec.errors import InterchangeError, SpecificationError, UserError
from shared_spec.files import interchange, store
from shared_spec.files.interchange import TrainingCase
from shared_spec.language_model import training
from tests import sample_results

TESTS = Path(__file__).parents[1] / "errata"
NASTY = "<script>alert(1)</script>"
FOUND = {
    "reset-placement": {"layer": "torch.nn.GRU(1, 2)"},
    "time-axis": {
        "T": 32,
        "n": 1024,
        "steps_right": 32,
        "steps_wrong": 1024,
        "seconds_right": 0.204,
        "seconds_wrong": 3.468,
        "rounds": 1,
        "epochs": 2,
        "batch_size": 64,
        "perplexity_right": 7.414,
        "perplexity_wrong": 10.136,
        "perplexity_of_character": 9.423,
        "corpus": "a text",
    },
    "reset-only": {"refused": "Z is not defined here"},
    "update-only": {"gradient_right": 2.1197, "gradient_wrong": 0.0},
    "turned-gate": {},
    "clipping": {"clip_norm": 1.0, "norms_of_rnn": [0.5, 2.5, 1.5], "norms_of_gru": [0.25], "corpus": "a text"},
    "perplexity": {"exact": [20.5, 17.25], "plotted": [20.625, 17.125], "corpus": "a text"},
}


def one(what, expected, verdict=None, **changes):
    known = {"what": what, "expected": expected, "verdict": verdict or expected, "cell": "gru"}
    known |= {"spec_digest": cell("gru").digest, "quantity": "H", "ratio": 0.25}
    return Held(**known | {"sentence": f"H[0,1] of {what}"} | changes)


def record(name="turned-gate", framework="torch", **changes):
    known = {
        "name": name,
        "framework": framework,
        "dtype": "float32",
        "versions": {"lib": "1.0"},
        "machine": {"processor": "a processor"},
        "cases": {"gru-ordinary": cases.build("gru-ordinary").digest},
        "wirings": Wirings(wrong=["H = wrong"], right=["H = right"]),
        "held": [one("right", "equal"), one("wrong", "different", ratio=2.5e5)],
        "measured": records.MEASURED[name](**FOUND[name]),
    }
    return Record(**known | changes)


def entry(name="turned-gate"):
    return next(each for each in errata.build().entries if each.name == name)


def statuses(name="turned-gate"):
    return {run.framework: run.status for run in entry(name).runs}


def page(folder):
    return render.write_exercises(build.build(), folder).read_text(encoding="utf-8")


def test_nothing_was_run(tmp_path):
    part = errata.build()
    assert part.proven == 0
    assert part.runs == sum(len(each.frameworks) for each in texts.entries().values())
    assert all(run.status == "not run" for each in part.entries for run in each.runs)
    assert {each.command for each in part.made_with} == {
        "tox -e errata",
        *(f"tox -e errata-{name}" for name in FRAMEWORKS),
    }
    html = page(tmp_path)
    assert f"0 of {part.runs} runs prove" in html
    assert html.count("tensorflow: not run") == len(texts.entries())
    assert "what was run" not in html
    assert "worst value" not in html


def test_a_proven_erratum(tmp_path):
    records.write(record())
    records.write(record(framework="jax", held=[one("right", "equal"), one("wrong", "different", ratio=None)]))
    erratum = entry()
    assert statuses() == {"numpy": "not run", "torch": "proven", "tensorflow": "not run", "jax": "proven"} | {
        "mxnet": "not run"
    }
    assert erratum.frameworks == ["torch", "jax"]
    assert [row.label for row in erratum.rows] == ["Z keeps, held against gru", "Z renews, held against gru"]
    assert [held.ratio for held in erratum.rows[1].verdicts] == [2.5e5, None]
    assert erratum.wirings["wrong"] == [Wiring(["torch", "jax"], ["H = wrong"])]
    assert [worst.sentence for worst in erratum.worst] == ["H[0,1] of wrong"] * 2
    html = page(tmp_path)
    for said in ("2 of 30 runs prove", "torch: proven", "H = wrong", "2.5e+05", "∞", "H[0,1] of wrong", "lib 1.0"):
        assert said in html
    assert "not as claimed" not in html


def test_wirings_that_differ_say_whose_they_are(tmp_path):
    records.write(record())
    records.write(record(framework="jax", wirings=Wirings(wrong=["H = another"], right=["H = right"])))
    html = page(tmp_path)
    assert "Z renews, torch<" in html
    assert "Z renews, jax<" in html
    assert "Z keeps<" in html


@pytest.mark.parametrize(("what", "verdict"), [("right", "suspect"), ("right", "different"), ("wrong", "equal")])
def test_a_verdict_that_is_not_the_one_claimed(tmp_path, what, verdict):
    expected = {"right": "equal", "wrong": "different"}
    held = [one(each, expected[each], verdict if each == what else None) for each in expected]
    records.write(record(held=held))
    assert statuses()["torch"] == "not proven"
    assert page(tmp_path).count("not as claimed") == 1


def test_an_erratum_without_verdicts_proves_nothing():
    records.write(record(held=[]))
    assert statuses()["torch"] == "not proven"


def test_a_claim_that_is_not_met_is_shown(tmp_path):
    records.write(record(unmet=[f"the losses part at step {NASTY}"]))
    assert statuses()["torch"] == "not proven"
    html = page(tmp_path)
    assert "Not as claimed, torch: the losses part at step &lt;script&gt;alert(1)&lt;/script&gt;." in html
    assert NASTY not in html


def test_a_run_that_broke_off_is_a_row_that_says_so(tmp_path):
    records.write(record())
    records.write_failure("turned-gate", "torch", f"ValueError: {NASTY}")
    assert statuses()["torch"] == "failed"
    assert entry().rows == []
    html = page(tmp_path)
    assert "torch: failed</span>: <code>ValueError: &lt;script&gt;alert(1)&lt;/script&gt;</code>" in html
    assert NASTY not in html
    records.write(record())
    assert statuses()["torch"] == "proven"


@pytest.mark.parametrize(
    "changes",
    [
        {"held": [one("right", "equal", spec_digest="another")]},
        {"cases": {"gru-ordinary": "another"}},
        {"cases": {"gru-none": "another"}},
    ],
)
def test_a_record_of_another_cell_or_case_is_stale(tmp_path, changes):
    records.write(record(**changes))
    assert statuses()["torch"] == "stale"
    assert entry().rows == []
    assert "torch: stale" in page(tmp_path)


def test_a_cell_of_the_faults_is_never_stale():
    records.write(record(held=[one("wrong", "different", cell="gru_turned", spec_digest="another")]))
    assert statuses()["torch"] == "proven"


def test_a_record_is_forgotten():
    records.forget("turned-gate", "torch")
    records.write(record())
    assert statuses()["torch"] == "proven"
    records.forget("turned-gate", "torch")
    assert statuses()["torch"] == "not run"
    records.write_failure("turned-gate", "torch", "ValueError: none")
    records.forget("turned-gate", "torch")
    assert statuses()["torch"] == "not run"


def changed(**changes):
    plain = msgspec.json.decode(msgspec.json.encode(record()))
    return json.dumps(plain | changes).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged"),
        (b"\xff\xfe", "damaged"),
        (changed(held="none"), "damaged"),
        (changed(held=[{"what": "right"}]), "damaged"),
        (changed(measured={"more": 1}), "damaged"),
        (changed(more=1), "damaged"),
        (changed(framework="jax"), "damaged"),
        (changed(name="clipping"), "damaged"),
        (changed(held=[{**msgspec.to_builtins(one("right", "equal")), "verdict": NASTY}]), "damaged"),
        (b"[]", f"its format is not given, this isogru reads {records.FORMAT}"),
        (changed(format="isogru-erratum/2"), f"its format is isogru-erratum/2, this isogru reads {records.FORMAT}"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_name(content, said):
    file = records.file_of("turned-gate", "torch")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(UserError) as refused:
        errata.build()
    assert str(refused.value) == f"{file}: {said}; run tox -e errata-torch again, or delete the file"


def test_a_folder_in_the_place_of_a_record():
    records.file_of("turned-gate", "numpy").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        errata.build()


def test_the_command_says_it_in_one_line(command, tmp_path):
    file = records.file_of("clipping", "numpy")
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    done = command("reports", "exercises", "-o", str(tmp_path / "site"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"isogru: {file}: its format is not given, this isogru reads {records.FORMAT}; run tox -e errata again, or "
        "delete the file"
    ]
    # The rest is shown, and that this one cannot be read.
    shown = json.loads((tmp_path / "site" / "exercises.json").read_text())["errata"]["entries"]
    runs = {(entry["name"], run["framework"]): run for entry in shown for run in entry["runs"]}
    assert runs["clipping", "numpy"]["status"] == "failed"
    assert runs["clipping", "numpy"]["why"].startswith(f"{file.name}: its format is not given")
    assert {run["status"] for name, run in runs.items() if name != ("clipping", "numpy")} == {"not run"}


def test_text_from_a_record_is_text(tmp_path):
    held = [one("wrong", "different", sentence=NASTY)]
    nasty = record(held=held, versions={NASTY: NASTY}, wirings=Wirings(wrong=[NASTY], right=[NASTY]))
    records.write(nasty)
    html = page(tmp_path)
    assert NASTY not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 5


SAID = {
    "reset-placement": ["The concise GRU is gru_reset_after in 1 of 1: torch.nn.GRU(1, 2)."],
    "time-axis": [
        "At the chapter's sizes, T = 32 and n = 1024, the layer takes 1024 steps instead of 32. Forward and backward, "
        "eager as in the book, took 3.5 s instead of 0.2 s, 17 times as long (passes timed of each: 1; a processor).",
        "Trained in batches of 64 for 2 epochs from one start, the training perplexity was 10.14 instead of 7.41. "
        "Whoever sees the current character alone cannot come below 9.42 on these windows. Text: a text.",
    ],
    "reset-only": ["As it is written the specification refuses it: Z is not defined here."],
    "update-only": [
        "The largest gradient of W_xz, W_hz and b_z is 0 where the candidate takes the blend's place, and should be "
        "2.12."
    ],
    "turned-gate": ["Of the 36 layouts that isogru knows, Z renews in 1: haiku.GRU."],
    "clipping": [
        "The verdicts are on the book's RNN, at its rate, T and h, from a uniform start: its norm exceeds 1 in 2 of 3 "
        "steps (largest 2.50). With the GRU of 10.2 in its place it does in 0 of 1 steps (largest 0.25). Text: a text."
    ],
    "perplexity": [
        "In the first epochs of a short training (torch): 20.625 instead of 20.500 and 17.125 instead of 17.250. Text: "
        "a text."
    ],
}


@pytest.mark.parametrize("name", texts.entries())
def test_what_was_measured_is_said(name):
    of_layer = [one("concise-after", "equal"), one("concise", "different")]
    framework = "tensorflow" if name == "time-axis" else "torch"
    written = record(name, framework, **({"held": of_layer} if name == "reset-placement" else {}))
    records.write(written)
    assert records.read(name, framework) == written
    assert entry(name).sentences == SAID[name]


def test_keras_has_both():
    held = [one("concise-after", "different", "different"), one("reset-before", "equal")]
    measurement = records.ResetPlacement(layer="keras.layers.GRU", reset_after="True")
    said = measured.sentences("reset-placement", [record("reset-placement", held=held, measured=measurement)])
    assert said == [
        "The concise GRU is gru_reset_after in 0 of 1: none.",
        "In Keras that is a default, reset_after=True; with False it is the one from scratch.",
    ]


@pytest.fixture
def trained(monkeypatch, text):
    """The chapter's training, made small, where tox -e train-jax would put it."""
    sizes = {"num_hiddens": 5, "num_steps": 6, "num_train": 20, "num_val": 6, "batch_size": 8, "epochs": 2}
    recipe = language_model.recipe("gru", start="uniform", **sizes)
    monkeypatch.setattr(cases, "training_recipe", lambda name: recipe)
    name = f"{cases.FULL_TRAINING}-gru"
    case = TrainingCase(name, language_model.problem(recipe, text))
    interchange.write_case(store.case_file(name), case)
    arrays = training.train(case.problem)
    job = sample_results.job("jax", name, "float64")
    sample_results.save(job, arrays, case=case)
    return job, case, arrays


def test_the_chapters_own_training_is_told_where_it_was_run(trained):
    _, _, arrays = trained
    label = "gru · jax/scratch · float64 · cpu"
    clipping = measured.sentences("clipping", [record("clipping")])
    assert clipping[1] == (
        f"In the chapter's own training of its GRU ({label}) it does in 0 of 6 steps (largest "
        f"{arrays['norm'].max():.2f}). There it makes no difference."
    )
    plotted = np.mean([np.exp(loss) for loss in arrays["loss"][3:]])
    said = measured.sentences("perplexity", [record("perplexity")])
    assert said[1] == (
        f"In the last of the chapter's 2 epochs ({label}): {plotted:.3f} instead of "
        f"{arrays['perplexity.train'][1]:.3f}."
    )


def test_a_training_of_another_text_is_not_told(trained):
    job, case, arrays = trained
    sample_results.save(job, arrays, case=case, case_digest="another")
    assert measured.fifty_epochs() is None
    assert len(measured.sentences("perplexity", [record("perplexity")])) == 1


def test_a_damaged_training_is_refused(trained):
    trained[0].result_file.write_bytes(b"damaged")
    with pytest.raises(InterchangeError, match=trained[0].result_file.name):
        measured.fifty_epochs()


def test_a_damaged_training_is_named_and_the_rest_is_shown(trained, command, tmp_path):
    job, case, _ = trained
    sample_results.manifest("jax", [job])
    records.write(record("perplexity"))
    job.result_file.write_bytes(b"damaged")
    done = command("reports", "exercises", "-o", str(tmp_path / "site"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"isogru: {job.result_file}: damaged, truncated or not a result file")
    assert line.endswith("; run tox -e train-jax again, or delete the file")
    shown = json.loads((tmp_path / "site" / "exercises.json").read_text())
    assert [one["why"] for one in shown["gates"]["memory"]["passed"]] == ["damaged"]
    assert len(next(e for e in shown["errata"]["entries"] if e["name"] == "perplexity")["sentences"]) == 1
    # The case that all of them are of.
    store.case_file(case.name).write_bytes(b"damaged")
    done = command("reports", "exercises", "-o", str(tmp_path / "site"))
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"isogru: {store.case_file(case.name)}: damaged")
    assert line.endswith("; delete the file, and run what is stale again")


def test_every_erratum_is_asserted_by_one_test():
    """And says what is said of it, for frameworks that there are."""
    asserted = [
        mark.args[0].value
        for file in sorted(TESTS.glob("test_*.py"))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call)
    ]
    assert sorted(asserted) == sorted(texts.entries())
    assert set(texts.entries()) == set(records.MEASURED) == set(measured.SENTENCES)
    for each in texts.entries().values():
        assert set(each.frameworks) <= {"numpy", *FRAMEWORKS}
        assert len(each.held) >= 2


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (f'"{texts.FORMAT}"', '"isogru-errata/2"', "errata.toml: format is 'isogru-errata/2', this isogru reads"),
        ("[clipping]", "[clipping", "errata.toml: not TOML: "),
        ("[clipping]", "[clipping]\nmore = 1", "errata.toml: Object contains unknown field `more`"),
    ],
)
def test_wrong_texts_are_refused(tmp_path, right, wrong, said):
    file = tmp_path / "errata.toml"
    file.write_text(texts.FILE.read_text().replace(right, wrong))
    with pytest.raises(SpecificationError) as refused:
        texts.entries(file)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("wrong", "right", "lines"),
    [
        ("gru_turned", "gru", {"H = (1 - Z) * H + Z * C"}),
        ("gru_reset_only_blending", "gru_reset_only", {"H = R * H + (1 - R) * C"}),
        ("gru_update_only_overwriting", "gru_update_only", {"H = C"}),
    ],
)
def test_a_wrong_cell_differs_from_the_right_one_in_one_line(wrong, right, lines):
    one, other = faults.cell(wrong), cell(right)
    assert one.parameters == other.parameters
    assert {e.text for e in one.equations} - {e.text for e in other.equations} == lines


def test_what_is_plotted_is_a_mean_of_perplexities():
    losses = np.log([1.0, 3.0, 5.0, 9.0])
    assert training_faults.plotted_perplexity(losses, 2) == pytest.approx([2.0, 7.0])


def test_what_one_character_can_tell():
    # After 0 always comes 1, after 1 either, 2 is never seen: half of the time one bit is missing.
    assert perplexity_of_character(np.array([[0, 1, 0, 1, 1]]), 3) == pytest.approx(2**0.5)
    assert perplexity_of_character(np.array([[0, 1], [0, 1]]), 2) == 1.0
