"""How layouts are proven, as far as it takes no package: cases, weights, names of files, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shared_spec.errors import UserError
from shared_spec.weights import layouts, proof
from shared_spec.weights.packing import unpack

NATIVE = list(layouts.layouts())


def test_weights_come_from_a_layout_with_two_biases():
    sources = {name: proof.source_of(layouts.layout(name)).name for name in NATIVE}
    assert sources["torch"] == "torch-cell"
    assert sources["haiku"] == sources["keras-reset-before"] == "onnx-reset-before"
    assert sources["torch-rnn"] == "torch-rnn-cell"
    # Of each layout from another: a packing that is wrong both ways would be seen.
    assert not [name for name in NATIVE if sources[name] == name]
    by_cell = {name: {layouts.layout(each).cell for each in NATIVE if sources[each] == name} for name in NATIVE}
    assert {name: cells for name, cells in by_cell.items() if cells} == {
        **{name: {"gru_reset_after"} for name in ("torch", "torch-cell")},
        **{name: {"gru"} for name in ("onnx-reset-before", "burn-reset-before")},
        **{name: {"rnn"} for name in ("torch-rnn", "torch-rnn-cell")},
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NATIVE)
def test_the_weights_of_a_case_sum_to_its_parameters(name, dtype):
    layout = layouts.layout(name)
    assert len(proof.case_names(layout)) >= 7
    for case_name in proof.case_names(layout):
        case = proof.case_of(layout, case_name)
        assert "dH" not in case.arrays
        units = {"h": case.arrays["H0"].shape[-1]}
        parameters = unpack(layout, proof.weights(layout, case, dtype=dtype), known=units)
        for second, first in layout.second.items():
            assert not np.array_equal(parameters[second], parameters[first])
            parameters[first] = parameters[first] + parameters.pop(second)
        for parameter, array in parameters.items():
            assert array.dtype == dtype
            np.testing.assert_array_equal(array, case.parameters[parameter])
        assert not any(case.arrays[parameter].any() for parameter in layout.without)


def test_an_inner_bias_that_the_layer_lacks_is_refused():
    nnx, linen = layouts.layout("flax-nnx"), layouts.layout("flax-linen")
    with pytest.raises(UserError, match="gru_reset_after-ordinary in flax-nnx: impossible: flax-nnx has no bias insid"):
        proof.weights(nnx, proof.case_of(linen, "gru_reset_after-ordinary"), dtype="float32")


def test_files_and_failures(results):
    file = proof.result_file("haiku", "gru-long", "float64")
    assert file == results / "rosetta" / "haiku.gru-long.float64.safetensors"
    file.parent.mkdir(parents=True)
    file.write_text("an older result")
    proof.save_failure("haiku", "gru-long", "float64", "last words")
    assert not file.exists()
    assert json.loads(proof.failure_file("haiku", "gru-long", "float64").read_text()) == {
        "format": "isogru-rosetta-failure/1",
        "layout": "haiku",
        "case": "gru-long",
        "dtype": "float64",
        "last_words": "last words",
    }


def test_packages_that_are_not_there(command):
    for package, remedy in (("caffe", "equinox, flax, haiku"), ("haiku", "run tox -e rosetta-haiku")):
        done = command("frameworks.adapters", package)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert package in done.stderr
        assert remedy in done.stderr
