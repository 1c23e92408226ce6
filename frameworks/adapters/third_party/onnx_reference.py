"""The ONNX operator GRU in the package onnx itself: its reference evaluator, which others are tested against."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from frameworks.adapters.onnxruntime import TYPES, made
from frameworks.adapters.third_party import Arrays, Implementation


def versions() -> dict[str, str]:
    return {"onnx": onnx.__version__, "numpy": np.__version__}


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    # Where a gate is shut, exp overflows to infinity, which is right.
    with np.errstate(over="ignore"):
        (Y,) = ReferenceEvaluator(made(layout, tensors, X, H0)).run(None, {"X": X, "initial_h": H0[None]})
    return Y[:, 0]


def implementations() -> list[Implementation]:
    return [
        Implementation(
            f"onnx.reference, GRU, linear_before_reset={number}",
            "onnx.reference.ReferenceEvaluator",
            layout,
            run,
            without_gradients="it computes no gradients",
            dtypes=tuple(TYPES),
        )
        for number, layout in ((1, "onnx"), (0, "onnx-reset-before"))
    ]
