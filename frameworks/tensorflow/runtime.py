"""Device, threads, precision switches and versions of TensorFlow and Keras. No other file of this folder sets any of
them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from shared_spec.errors import UserError

# Read once, while TensorFlow is imported or first asked for its devices. It imports Keras by itself.
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise UserError(f"KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}; set it to tensorflow, or unset it")
# Below 3, oneDNN reports as an error every type that it leaves to Eigen. Its greeting comes before this is read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

# These two have no public name.
from tensorflow.python.framework.config import is_op_determinism_enabled
from tensorflow.python.util._pywrap_util_port import IsMklEnabled

DEVICES = {"cpu": "CPU", "cuda": "GPU"}


def setup(*, device: str = "cpu", threads: int | None = None, tf32: bool = False) -> None:
    """Set every switch that can change a number. Raises UserError for a device that is not there, and for another
    device or number of threads once TensorFlow has computed something.
    """
    _keep_compiled()
    if device not in devices():
        raise UserError(f"tensorflow has no device {device!r} here; it has {', '.join(devices())}")
    try:
        if device == "cpu":
            # TensorFlow computes on a GPU that it sees, wherever the inputs are.
            tf.config.set_visible_devices([], "GPU")
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UserError("tensorflow takes a device and threads only before it has computed anything") from error
    tf.config.experimental.enable_op_determinism()
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    # It warns where one function meets many shapes, which is what a catalogue of cases is.
    tf.get_logger().setLevel("ERROR")


def _keep_compiled() -> None:
    """Changes no number: XLA's programs of earlier processes, each taken only for the text that it was made from.
    TensorFlow reads its flags when it first looks for devices.
    """
    folder, flags = os.environ.get("ISOGRU_COMPILE_CACHE"), os.environ.get("TF_XLA_FLAGS", "")
    if folder and folder not in flags:
        os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory='{folder}' {flags}"


def devices() -> list[str]:
    return [name for name, kind in DEVICES.items() if tf.config.list_physical_devices(kind)]


def tensor(values: np.ndarray, *, dtype: str, device: str = "cpu") -> tf.Tensor:
    """NumPy to TensorFlow; `dtype` is "float32", "float64" or "int32"."""
    with tf.device(DEVICES[device]):
        return tf.constant(values, dtype=dtype)


def to_numpy(values: tf.Tensor) -> np.ndarray:
    return values.numpy()


def copy(values: tf.Tensor) -> tf.Tensor:
    """Another array of the same numbers, which the device makes of them."""
    # tf.identity gives the same memory.
    return values + tf.zeros((), values.dtype)


def wait(values: object) -> None:
    """Wait until these arrays, in any nesting, are there."""
    tf.test.experimental.sync_devices()


def peak_memory(device: str) -> int | None:
    """The most bytes of a GPU that this process has had; None where the process itself tells."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] if device == "cuda" else None


def versions() -> Mapping[str, str]:
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def switches() -> Mapping[str, str]:
    threading = tf.config.threading
    return {
        "threads": str(threading.get_intra_op_parallelism_threads() or "one per core"),
        "threads between operations": str(threading.get_inter_op_parallelism_threads() or "one per core"),
        "deterministic": str(is_op_determinism_enabled()),
        "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        # Other kernels for products in a graph: they round differently, with the same precision.
        "onednn": str(IsMklEnabled()),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def missing(compiler: str) -> str:
    """Why a compiler cannot run here; empty where it can."""
    if compiler == "compiled-xla" and not tf.test.is_built_with_xla():
        return "this build of tensorflow has no XLA"
    return ""
