"""Converted weights make a package's own layers equal to the cells of their layouts; wrongly packed ones do not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from frameworks.adapters import prove
from isogru import judge
from isogru.judge import precision
from shared_spec.files.interchange import read_result
from shared_spec.weights import convert, layouts, proof
from shared_spec.weights.layouts import Part
from shared_spec.weights.packing import pack
from shared_spec.weights.packing import unpack as unpack_sized

LABEL = {"product": 2.0**-53, "sum": 2.0**-53}


@pytest.fixture
def each(module):
    """Every layout of the package in every dtype that it runs in."""
    return [(layouts.layout(name), dtype) for name, dtypes in module.LAYOUTS.items() for dtype in dtypes]


def roundoff(dtype):
    return {name: u * (2.0**29 if dtype == "float32" else 1.0) for name, u in LABEL.items()}


def unpack(layout, tensors, case):
    """With the number of units, which one vector that holds everything does not tell."""
    return unpack_sized(layout, tensors, known={"h": case.arrays["H0"].shape[-1]})


def judged(package, module, layout, case, dtype, tensors):
    return judge.on(case, prove.run(package, module, layout, case, tensors, dtype, roundoff(dtype)))


def test_the_module_runs_what_the_table_says(package, module):
    """Each layout that names this environment as its proof is run by it, in both dtypes unless it says why not."""
    proven = {name for name, each in layouts.layouts().items() if each.proven == f"rosetta-{package}"}
    assert set(module.LAYOUTS) == proven
    for dtypes in module.LAYOUTS.values():
        assert set(dtypes) | set(getattr(module, "NOT_RUN", {})) == {"float32", "float64"}
    assert all(module.versions().values())


def test_converted_weights_give_the_cell(package, module, each):
    """On one case: the command that the environment runs before these tests proves them all, or fails."""
    for layout, dtype in each:
        name = proof.case_names(layout)[0]
        delivered = prove.measure(module, layout, proof.case_of(layout, name), dtype)
        assert precision.unit_roundoff(delivered, dtype) == roundoff(dtype)["product"]
        row = prove.prove(package, module, layout, name, dtype, delivered)
        assert row.verdict == "equal", row.sentence
        assert row.ratio <= 1
        kept = read_result(proof.result_file(layout.name, name, dtype), proof.case_of(layout, name))
        assert (kept.origin.framework, kept.origin.implementation) == (package, layout.name)
        assert kept.origin.versions == module.versions()


def test_second_biases_are_not_zero_where_a_layer_has_them(each):
    for layout, dtype in each:
        case = proof.case_of(layout, f"{layout.cell}-ordinary")
        parameters = unpack(layout, proof.weights(layout, case, dtype=dtype), case)
        for second, first in layout.second.items():
            assert parameters[second].all()
            assert not (parameters[first] == parameters[second]).any()
            np.testing.assert_array_equal(parameters[first] + parameters[second], case.arrays[first].astype(dtype))


def renamed(layout, names):
    """The layout with parts put in each other's places."""

    def turned(part):
        return replace(part, name=names.get(part.name, part.name))

    tensors = {
        key: replace(tensor, rows=tuple(tuple(turned(part) for part in row) for row in tensor.rows))
        for key, tensor in layout.tensors.items()
    }
    return replace(layout, tensors=tensors)


def swapped(*pairs):
    return dict(pairs) | {b: a for a, b in pairs}


GATES = swapped(("W_xz", "W_xr"), ("W_hz", "W_hr"), ("b_z", "b_r"))
INPUT_GATES = swapped(("W_xz", "W_xr"))
RECURRENT_GATES = swapped(("W_hz", "W_hr"))
CANDIDATE = swapped(("W_xz", "W_xh"), ("W_hz", "W_hh"), ("b_z", "b_h"))


def mistakes(layout):
    """Wrong layouts of the same tensors and shapes, by what is wrong."""
    if layout.cell == "rnn":
        return {}
    mistakes = {
        "gates swapped": renamed(layout, GATES),
        "gates swapped in the input's kernel": renamed(layout, INPUT_GATES),
        "gates swapped in the recurrent kernel": renamed(layout, RECURRENT_GATES),
        "update gate and candidate swapped": renamed(layout, CANDIDATE),
        "update gate turned": turned_round(layout),
    }
    if "b_hh" in layout.holds and "b_hh" not in layout.second:
        mistakes["the inner bias on the other side"] = renamed(layout, swapped(("b_h", "b_hh")))
    return mistakes


def turned_round(layout):
    def turned(part):
        of_z = part.name in ("W_xz", "W_hz", "b_z", "b_hz")
        return Part(part.name, negated=part.negated != of_z)

    tensors = {
        key: replace(tensor, rows=tuple(tuple(turned(part) for part in row) for row in tensor.rows))
        for key, tensor in layout.tensors.items()
    }
    return replace(layout, tensors=tensors)


def test_a_wrong_packing_is_different(package, module, each):
    for layout, dtype in each:
        case = proof.case_of(layout, f"{layout.cell}-ordinary")
        right = proof.weights(layout, case, dtype=dtype)
        assert judged(package, module, layout, case, dtype, right).verdict == "equal"
        for what, wrong in mistakes(layout).items():
            tensors = pack(wrong, unpack(layout, right, case))
            assert {key: a.shape for key, a in tensors.items()} == {key: a.shape for key, a in right.items()}
            verdict = judged(package, module, layout, case, dtype, tensors)
            assert verdict.verdict == "different", f"{what} in {layout.name} went unseen"


def test_a_wrong_parameter_is_different(package, module, each):
    """A bias left out, a recurrent matrix transposed, an input's matrix left out: what no order of gates shows."""
    for layout, dtype in each:
        case = proof.case_of(layout, f"{layout.cell}-ordinary")
        right = unpack(layout, proof.weights(layout, case, dtype=dtype), case)
        for key, array in right.items():
            wrong = array.T if array.shape == right["W_hh"].shape else 0 * array
            verdict = judged(package, module, layout, case, dtype, pack(layout, {**right, key: wrong}))
            assert verdict.verdict == "different", f"{key} of {layout.name} wrong and unseen"


def test_the_other_reset_is_different(package, module, each):
    """Weights forced into a layer that cannot represent them do not pass for the cell that they came from."""
    other = {"gru": "gru_reset_after", "gru_reset_after": "gru"}
    for layout, dtype in each:
        if layout.cell not in other:
            continue
        source = layouts.layout(other[layout.cell])
        case = proof.case_of(source, f"{source.cell}-ordinary")
        given = pack(source, {key: array.astype(dtype) for key, array in case.parameters.items()})
        lossy = convert.plan(source, given, layout)
        assert lossy.verdict == "impossible"
        assert judged(package, module, layout, case, dtype, lossy.tensors).verdict == "different"


def test_a_failure_leaves_a_record(package, module, each, monkeypatch):
    layout, dtype = each[0]
    name = f"{layout.cell}-ordinary"
    assert prove.prove(package, module, layout, name, dtype, roundoff(dtype)).verdict == "equal"

    def crash(*arguments):
        raise ValueError("a message of its own")

    monkeypatch.setattr(module, "run", crash)
    row = prove.prove(package, module, layout, name, dtype, roundoff(dtype))
    assert (row.verdict, row.sentence) == ("failed", "ValueError: a message of its own")
    assert json.loads(proof.failure_file(layout.name, name, dtype).read_text())["last_words"] == row.sentence
    assert not proof.result_file(layout.name, name, dtype).exists()


def test_why_a_dtype_is_not_run(package, module):
    """The reason still holds: a package that has learned the dtype is to be proven in it."""
    for dtype in getattr(module, "NOT_RUN", {}):
        layout = layouts.layout(next(iter(module.LAYOUTS)))
        row = prove.prove(package, module, layout, f"{layout.cell}-ordinary", dtype, roundoff(dtype))
        assert (package, row.verdict) in {("mlx", "different"), ("openvino", "different"), ("onnxruntime", "failed")}
        assert package != "onnxruntime" or "does not support double yet" in row.sentence


def test_the_command(package, module, command):
    done = command("frameworks.adapters", package, "--layout", next(iter(module.LAYOUTS)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal" in done.stdout
    refused = command("frameworks.adapters", package, "--layout", "caffe")
    assert refused.returncode == 2
    assert f"isogru: {package} has no layout 'caffe'; it has {', '.join(module.LAYOUTS)}" in refused.stderr
