"""OpenVINO's operation GRUSequence with linear_before_reset true and false, as a model of one node on its CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import openvino
from openvino import opset14

LAYOUTS = {"openvino": ("float32",), "openvino-before": ("float32",)}
NOT_RUN = {"float64": "OpenVINO computes it in float32, and the verdict is different"}
HALVES = ()
WITHOUT_GRADIENTS = "it computes no gradients"


def versions() -> dict[str, str]:
    return {"openvino": openvino.__version__, "numpy": np.__version__}


# On processors that have it, it would compute in bfloat16.
SINGLE = {"INFERENCE_PRECISION_HINT": "f32"}


def run(
    layout: str,
    tensors: Mapping[str, np.ndarray],
    X: np.ndarray,
    H0: np.ndarray,
    hints: Mapping[str, str] = SINGLE,
) -> np.ndarray:
    # OpenVINO takes (n, T, d), and a state (n, 1, h).
    values = [X.transpose(1, 0, 2), H0[:, None]]
    given = [opset14.parameter(value.shape, value.dtype) for value in values]
    T, n, _ = X.shape
    lengths = opset14.constant(np.full(n, T, np.int32))
    weights = [opset14.constant(tensors[name]) for name in ("W", "R", "B")]
    node = opset14.gru_sequence(
        *given, lengths, *weights, H0.shape[-1], "forward", linear_before_reset=layout == "openvino"
    )
    model = openvino.Model([node.output(0)], given)
    compiled = openvino.Core().compile_model(model, "CPU", dict(hints))
    return compiled(values)[0][:, 0].transpose(1, 0, 2)
