"""GRUs that nobody here wrote, judged: which packages there are, and what each module here says of its own.

The module of a package runs in a process of its own, where the package is installed, and offers
    versions() -> dict[str, str]
    implementations() -> list[Implementation]
Modules of frameworks.adapters, which prove layouts, are used as they are: see `of_adapter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES
from shared_spec.weights import layouts

Arrays = Mapping[str, Array]
Run = Callable[[str, Arrays, Array, Array], Any]
"""(layout, tensors, X (T, n, d), H0 (n, h)) -> H (T, n, h)."""
Gradients = Callable[[str, Arrays, Array, Array, Array], Mapping[str, Any]]
"""(layout, tensors, X, H0, dH (T, n, h)) -> the gradients of sum(dH * H) by "X", "H0" and the name of each tensor."""

FEW = ("ordinary", "zero_start", "large_weights", "one_step", "one_unit", "saturated")
"""Cases of the catalogue for what takes long to compile for each shape."""


@dataclass(frozen=True)
class Implementation:
    """One GRU of a package."""

    name: str
    called: str
    layout: str
    run: Run
    gradients: Gradients | None = None
    without_gradients: str = ""
    """Why it has none."""
    dtypes: tuple[str, ...] = ("float32",)
    not_run: Mapping[str, str] = field(default_factory=dict)
    """Dtypes that it does not run in, with the reason."""
    entries: tuple[str, ...] = ()
    """Of the catalogue, those that it is judged on; all where it is empty."""
    expected: str = ""
    """Why another verdict than equal is no surprise."""


@dataclass(frozen=True)
class Package:
    """Where a package's module is, and what its process needs."""

    module: str
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str = "tox -e third-party"
    """The command that runs it where it is installed."""


def _here(name: str, **environment: str) -> Package:
    return Package(f"frameworks.adapters.third_party.{name}", environment)


def _adapter(name: str, needs: str = "tox -e third-party") -> Package:
    return Package(f"frameworks.adapters.{name}", needs=needs)


QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
PACKAGES: Mapping[str, Package] = {
    "torch": _here("torch_layers"),
    "torch-onnx": _here("onnx_exports"),
    "onnxruntime": _adapter("onnxruntime"),
    "onnx": _here("onnx_reference"),
    "keras-tensorflow": _here("keras_layers", KERAS_BACKEND="tensorflow", **QUIET),
    "keras-torch": _here("keras_layers", KERAS_BACKEND="torch"),
    "keras-jax": _here("keras_layers", KERAS_BACKEND="jax"),
    "tensorflow": _here("tensorflow_layers", KERAS_BACKEND="tensorflow", **QUIET),
    "litert": _here("litert_models", KERAS_BACKEND="tensorflow", **QUIET),
    "paddle": _here("paddle_layers"),
    "flax": _adapter("flax"),
    "equinox": _adapter("equinox"),
    "haiku": _adapter("haiku"),
    "mlx": _adapter("mlx"),
    "openvino": _here("openvino_models"),
    "brainstate": _here("brainstate_layers"),
    "iree": _here("iree_models"),
    "tract": _here("tract_models"),
    "mxnet": _adapter("mxnet", needs="tox -e third-party-mxnet"),
}
"""By the name in the table."""

ABSENT: Mapping[str, str] = {
    "tinygrad": "tinygrad 0.14.0 has no GRU: neither tinygrad.nn nor its reader of ONNX knows one",
    "apache-tvm": "TVM 0.27.0 has no GRU: its reader of ONNX does not support the operator",
    "mindspore": "mindspore 2.10.0 does not run beside NumPy 2: numpy.core.multiarray failed to import",
    "candle": "it is Rust, and no current Python package has its GRU",
    "burn": "it is Rust, and no Python package has its GRU",
    "haste": "it is built with nvcc and runs on CUDA alone",
}
"""Packages of which nothing can be run here, and why."""


def of_adapter(module: Any, **facts: Any) -> list[Implementation]:
    """The GRUs of a module of frameworks.adapters, by the layers that its layouts name, in every dtype that it is
    proven in, and in float16 and bfloat16 where its HALVES do not say otherwise.
    """
    implementations = []
    for name, dtypes in module.LAYOUTS.items():
        layout = layouts.layout(name)
        if layout.cell not in ("gru", "gru_reset_after"):
            continue
        settings = {
            "dtypes": (*dtypes, *getattr(module, "HALVES", HALVES)),
            "not_run": getattr(module, "NOT_RUN", {}),
            "gradients": getattr(module, "gradients", None),
            "without_gradients": getattr(module, "WITHOUT_GRADIENTS", ""),
        }
        implementations.append(Implementation(layout.layer, layout.layer, name, module.run, **{**settings, **facts}))
    return implementations
