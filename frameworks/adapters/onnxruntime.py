"""The ONNX operators GRU, with linear_before_reset 1 and 0, and RNN, as a model of one node in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LAYOUTS = {"onnx": ("float32",), "onnx-reset-before": ("float32",), "onnx-rnn": ("float32",)}
NOT_RUN = {"float64": "GRU and RNN operators do not support double yet, says ONNX Runtime"}
HALVES = ("float16",)
WITHOUT_GRADIENTS = "it computes no gradients"
OPSET = 22
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16}


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (onnx, onnxruntime, np)}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    model = made(layout, tensors, X, H0).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (Y,) = session.run(["Y"], {"X": X, "initial_h": H0[None]})
    return Y[:, 0]


def made(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> onnx.ModelProto:
    """A model of this one node: X (T, n, d) and initial_h (1, n, h) to Y (T, 1, n, h)."""
    T, n, _ = X.shape
    h, kind = H0.shape[-1], TYPES[X.dtype.name]
    gated = {} if layout == "onnx-rnn" else {"linear_before_reset": int(layout == "onnx")}
    node = helper.make_node(
        "GRU" if gated else "RNN", ["X", "W", "R", "B", "", "initial_h"], ["Y"], hidden_size=h, **gated
    )
    graph = helper.make_graph(
        [node],
        layout,
        [
            helper.make_tensor_value_info("X", kind, X.shape),
            helper.make_tensor_value_info("initial_h", kind, (1, n, h)),
        ],
        [helper.make_tensor_value_info("Y", kind, (T, 1, n, h))],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    # The oldest format of files that has this operator set: a runtime may lag behind the package onnx.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model
