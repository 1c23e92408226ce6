"""An error of each kind is planted, and the report shows it in its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from isogru import training_faults
from isogru.conventions import every
from reports.diff import build, collect
from reports.pages import render, schema, terminal
from shared_spec import cases, language_model, oracle
from shared_spec.files import interchange, store
from shared_spec.language_model import training
from shared_spec.weights import layouts, proof
from tests import sample_results

NAME = "gru-ordinary"
AT = 5


@pytest.fixture
def report(tmp_path):
    """report.json as it is written, after everything that was set out to be run."""

    def read():
        render.write(build.build(collect.collect()), tmp_path / "site")
        return json.loads((tmp_path / "site" / "report.json").read_text())

    return read


def field(report, column, label="torch/scratch"):
    row = next(i for i in report["implementations"] if i["label"] == label)
    return next(f for f in row["fields"] if f["column"] == column)


def plant(arrays, dtype="float32", name=NAME, **changes):
    """One right result of jax, and this one of torch."""
    jobs = [sample_results.job(framework, name, dtype) for framework in ("torch", "jax")]
    for job in jobs:
        sample_results.manifest(job.framework, [job])
    sample_results.save(jobs[0], arrays, **changes)
    sample_results.save(jobs[1])


def only(records, **wanted):
    (record,) = [r for r in records if all(r[key] == value for key, value in wanted.items())]
    return record


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gate", ["Z", "R", "C"])
def test_one_gate_at_one_step(report, gate, dtype):
    def fault(t, quantity, value):
        return value + value.dtype.type(0.01) if (t, quantity) == (AT, gate) else value

    plant(sample_results.run(cases.build(NAME), dtype, fault), dtype)
    data = report()
    result = only(data["results"], framework="torch")
    assert result["status"] == "different"
    divergence = result["divergence"]
    assert divergence["first_forward"] == f"trace.{gate}"
    assert divergence["first_backward"] is None
    first = only(divergence["forward"], quantity=f"trace.{gate}")
    assert (first["verdict"], first["first_outside"], first["index"][0]) == ("different", AT, AT)
    assert [t for t, ratio in enumerate(first["by_step"]) if ratio > 1] == [AT]
    # What follows is right given that gate, and so inherits; what does not depend on it does neither.
    heirs = {"Z": {"H"}, "R": {"C", "H"}, "C": {"H"}}[gate]
    for other in divergence["forward"]:
        if other is not first:
            assert other["verdict"] == "equal"
            assert other["inherits"] == (other["quantity"].removeprefix("trace.") in heirs)
    # The equation that is marked is that of the gate, and the states are off at that step and at no other.
    assert result["worst_equation"] == gate
    states = only(result["findings"], quantity="H")
    assert (states["verdict"], states["first_outside"]) == ("different", AT)
    curves = result["curves"]
    outside = [t for t, (d, b) in enumerate(zip(curves["difference"], curves["bound"], strict=True)) if d > b]
    assert outside == [AT]
    by_time = only(result["heat"], axes=["time", "unit"])
    assert [t for t, row in enumerate(by_time["ratio"]) if max(row) > 1] == [AT]
    assert field(data, "gates")["status"] == field(data, "states")["status"] == "different"
    assert field(data, "gates")["quantity"] == f"trace.{gate}"
    assert {f["status"] for f in data["implementations"][1]["fields"]} == {"equal"}


@pytest.mark.parametrize("name", ["W_hr", "b_z", "W_xh"])
def test_one_gradient(report, name):
    arrays = sample_results.run(cases.build(NAME))
    for key in (f"grad.{name}", f"trace.grad.{name}"):
        arrays[key] = arrays[key].copy()
        arrays[key][-1] *= np.float32(1.02)
    plant(arrays)
    data = report()
    result = only(data["results"], framework="torch")
    wrong = [f["quantity"] for f in result["findings"] if f["verdict"] != "equal"]
    assert wrong == [f"grad.{name}"]
    assert only(result["findings"], quantity=f"grad.{name}")["index"][0] == len(arrays[f"grad.{name}"]) - 1
    assert result["divergence"]["first_forward"] is None
    assert result["divergence"]["first_backward"] == f"trace.grad.{name}"
    assert field(data, "gradients")["status"] != "equal"
    assert field(data, "states")["status"] == field(data, "gates")["status"] == "equal"
    assert f"grad.{name}" in result["sentence"]


def test_one_cotangent_is_told_from_what_inherits_it(report):
    """The cotangent of one state is wrong: all gradients made of it are wrong in the end, none by itself."""
    case = cases.build(NAME)
    wrong = sample_results.run(interchange.Case(case.name, case.cell, {**case.arrays, "dH": _later(case.arrays["dH"])}))
    plant(wrong)
    divergence = only(report()["results"], framework="torch")["divergence"]
    assert divergence["first_backward"] == "trace.dH"
    cotangent = only(divergence["backward"], quantity="trace.dH")
    assert [t for t, ratio in enumerate(cotangent["by_step"]) if ratio > 1] == [AT]
    for other in divergence["backward"]:
        if other is not cotangent:
            assert (other["verdict"], other["inherits"]) == ("equal", True), other["quantity"]


def _later(dH):
    changed = dH.copy()
    changed[AT] += 0.25
    return changed


def test_one_batch_row(report):
    row = 2

    def fault(t, quantity, value):
        if quantity == "H":
            value = value.copy()
            value[row] += value.dtype.type(1e-3)
        return value

    plant(sample_results.run(cases.build(NAME), fault=fault))
    result = only(report()["results"], framework="torch")
    by_batch = only(result["heat"], axes=["batch", "unit"])
    assert [n for n, ratios in enumerate(by_batch["ratio"]) if max(ratios) > 1] == [row]
    by_time = only(result["heat"], axes=["time", "unit"])
    assert all(max(ratios) > 1 for ratios in by_time["ratio"])
    states = only(result["findings"], quantity="H")
    T, _, h = cases.build(NAME).arrays["dH"].shape
    assert (states["index"][1], states["outside"]) == (row, T * h)


def test_float32_under_a_float64_label(report):
    single = {
        name: array.astype(np.float64) for name, array in sample_results.run(cases.build(NAME), "float32").items()
    }
    u = 2.0**-24
    roundoff = {"product": u, "sum": u, "tanh": u, "sigmoid": u, "cell": u}
    plant(single, "float64", unit_roundoff=u, roundoff=roundoff)
    data = report()
    result = only(data["results"], framework="torch")
    assert result["status"] == "failed"
    assert result["why"].startswith("asked for float64, computed with unit roundoff 6.0e-08: the label lies")
    assert "--dtype float64" in result["mend"]
    lying = only(data["precision"], framework="torch")
    assert set(lying["formats"].values()) == {"float32"}
    assert lying["consequence"].startswith("Labelled float64, computed product in float32, sum in float32")
    assert only(data["precision"], framework="jax")["consequence"] == ""
    assert field(data, "states")["status"] == "failed"


def test_a_coarse_function_under_a_float32_label(report):
    """As cuDNN's tanh is on an H100, for layers of few units: of no format, and so told by its number."""
    single = sample_results.run(cases.build(NAME), "float32")
    u = 2.0**-24
    plant(single, "float32", roundoff={"product": u, "sum": u, "tanh": 9.15e-6, "sigmoid": u, "cell": u})
    told = only(report()["precision"], framework="torch")["consequence"]
    assert told.startswith("Labelled float32, computed tanh with unit roundoff 9.2e-06: it is held to float32")


def test_tf32_under_a_float32_label(report):
    case = cases.build(NAME)
    # Factors cut to eleven bits, as a product in TF32 cuts them; here once, before the run.
    cut = {name: cut_to_tf32(a) if name in case.cell.parameters else a for name, a in case.arrays.items()}
    arrays = sample_results.run(interchange.Case(case.name, case.cell, cut))
    u = {"product": 2.0**-11, "sum": 2.0**-24, "tanh": 2.0**-23.5, "cell": 2.0**-12.4}
    plant(arrays, unit_roundoff=2.0**-11, roundoff=u)
    data = report()
    lying = only(data["precision"], framework="torch")
    assert lying["formats"] == {"product": "TF32", "sum": "float32", "tanh": "float32", "cell": "TF32"}
    assert "a step has the bound of TF32, 8192 times as wide; all else is still held to float32" in lying["consequence"]
    result = only(data["results"], framework="torch")
    by_name = {f["quantity"]: f for f in result["findings"]}
    # Within the bound of a step, so not different; and yet far from where float32 would be.
    assert (by_name["H"]["verdict"], by_name["H"]["basis"]) == ("suspect", "twins")
    assert result["status"] != "equal"


def cut_to_tf32(array):
    return (np.float32(array).view(np.uint32) & np.uint32(0xFFFF_E000)).view(np.float32).astype(np.float64)


def test_a_function_in_float32_under_a_float64_label(report):
    u = dict.fromkeys(("product", "sum", "tanh", "cell"), 2.0**-53) | {"sigmoid": 2.0**-24}
    plant(sample_results.run(cases.build(NAME), "float64"), "float64", roundoff=u)
    lying = only(report()["precision"], framework="torch")
    assert lying["consequence"].endswith("it is held to float64, and will be outside where that matters.")


def test_of_several_wrong_steps_the_one_that_comes_first_each_way(report):
    arrays = sample_results.run(cases.build(NAME))
    for quantity, t, error in (("dH", 5, 1e-2), ("dH", 1, 0.5), ("grad.X", 3, 1.0), ("C", 2, 1e-3), ("C", 4, 0.1)):
        arrays[f"trace.{quantity}"] = arrays[f"trace.{quantity}"].copy()
        arrays[f"trace.{quantity}"][t] += np.float32(error)
    plant(arrays)
    divergence = only(report()["results"], framework="torch")["divergence"]
    assert (divergence["first_forward"], divergence["first_backward"]) == ("trace.C", "trace.dH")
    candidate, cotangent = (
        only(divergence[way], quantity=f"trace.{name}") for way, name in (("forward", "C"), ("backward", "dH"))
    )
    assert (candidate["first_outside"], candidate["last_outside"]) == (2, 4)
    assert cotangent["last_outside"] == 5


def test_an_error_that_the_trace_does_not_have(report):
    arrays = sample_results.run(cases.build(NAME))
    arrays["H"] = arrays["H"].copy()
    arrays["H"][4] += np.float32(0.1)
    plant(arrays)
    right, wrong = (only(report()["results"], framework=name) for name in ("jax", "torch"))
    assert (right["divergence"]["explains"], wrong["divergence"]["explains"]) == (True, False)
    assert (wrong["divergence"]["first_forward"], wrong["worst_equation"]) == (None, "H")


def test_a_loss_shifted_by_one_token_from_the_seventh_step_on(report, text, monkeypatch):
    sizes = {"num_hiddens": 5, "num_steps": 6, "num_train": 60, "num_val": 12, "batch_size": 12, "epochs": 3}
    recipe = language_model.recipe("gru", start="uniform", **sizes)
    monkeypatch.setattr(cases, "training_recipe", lambda name: recipe)
    case = cases.build("short-training-gru", text)
    interchange.write_case(store.case_file(case.name), case)
    right = training.train(case.problem, dtype="float64")
    jobs = [sample_results.job(framework, case.name, "float64") for framework in ("torch", "jax")]
    for job in jobs:
        sample_results.manifest(job.framework, [job])
    fault = every()["labels_shifted"].training
    assert fault.value == 7
    wrong = training.train(training_faults.of_problem(case.problem, fault), dtype="float64")
    sample_results.save(jobs[0], right | {"loss": wrong["loss"]}, case=case)
    sample_results.save(jobs[1], right, case=case)
    data = report()
    (record,) = data["training"]
    shifted, well = record["runs"]
    assert (shifted["label"], shifted["leaves_envelope_at"]) == ("torch/scratch", 7)
    assert (well["leaves_envelope_at"], well["status"]) == (None, "equal")
    envelope = record["oracle"]["envelope"]
    outside = [d > e for d, e in zip(shifted["distance"], envelope, strict=True)]
    assert outside.index(True) == 7
    result = only(data["results"], framework="torch")
    assert result["status"] == "different"
    assert only(result["findings"], quantity="loss")["first_outside"] == 7
    assert field(data, "training")["status"] == "different"


def test_a_layer_that_packs_otherwise(report, tmp_path):
    """A result of the Rosetta table whose gates were swapped."""
    sample_results.manifest("torch", [sample_results.job("torch", NAME)])
    sample_results.save(sample_results.job("torch", NAME))
    layout = layouts.layout("haiku")
    for name in proof.case_names(layout):
        case = proof.case_of(layout, name)
        swapped = {"W_xz": "W_xr", "W_xr": "W_xz"} if name == "gru-ordinary" else {}
        arrays = {key: case.arrays[swapped.get(key, key)] for key in case.arrays}
        for dtype in ("float32", "float64"):
            states = oracle.run(case.cell, arrays, dtype=dtype)
            job = sample_results.job("haiku", name, dtype, implementation="haiku")
            result = interchange.Result(sample_results.origin(job, case), states)
            interchange.write_result(proof.result_file("haiku", name, dtype), result)
    data = report()
    row = only(data["rosetta"], name="haiku")
    assert (row["status"], row["results"], row["worst"]) == ("different", 14, "H in gru-ordinary float64")
    assert {r["status"] for r in data["rosetta"] if r is not row} == {"missing", "unproven"}
    console = Console(width=80, record=True, force_terminal=False)
    terminal.show(schema.read(tmp_path / "site" / "report.json"), console, ["torch"])
    assert "✗ layout haiku: different: H in gru-ordinary float64" in console.export_text()
    proof.save_failure("haiku", "gru-one_step", "float32", "ended by SIGILL")
    assert only(report()["rosetta"], name="haiku")["status"] == "failed"
    proof.failure_file("haiku", "gru-one_step", "float32").unlink()
    row = only(report()["rosetta"], name="haiku")
    assert (row["status"], row["why"]) == ("missing", "13 of 14 results; run tox -e rosetta-haiku")
