"""The golden pack as ONNX' test data: onnx reads it, and ONNX Runtime is within its bounds; a wrong model is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

FOLDERS = sorted((Path(__file__).parents[2] / "examples/pack/golden/onnx").iterdir())


def tensors(folder, kind):
    files = sorted((folder / "test_data_set_0").glob(f"{kind}_*.pb"))
    return [onnx.numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


def ratio(folder, model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, tensors(folder, "input"), strict=True)))
    expected, bounds = tensors(folder, "output"), tensors(folder, "bound")
    return max(
        (np.abs(a.astype(float) - b) / bound).max() for a, b, bound in zip(outputs, expected, bounds, strict=True)
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_onnx_runtime_is_within_the_bounds_and_the_other_cell_is_not(folder):
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert ratio(folder, model) <= 1
    (attribute,) = [each for each in model.graph.node[0].attribute if each.name == "linear_before_reset"]
    attribute.i = 1 - attribute.i
    assert ratio(folder, model) > 1
