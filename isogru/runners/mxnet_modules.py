"""Layers of MXNet's Gluon: rnn.GRU, rnn.RNN with tanh, and their cells; of one layer in one direction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from isogru.runners import reading
from isogru.runners.arrays import loaded, taken
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject, outputs
from isogru.weight_files.contents import Contents
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import Array


def contents(module: Any, asked: Asked) -> Contents:
    """Its parameters, under the names of collect_params."""
    name = type(module).__qualname__
    try:
        tensors = {key: parameter.data().asnumpy() for key, parameter in module.collect_params().items()}
    except Exception:  # Gluon has several errors of its own, for each way to have no values.
        raise UserError(f"{name} of Gluon has no weights yet: initialize it, and say its input_size") from None
    return reading.contents(name, "a layer of Gluon", tensors)


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """The layer that it is. Raises UserError for several layers or directions, and for another activation than tanh."""
    layer = reading.alone(contents(module, asked), asked, "mxnet")
    said = str(getattr(module, "_mode", getattr(module, "_activation", "tanh")))
    if said not in ("gru", "rnn_tanh", "tanh"):
        raise UserError(f"{layer.contents.path} has the activation {said}; the cells have tanh alone")
    layer = reading.with_functions(layer, {"candidate": "tanh"} if "candidate" in layer.layout.settings else {})
    dtype = reading.one_dtype(layer)
    held = _Held(module, dict(layer.names), dtype)
    title = str(layer.contents.path)
    return [Subject(title, "mxnet", layer, dtype, str(held.context).partition("(")[0], held.call, held.pull)]


class _Held:
    """A layer with its parameters, by the layout's own names."""

    def __init__(self, module: Any, names: Mapping[str, str], dtype: str) -> None:
        everything = module.collect_params()
        self._module, self._dtype, self._mx = module, dtype, loaded("mxnet")
        self._parameters = {own: everything[name] for own, name in names.items()}
        self.context = next(iter(self._parameters.values())).list_ctx()[0]

    def call(self, X: Array, H0: Array, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """All states, and the last one."""
        with self._holding(tensors):
            return outputs(self._run(self._given(X), self._given(H0)), self._dtype, "")

    def pull(self, X: Array, H0: Array, tensors: Mapping[str, Array], dH: Array) -> dict[str, Array]:
        """The gradients by X, H0 and every parameter, by MXNet's autograd."""
        inputs = {"X": self._given(X), "H0": self._given(H0)}
        for each in inputs.values():
            each.attach_grad()
        learnt = {own: each for own, each in self._parameters.items() if each.grad_req != "null"}
        with self._holding(tensors):
            with self._mx.autograd.record():
                H = self._run(*inputs.values())[0]
            H.backward(self._given(dH))
            gradients = {name: each.grad for name, each in inputs.items()}
            gradients |= {own: each.grad(self.context) for own, each in learnt.items()}
            return {name: taken(value, f"grad.{name}", dtype=self._dtype) for name, value in gradients.items()}

    def _run(self, X: Any, H0: Any) -> tuple[Any, Any]:
        """H (T, n, h), and the final state (n, h)."""
        time = getattr(self._module, "_layout", "")
        if not time:
            states = []
            for t in range(X.shape[0]):
                H0 = self._module(X[t], [H0])[0]
                states.append(H0)
            stack = self._mx.np.stack if self._in_numpy else self._mx.nd.stack
            return (stack(states) if self._in_numpy else stack(*states, axis=0)), H0
        turned = time == "NTC"
        start = H0.reshape((1, *H0.shape))
        H, (final,) = self._module(X.swapaxes(0, 1) if turned else X, [start])
        return H.swapaxes(0, 1) if turned else H, final[0]

    @property
    def _in_numpy(self) -> bool:
        """Whether MXNet's NumPy semantics are switched on."""
        return bool(self._mx.npx.is_np_array())

    def _given(self, array: Array) -> Any:
        kind = self._mx.np if self._in_numpy else self._mx.nd
        return kind.array(array, dtype=self._dtype, ctx=self.context)

    @contextlib.contextmanager
    def _holding(self, tensors: Mapping[str, Array]) -> Iterator[None]:
        """With these weights in it; afterwards it has its own again."""
        kept = {own: each.data(self.context).copy() for own, each in self._parameters.items()}
        try:
            for own, each in self._parameters.items():
                each.set_data(self._given(tensors[own]))
            yield
        finally:
            for own, each in self._parameters.items():
                each.set_data(kept[own])
