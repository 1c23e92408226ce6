"""Arrays of the caller's framework: from NumPy and back, and gradients by its own autodiff.

No framework is imported here. One is looked up among the modules that this process has loaded: whoever passes a
function of torch tensors has imported torch.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES

Leaves = Mapping[str, Any]
"""What a GRU is computed from, by name, as arrays of one framework: "X", "H0", and parameters or tensors."""
Run = Callable[[Leaves], Any]
"""Leaves -> H, or (H, final)."""


class Arrays(Protocol):
    """The arrays of one framework."""

    name: str
    """As `arrays=` names it."""

    def give(self, array: Array, dtype: str) -> Any:
        """A fresh array of the framework, from NumPy."""

    def pull(self, run: Run, leaves: Leaves, dH: Any) -> dict[str, Any]:
        """The gradients of sum(dH * H) by every leaf. Raises InterchangeError where H depends on none of them."""


def parted(outputs: Any) -> tuple[Any, Any]:
    """H, and the final state or None, of what gives H or (H, final). Raises InterchangeError for other tuples."""
    if not isinstance(outputs, tuple):
        return outputs, None
    if len(outputs) != 2:
        raise InterchangeError(f"it gave a tuple of {len(outputs)}, should be H or (H, final)")
    return outputs


def first(outputs: Any) -> Any:
    """H, of what gives H or (H, final)."""
    return parted(outputs)[0]


class Numpy:
    """NumPy's own, which have no autodiff."""

    name = "numpy"

    def give(self, array: Array, dtype: str) -> Array:
        if dtype == "bfloat16":
            raise UserError('NumPy has no bfloat16; say arrays="torch", "jax" or "tensorflow"')
        return array.astype(dtype)

    def pull(self, run: Run, leaves: Leaves, dH: Any) -> dict[str, Any]:
        raise UserError(
            'gradients="auto" takes a framework with autodiff, and NumPy has none; say arrays="torch", "jax" or '
            '"tensorflow", or give a function (X, H0, parameters, dH) -> gradients by name'
        )


class Torch:
    """PyTorch's, on a device."""

    name = "torch"

    def __init__(self, device: str = "cpu") -> None:
        self._torch, self._device = loaded("torch"), device

    def give(self, array: Array, dtype: str) -> Any:
        torch = self._torch
        return torch.tensor(array, dtype=getattr(torch, dtype), device=self._device)

    def pull(self, run: Run, leaves: Leaves, dH: Any) -> dict[str, Any]:
        torch = self._torch
        with torch.enable_grad():
            roots = {name: leaf.detach().requires_grad_() for name, leaf in leaves.items()}
            # Not the roots themselves: a function may change what it is given, which torch forbids of a root.
            H = first(run({name: root.clone() for name, root in roots.items()}))
            return self.gradients(H, roots, dH)

    def gradients(self, H: Any, roots: Leaves, dH: Any) -> dict[str, Any]:
        """Of H that has been computed, by what it was computed from; zero where it does not depend on it."""
        torch = self._torch
        check_gradient_is_there(isinstance(H, torch.Tensor) and H.requires_grad)
        check_shape(H, dH)
        # Autocast is for the forward pass: what was computed without it, or in it, goes back as it was.
        there = torch.amp.is_autocast_available(H.device.type)
        with torch.autocast(H.device.type, enabled=False) if there else contextlib.nullcontext():
            gradients = torch.autograd.grad(H, list(roots.values()), dH.to(H.dtype), allow_unused=True)
        pairs = zip(roots.items(), gradients, strict=True)
        return {name: torch.zeros_like(root) if each is None else each for (name, root), each in pairs}


class Jax:
    """JAX's."""

    name = "jax"

    def __init__(self, device: str = "cpu") -> None:
        self._jax = loaded("jax")
        self._device = self._jax.devices(device.partition(":")[0])[0]

    def give(self, array: Array, dtype: str) -> Any:
        if dtype == "float64" and not self._jax.config.jax_enable_x64:
            raise UserError('JAX has float64 switched off: jax.config.update("jax_enable_x64", True)')
        return self._jax.device_put(self._jax.numpy.asarray(array).astype(dtype), self._device)

    def pull(self, run: Run, leaves: Leaves, dH: Any) -> dict[str, Any]:
        H, back = self._jax.vjp(lambda given: first(run(given)), dict(leaves))
        check_shape(H, dH)
        (gradients,) = back(dH.astype(H.dtype))
        return dict(gradients)


class TensorFlow:
    """TensorFlow's."""

    name = "tensorflow"

    def __init__(self, device: str = "cpu") -> None:
        self._tf, self._device = loaded("tensorflow"), device.replace("cuda", "gpu")
        # TensorFlow puts arrays on the CPU, and says nothing, where there is no such device.
        if not self._tf.config.list_logical_devices(self._device.partition(":")[0].upper()):
            raise RuntimeError("no such device")

    def give(self, array: Array, dtype: str) -> Any:
        with self._tf.device(self._device):
            return self._tf.cast(self._tf.constant(array), dtype)

    def pull(self, run: Run, leaves: Leaves, dH: Any) -> dict[str, Any]:
        tf = self._tf
        with tf.GradientTape() as tape:
            tape.watch(list(leaves.values()))
            H = first(run(leaves))
        check_gradient_is_there(tf.is_tensor(H))
        check_shape(H, dH)
        none = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(H, dict(leaves), output_gradients=tf.cast(dH, H.dtype), unconnected_gradients=none)
        return {name: tf.convert_to_tensor(each) for name, each in gradients.items()}


KINDS = {kind.name: kind for kind in (Numpy, Torch, Jax, TensorFlow)}


def of(name: str, device: str = "cpu") -> Arrays:
    """The arrays of a framework. Raises UserError for one that is not known, or that nobody has imported."""
    if name not in KINDS:
        raise UserError(f"no arrays {name!r}; there are {', '.join(KINDS)}")
    if name == Numpy.name:
        if device != "cpu":
            raise UserError(f'NumPy has no device {device!r}; say arrays="torch", "jax" or "tensorflow"')
        return Numpy()
    kind: Callable[[str], Arrays] = KINDS[name]  # type: ignore[assignment]
    try:
        made = kind(device)
        made.give(np.zeros(1, np.float32), "float32")
    except UserError:
        raise
    except Exception as error:  # Each framework has its own for a device that is not there.
        raise UserError(f"{name} has no device {device!r}: {str(error).splitlines()[0]}") from None
    return made


def loaded(name: str) -> Any:
    """A framework that this process has imported. Raises UserError where it has not."""
    if name not in sys.modules:
        raise UserError(f"arrays of {name} are asked for, and nothing has imported {name}")
    return sys.modules[name]


def is_instance(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class of a module that may not be loaded, such as ("torch.nn", "Module")."""
    namespace = sys.modules.get(module)
    kind = getattr(namespace, name, None) if namespace is not None else None
    return isinstance(kind, type) and isinstance(value, kind)


def wanted_by(function: Any) -> str:
    """Which arrays a function takes: those of the compiler that made it, or of its first annotation; else NumPy's."""
    kinds = [type(function), *_annotations(function)]
    if hasattr(function, "_torchdynamo_orig_callable"):
        return Torch.name
    roots = (str(getattr(kind, "__module__", "")).partition(".")[0] for kind in kinds)
    known = {"torch": Torch.name, "jax": Jax.name, "jaxlib": Jax.name, "tensorflow": TensorFlow.name, "keras": ""}
    return next((known[root] for root in roots if known.get(root)), Numpy.name)


def _annotations(function: Any) -> list[Any]:
    try:
        hints = typing.get_type_hints(function)
        names = list(inspect.signature(function).parameters)
    except Exception:  # Annotations are anything at all, and may not even be names.
        return []
    return [hints[name] for name in names[:1] if name in hints]


def taken(value: Any, name: str, *, dtype: str = "", device: str = "") -> Array:
    """A copy in NumPy of what somebody gave, which may be a view of its input; what is narrower than float32 as
    float32, which holds it. Raises InterchangeError for what is no array of numbers, of another dtype, or on another
    device.
    """
    of_torch = is_instance(value, "torch", "Tensor")
    there = value.device.type if of_torch else _platform(value)
    # Before it is copied, which not every device allows.
    if device and there and there != device.partition(":")[0]:
        raise InterchangeError(f"{name} is on {there}, should be on {device}")
    if of_torch:
        value = value.detach().cpu()
        given = str(value.dtype).removeprefix("torch.")
        array: Array = (value.float() if given in HALVES else value).numpy().copy()
    else:
        array = _copied(value)
        given = array.dtype.name
        if given in HALVES:
            array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        what = f"an array of {given}" if hasattr(value, "dtype") else type(value).__name__
        raise InterchangeError(f"{name} is {what}, should be an array of numbers")
    if dtype and given != dtype:
        raise InterchangeError(f"{name} is {given}, should be {dtype}")
    return array


def _platform(value: Any) -> str:
    """Where an array of JAX lies, as jax.devices names it; empty for others."""
    if not is_instance(value, "jax", "Array"):
        return ""
    platform = str(next(iter(value.devices())).platform)
    return {"gpu": "cuda"}.get(platform, platform)


def _copied(value: Any) -> Array:
    # MXNet's, which NumPy would take number by number, and TensorFlow's, whose variables it does not take without a
    # warning.
    for own in ("asnumpy", "numpy"):
        if callable(method := getattr(value, own, None)):
            value = method()
            break
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array: Array = np.array(value)
    return array


def check_states(H: Array, T: int, n: int, h: int) -> None:
    """Raises InterchangeError unless all states are (T, n, h)."""
    if H.shape != (T, n, h):
        raise InterchangeError(f"H has shape {H.shape}, should be (T, n, h) = {(T, n, h)}")


def check_gradient_is_there(there: bool) -> None:
    """Raises InterchangeError unless H has a gradient at all."""
    if not there:
        raise InterchangeError("H has no gradient: it is detached from everything that it is computed from")


def check_shape(H: Any, dH: Any) -> None:
    """Raises InterchangeError where H has not the shape of its cotangent."""
    if tuple(H.shape) != tuple(dH.shape):
        raise InterchangeError(f"H has shape {tuple(H.shape)}, should be (T, n, h) = {tuple(dH.shape)}")
