"""Device, threads, precision switches and versions of PyTorch. No other file of this folder sets any of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Mapping

import numpy as np
import torch

from shared_spec.errors import UserError


def setup(*, device: str = "cpu", threads: int | None = None, tf32: bool = False) -> None:
    """Set every switch that can change a number. Raises UserError for a device that is not there."""
    if device not in devices():
        raise UserError(f"torch has no device {device!r} here; it has {', '.join(devices())}")
    if threads is not None:
        torch.set_num_threads(threads)
    # What use_deterministic_algorithms does to operations; it would import the compiler, to tell it too.
    torch.set_deterministic_debug_mode("error")
    # Changes no number: otherwise every array that is about to be written is first filled with NaN.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True
    # cuBLAS is deterministic only with a workspace of its own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _set_up_compiler() -> None:
    """Set the switches of torch.compile, before it is used: its import takes seconds that nothing else needs."""
    torch.use_deterministic_algorithms(True)
    # Past the limit it would go on uncompiled, with a warning: more recompiling, or an error, instead.
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True


def devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def tensor(values: np.ndarray, *, dtype: str, device: str = "cpu") -> torch.Tensor:
    """NumPy to PyTorch; `dtype` is "float32", "float64" or "int32". Indices become int64, as PyTorch wants them."""
    return torch.tensor(values, dtype=torch.int64 if dtype == "int32" else getattr(torch, dtype), device=device)


def to_numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def copy(values: torch.Tensor) -> torch.Tensor:
    """Another array of the same numbers, which the device makes of them."""
    return values.clone()


def wait(values: object) -> None:
    """Wait until these arrays, in any nesting, are there."""
    # On a CPU they are; on a GPU operations are done in the order in which they were issued.
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(device: str) -> int | None:
    """The most bytes of a GPU that this process has had; None where the process itself tells."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def versions() -> Mapping[str, str]:
    of_gpu = {}
    if torch.cuda.is_available():
        of_gpu = {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
        if importlib.util.find_spec("triton"):
            of_gpu["triton"] = importlib.metadata.version("triton")
    return {"torch": torch.__version__, "numpy": np.__version__, **of_gpu}


def switches() -> Mapping[str, str]:
    return {
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "tf32": str(torch.backends.cuda.matmul.allow_tf32),
    }


def missing(compiler: str) -> str:
    """Why a compiler cannot run here; empty where it can."""
    if compiler == "compiled" and not shutil.which(name := os.environ.get("CXX", "g++")):
        return f"torch.compile needs a C++ compiler, and there is no {name} on the path"
    if importlib.util.find_spec("torch._inductor") is None:
        return "this build of torch has no inductor"
    return ""
