"""Device, threads, precision switches and versions of JAX. No other file of this folder sets any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
from jax._src.xla_bridge import backends_are_initialized

from shared_spec.errors import UserError

# The one way to size XLA's pool of CPU threads; read once, when JAX first asks for a device.
POOL = "PJRT_NPROC"


def setup(*, device: str = "cpu", threads: int | None = None, tf32: bool = False) -> None:
    """Set every switch that can change a number. Raises UserError for a device that is not there, and for a number
    of threads once JAX has started with another.
    """
    if threads is not None and threads != _threads():
        if backends_are_initialized():
            raise UserError(f"jax has started with {_threads()} threads and cannot change to {threads}")
        os.environ[POOL] = str(threads)
    if device not in devices():
        raise UserError(f"jax has no device {device!r} here; it has {', '.join(devices())}")
    # What JAX makes by itself, such as zeros, belongs where the arrays given to it are.
    jax.config.update("jax_default_device", jax.devices(device)[0])
    # Without it every float64 becomes float32, with no more than a warning.
    jax.config.update("jax_enable_x64", True)
    # The default lets a GPU use TF32 for float32.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "highest")
    if folder := os.environ.get("ISOGRU_COMPILE_CACHE"):
        # Changes no number. JAX keeps only what took a second to compile, and nothing here does.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def devices() -> list[str]:
    try:
        jax.devices("cuda")
    except RuntimeError:
        return ["cpu"]
    return ["cpu", "cuda"]


def _on_cpu() -> bool:
    """Where what is compiled now will run, as setup was told."""
    device = jax.config.jax_default_device
    return device is None or device.platform == "cpu"


def tensor(values: np.ndarray, *, dtype: str, device: str = "cpu") -> jax.Array:
    """NumPy to JAX; `dtype` is "float32", "float64" or "int32"."""
    # jnp.array would compile a copy for every new shape. NumPy's: device_put may share memory with what it is given.
    return jax.device_put(np.array(values, dtype), jax.devices(device)[0])


def to_numpy(values: jax.Array) -> np.ndarray:
    return np.asarray(values)


def copy(values: jax.Array) -> jax.Array:
    """Another array of the same numbers, which the device makes of them."""
    return jnp.array(values, copy=True)


def wait(values: object) -> None:
    """Wait until these arrays, in any nesting, are there."""
    jax.block_until_ready(values)


def peak_memory(device: str) -> int | None:
    """The most bytes of a GPU that this process has had; None where the process itself tells."""
    return jax.devices(device)[0].memory_stats()["peak_bytes_in_use"] if device == "cuda" else None


def versions() -> Mapping[str, str]:
    return {module.__name__: module.__version__ for module in (jax, jaxlib, flax, optax, np)}


def switches() -> Mapping[str, str]:
    return {
        "threads": str(_threads()),
        "x64": str(jax.config.jax_enable_x64),
        "matmul precision": str(jax.config.jax_default_matmul_precision),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def missing(compiler: str) -> str:
    """Why a compiler cannot run here; empty where it can."""
    return ""


def _threads() -> int:
    """The size of XLA's pool of CPU threads: as many as there are CPUs, unless it is told."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get(POOL) or cpus or 1)
