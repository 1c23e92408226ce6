"""torch.nn.GRU as each of PyTorch's exporters writes it to ONNX, run by ONNX Runtime and by the package onnx."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from onnx.reference import ReferenceEvaluator

from frameworks.adapters.third_party import FEW, Arrays, Implementation
from frameworks.adapters.third_party.torch_layers import Whole
from frameworks.adapters.torch import made, tensor

logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def versions() -> dict[str, str]:
    return {module.__name__: str(module.__version__) for module in (torch, onnxscript, onnx, onnxruntime, np)}


def by(runtime: Callable[[bytes], Callable[[dict[str, np.ndarray]], list]], **options: object) -> Callable[..., object]:
    """A way to export a layer and run what was written."""

    def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
        whole, given = Whole(made(layout, tensors, X, H0)), (tensor(X), tensor(H0))
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            file = io.BytesIO()
            program = torch.onnx.export(
                whole.eval(), given, None if options["dynamo"] else file, input_names=["X", "H0"], **options
            )
            model = program.model_proto.SerializeToString() if options["dynamo"] else file.getvalue()
        session = runtime(model)
        return session({"X": X, "H0": H0})[0]

    return run


def onnx_runtime(model: bytes) -> Callable[[dict[str, np.ndarray]], list]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def reference(model: bytes) -> Callable[[dict[str, np.ndarray]], list]:
    session = ReferenceEvaluator(onnx.load_from_string(model))
    return lambda given: session.run(None, given)


def implementations() -> list[Implementation]:
    implementations = []
    for exporter, dynamo in (("TorchScript", False), ("dynamo", True)):
        for name, runtime in (("ONNX Runtime", onnx_runtime), ("onnx' reference", reference)):
            implementations.append(
                Implementation(
                    f"torch.onnx.export(nn.GRU), {exporter}, in {name}",
                    f"torch.onnx.export(dynamo={dynamo})",
                    "torch",
                    by(runtime, dynamo=dynamo),
                    without_gradients="an ONNX file has none",
                    dtypes=("float32",) if runtime is onnx_runtime else ("float32", "float64"),
                    not_run={"float64": "ONNX Runtime's GRU has no float64"} if runtime is onnx_runtime else {},
                    entries=FEW,
                )
            )
    return implementations
