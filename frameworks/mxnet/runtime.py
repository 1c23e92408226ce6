"""Device, threads, precision switches and versions of MXNet. No other file of this folder sets any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import mxnet
import numpy
from mxnet import context, np, npx

from shared_spec.errors import UserError

# MXNet and its OpenBLAS read it once, while they are imported; without it MXNet takes half of the logical cores.
THREADS = os.environ.get("OMP_NUM_THREADS", "")
CUDA = {
    "MXNET_ENFORCE_DETERMINISM": "1",
    "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
    "MXNET_CUDA_ALLOW_TENSOR_CORE": "0",
    "MXNET_CUDA_TENSOR_OP_MATH_ALLOW_CONVERSION": "0",
    "NVIDIA_TF32_OVERRIDE": "0",
}
TF32 = {"MXNET_CUDA_ALLOW_TENSOR_CORE": "1", "NVIDIA_TF32_OVERRIDE": "1"}


def setup(*, device: str = "cpu", threads: int | None = None, tf32: bool = False) -> None:
    """Set every switch that can change a number. Raises UserError for a device that is not there, and for a number of
    threads that this process was not started with: in a running one MXNet cannot change it.
    """
    if device not in devices():
        raise UserError(f"mxnet has no device {device!r} here; it has {', '.join(devices())}")
    if threads is not None and str(threads) != THREADS:
        raise UserError(f"mxnet counts its threads once, at import: start Python with OMP_NUM_THREADS={threads}")
    # The NumPy interface, whose arrays the cells are written for; MXNet 1 starts with the older one.
    npx.set_np()
    if device == "cuda":
        os.environ.update(CUDA | (TF32 if tf32 else {}))


def devices() -> list[str]:
    return ["cpu", "cuda"] if context.num_gpus() else ["cpu"]


def tensor(values: numpy.ndarray, *, dtype: str, device: str = "cpu") -> np.ndarray:
    """NumPy to MXNet; `dtype` is "float32", "float64" or "int32"."""
    return np.array(values, dtype=dtype, ctx=context.gpu() if device == "cuda" else context.cpu())


def to_numpy(values: np.ndarray) -> numpy.ndarray:
    return values.asnumpy()


def copy(values: np.ndarray) -> np.ndarray:
    """Another array of the same numbers, which the device makes of them."""
    return values.copy()


def wait(values: object) -> None:
    """Wait until these arrays, in any nesting, are there."""
    npx.waitall()


def peak_memory(device: str) -> int | None:
    """The bytes of a GPU that are taken, since MXNet keeps what it once had; None where the process itself tells."""
    if device != "cuda":
        return None
    free, total = context.gpu_memory_info()
    return total - free


def versions() -> Mapping[str, str]:
    return {"mxnet": mxnet.__version__, "numpy": numpy.__version__}


def switches() -> Mapping[str, str]:
    """Also every variable of the environment that MXNet, its OpenMP or its OpenBLAS may have read."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(("MXNET_", "OMP_", "OPENBLAS_"))}
    return {
        "threads": THREADS or "half of the logical cores",
        "numpy interface": str(npx.is_np_array()),
        **variables,
    }


def missing(compiler: str) -> str:
    """Why a compiler cannot run here; empty where it can."""
    return ""
