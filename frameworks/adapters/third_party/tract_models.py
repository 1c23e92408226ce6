"""The ONNX operator GRU in tract, Sonos' inference engine in Rust."""

from __future__ import annotations

import numpy as np
import tract

from frameworks.adapters.onnxruntime import made
from frameworks.adapters.third_party import Arrays, Implementation
from shared_spec.files import temporary


def versions() -> dict[str, str]:
    return {"tract": tract.version(), "numpy": np.__version__}


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    with temporary.folder() as folder:
        file = folder / "gru.onnx"
        file.write_bytes(made(layout, tensors, X, H0).SerializeToString())
        (Y,) = tract.onnx().load(str(file)).into_model().into_runnable().run([X, H0[None]])
    return Y.to_numpy()[:, 0]


def implementations() -> list[Implementation]:
    return [
        Implementation(
            f"tract, ONNX GRU, linear_before_reset={number}",
            "tract.onnx().load(...).into_model().into_runnable()",
            layout,
            run,
            without_gradients="it computes no gradients",
            dtypes=("float32", "float64", "float16"),
        )
        for number, layout in ((1, "onnx"), (0, "onnx-reset-before"))
    ]
