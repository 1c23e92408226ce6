"""Modules of PyTorch: nn.GRU, nn.GRUCell, nn.RNN, and one's own that have their weights; compiled, scripted, exported
too.

What a module is called with follows from its layout: a step (x (n, d), h (n, h)) -> h for a cell, else (X, H0) -> (H,
h_n) with H0 (1, n, h) as nn.GRU has it. Weights are put in by value and taken out again: every kind of module allows
that, functional_call does not go with scripted ones.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isogru.models.layer import Layer
from isogru.runners import reading
from isogru.runners.arrays import Torch, first, is_instance, loaded, taken
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject, outputs
from isogru.runners.torch_steps import LOOP, STEP, WHOLE, form, stepped
from isogru.weight_files.contents import Contents
from shared_spec.errors import UserError
from shared_spec.files.origins import coarser
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array

STACKS = ("GRU", "RNN")
"""The layers of PyTorch whose stacks are judged layer by layer."""
COMPILED = "_orig_mod."
"""What torch.compile hangs before the names of a module's weights."""


def title(module: Any) -> str:
    """Its class, as it was before it was compiled, scripted or exported."""
    inner = getattr(module, "_orig_mod", module)
    if is_instance(module, "torch.export", "ExportedProgram"):
        return "exported program"
    return str(getattr(inner, "original_name", None) or type(inner).__qualname__)


def contents(module: Any, asked: Asked) -> Contents:
    """Its weights, under the names of its state dict."""
    state = module.state_dict
    tensors = state() if callable(state) else state
    named = {name.removeprefix(COMPILED): tensor for name, tensor in tensors.items()}
    return reading.contents(title(module), "a module of PyTorch", named)


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """Its layers and directions. Raises UserError for what cannot be called as a layer is."""
    layers = reading.layers(contents(module, asked), asked, "torch")
    exported = is_instance(module, "torch.export", "ExportedProgram")
    fixed, batch_first = None, asked.batch_first
    starts = exported or _takes_start(module)
    if exported:
        shapes = [tuple(int(n) for n in tensor.shape) for tensor in module.example_inputs[0]]
        starts = len(shapes) > 1
        fixed = (shapes[0][1], shapes[0][0]) if batch_first else (shapes[0][0], shapes[0][1])
        if layers[0].layout.time == "step":
            raise UserError("an exported cell is one step of fixed sizes; check the module that it was exported from")
        module = module.module()
    owner = _owner(module, layers[0])
    _check_settings(owner, title(module))
    if batch_first is None:
        batch_first = bool(getattr(owner, "batch_first", False))
    directions = 1 + any(layer.position.reverse for layer in layers)
    if len(layers) > directions:
        if asked.dtype not in ("", reading.one_dtype(layers[0])):
            raise UserError(f"{title(module)} is a stack; say dtype= of a layer by itself")
        return _stack(module, owner, layers, directions, batch_first)
    called = [_Called(module, layers, row, batch_first, starts, dtype=asked.dtype) for row in range(len(layers))]
    return [each.subject(fixed) for each in called]


def _check_settings(owner: Any, name: str) -> None:
    if getattr(owner, "nonlinearity", "tanh") != "tanh" or getattr(owner, "mode", "") == "RNN_RELU":
        raise UserError(f"{name} has the nonlinearity relu; the cells have tanh alone")
    if getattr(owner, "proj_size", 0):
        raise UserError(f"{name} has a projection, which no GRU has")


def _owner(module: Any, layer: Layer) -> Any:
    """The module that holds a layer's weights itself."""
    owner = getattr(module, "_orig_mod", module)
    for name in filter(None, layer.position.place.split(".")):
        owner = getattr(owner, name, owner)
    return owner


def _takes_start(module: Any) -> bool:
    """Whether it can be called with a second argument."""
    inner = getattr(module, "_orig_mod", module)
    try:
        given = inspect.signature(inner.forward).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return True
    positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 or any(p.kind == p.VAR_POSITIONAL for p in given)


@dataclass(frozen=True)
class _Called:
    """One direction of a layer, called through the module that holds it."""

    module: Any
    layers: Sequence[Layer]
    """All directions of the module."""
    row: int
    batch_first: bool
    starts: bool
    before: int = 0
    """How many rows of H0 belong to layers below it."""
    dtype: str = ""
    """Of its states, where that is not the dtype of its weights."""

    @property
    def torch(self) -> Any:
        """PyTorch."""
        return loaded("torch")

    @property
    def layer(self) -> Layer:
        return self.layers[self.row]

    @property
    def weights(self) -> dict[str, Any]:
        """The layer's own tensors, by the layout's names."""
        state = {name.removeprefix(COMPILED): p for name, p in self.module.named_parameters()}
        state |= {name.removeprefix(COMPILED): b for name, b in self.module.named_buffers()}
        return {own: state[name] for own, name in self.layer.names.items() if name in state}

    def subject(self, fixed: tuple[int, int] | None, **more: Any) -> Subject:
        weights = self.weights
        return Subject(
            str(self.layer.contents.path),
            "torch",
            self.layer,
            self._states,
            self._device,
            self.call,
            self.pull,
            self.starts,
            fixed,
            **{"redrawn": set(weights) == set(self.layer.names), **self._autocast, **more},
        )

    def call(self, X: Array, H0: Array, tensors: Mapping[str, Array]) -> dict[str, Array]:
        with self._holding(tensors), self.torch.no_grad():
            given = self._run(self._given(X), self._given(H0))
        return outputs(given, self._states, self._device)

    def pull(self, X: Array, H0: Array, tensors: Mapping[str, Array], dH: Array) -> dict[str, Array]:
        torch, weights = self.torch, self.weights
        frozen = [p for p in weights.values() if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            with self._holding(tensors), torch.enable_grad():
                inputs = {name: self._given(array).requires_grad_() for name, array in {"X": X, "H0": H0}.items()}
                given = self._run(*(each.clone() for each in inputs.values()))
                kind = Torch(self._device)
                gradients = kind.gradients(first(given), {**inputs, **weights}, self._given(dH))
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
        return {name: taken(value, f"grad.{name}") for name, value in gradients.items()}

    @functools.cached_property
    def _form(self) -> str:
        """How it is called: a module that holds a cell may go through the steps itself."""
        if self.layer.layout.time == "step":
            how = {"starts": self.starts, "batch_first": self.batch_first}
            return form(self.module, self._given, self.layer.sizes, **how) if self.layer.position.place else STEP
        return LOOP if self.layer.layout.package == "isogru" else WHOLE

    def _run(self, X: Any, H0: Any) -> Any:
        """H (T, n, h), and the final state (n, h)."""
        if self._form == STEP:
            return self.torch.stack(stepped(self.module, X, H0))
        reverse = bool(self.layer.position.reverse) and len(self.layers) > 1
        # What enters the top of a stack is turned where it comes out of the layers below.
        X = X.flip(0) if reverse and not self.before else X
        X = X.transpose(0, 1) if self.batch_first else X
        given = self.module(X, self._start(H0)) if self.starts else self.module(X)
        H, final = given if isinstance(given, (tuple, list)) else (given, None)
        is_tensor = [isinstance(each, self.torch.Tensor) for each in (H, final)]
        if not is_tensor[0] or H.ndim != 3 or (final is not None and not is_tensor[1]):
            return H if final is None else (H, final)
        h = H0.shape[-1]
        H = H.transpose(0, 1) if self.batch_first else H
        H = H[..., self.row * h : (self.row + 1) * h] if len(self.layers) > 1 else H
        H = H.flip(0) if reverse else H
        if final is None or final.ndim != 3:
            return H if final is None else (H, final)
        return H, final[self.before + self.row]

    def _start(self, H0: Any) -> Any:
        if self._form == LOOP:
            return H0
        rows = [H0 if i == self.row else self.torch.zeros_like(H0) for i in range(len(self.layers))]
        return self.torch.stack([self.torch.zeros_like(H0)] * self.before + rows)

    @property
    def _states(self) -> str:
        return self.dtype or reading.one_dtype(self.layer)

    @property
    def _dtype(self) -> str:
        """Of what it is given: the finer one of its states and its weights."""
        return min(self._states, reading.one_dtype(self.layer), key=UNIT_ROUNDOFF.__getitem__)

    @property
    def _autocast(self) -> dict[str, Any]:
        """What autocast has products computed in, where it is on around the call. It casts no float64."""
        torch, device = self.torch, self._device.partition(":")[0]
        on = self._states != "float64" and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        lower = str(torch.get_autocast_dtype(device)).removeprefix("torch.") if on else ""
        off = functools.partial(torch.autocast, device, enabled=False)
        told = {"products": lower, "around": "the autocast around it", "without": off}
        return told if lower in coarser(self._states) else {}

    @property
    def _device(self) -> str:
        return next((str(weight.device) for weight in self.weights.values()), "cpu")

    def _given(self, array: Array) -> Any:
        return Torch(self._device).give(array, self._dtype)

    @contextlib.contextmanager
    def _holding(self, tensors: Mapping[str, Array]) -> Iterator[None]:
        """With these weights in it; afterwards it has its own again, to the bit."""
        own = self.layer.tensors()
        weights = {} if reading.same_arrays(own, dict(tensors)) else self.weights
        kept = {name: tensor.detach().clone() for name, tensor in weights.items()}
        try:
            # By .data: what somebody has computed with the module before can still be differentiated.
            for name, tensor in weights.items():
                tensor.data.copy_(self._given(tensors[name]))
            # Autocast keeps what it has made of weights, and does not see that they are others.
            self.torch.clear_autocast_cache()
            yield
        finally:
            for name, tensor in weights.items():
                tensor.data.copy_(kept[name])
            self.torch.clear_autocast_cache()


def _stack(module: Any, owner: Any, layers: Sequence[Layer], directions: int, batch_first: bool) -> list[Subject]:
    """Every layer of a stack by itself, as a layer of the same class with its weights; and its top within the stack, on
    what those below it give.
    """
    torch = loaded("torch")
    kind = next((each for name in STACKS if type(owner) is (each := getattr(torch.nn, name))), None)
    inner = getattr(module, "_orig_mod", module)
    if kind is None or owner is not inner:
        raise UserError(
            f"{title(module)} holds {len(layers)} recurrent layers; check each by itself: a stack is taken apart "
            "where it is torch.nn.GRU itself"
        )
    singles, made = [], []
    for start in range(0, len(layers), directions):
        rows = layers[start : start + directions]
        single = _single(kind, owner, rows)
        singles.append(single)
        own = reading.layers(contents(single, Asked()), Asked(), "torch")
        # Under the names of the stack.
        named = [replace(layer, position=row.position) for layer, row in zip(own, rows, strict=True)]
        made += [_Called(single, named, row, False, True).subject(None) for row in range(directions)]
    top = layers[-directions:]
    before = len(layers) - directions
    whole = [_Called(module, top, row, batch_first, True, before) for row in range(directions)]
    for each in whole:
        below = functools.partial(
            _through, singles[:-1], reading.one_dtype(layers[0]), bool(each.layer.position.reverse)
        )
        made.append(each.subject(None, redrawn=False, enters=(layers[0].sizes["d"], below)))
    return made


def _single(kind: Any, stack: Any, rows: Sequence[Layer]) -> Any:
    """One layer of a stack, in its directions, as a layer by itself."""
    sizes, like = rows[0].sizes, next(stack.parameters())
    single = kind(sizes["d"], sizes["h"], bias=not rows[0].missing, bidirectional=len(rows) > 1)
    single.to(device=like.device, dtype=like.dtype)
    state, number = stack.state_dict(), rows[0].position.number
    names = [name for row in rows for name in row.names.values()]
    single.load_state_dict({name.replace(f"_l{number}", "_l0"): state[name] for name in names})
    return single


def _through(singles: Sequence[Any], dtype: str, reverse: bool, X: Array) -> Array:
    """What layers one after the other make of X (T, n, d), from zero; from its last step to its first if `reverse`."""
    torch = loaded("torch")
    with torch.no_grad():
        H = Torch(str(next(singles[0].parameters()).device)).give(X, dtype)
        for single in singles:
            H = single(H)[0]
    return taken(H.flip(0) if reverse else H, "H")
