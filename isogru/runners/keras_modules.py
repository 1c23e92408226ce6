"""Layers of Keras 3, on whichever backend it has: GRU, SimpleRNN, their cells, and RNN over a cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isogru.models.functions import USUAL
from isogru.runners import arrays as kinds
from isogru.runners import reading
from isogru.runners.arrays import Leaves, loaded
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject, functional
from isogru.weight_files.contents import Contents, Described
from isogru.weight_files.keras.config import function
from shared_spec.errors import UserError

CELLS = ("GRUCell", "SimpleRNNCell")


def contents(module: Any, asked: Asked) -> Contents:
    """Its variables by their paths, and what the configuration of its recurrent layers says."""
    name = type(module).__qualname__
    if not module.built:
        raise UserError(f"{name} of Keras has no weights yet: call it once, or build it: layer.build((None, None, d))")
    tensors = {variable.path: variable.value for variable in module.weights}
    return reading.contents(name, "a layer of Keras", tensors, _described(module))


def _described(module: Any) -> Iterator[Described]:
    """What Keras says of each layer of weights: where its reset gate stands, its functions, its direction."""
    met: set[str] = set()
    for layer in module._flatten_layers():
        cell = getattr(layer, "cell", layer)
        kind = next((base.__name__ for base in type(cell).__mro__ if base.__name__ in CELLS), None)
        paths = {variable.path.rpartition("/")[2]: variable.path for variable in cell.weights}
        if kind is None or not paths or met & set(paths.values()):
            continue
        met |= set(paths.values())
        config = cell.get_config()
        named = {"candidate": config["activation"]}
        layout = "keras-rnn"
        if kind == "GRUCell":
            named["gate"] = config["recurrent_activation"]
            layout = "keras" if config["reset_after"] else "keras-reset-before"
        settings = {key: function(value, keras=3) for key, value in named.items()}
        place = next(iter(paths.values())).rpartition("/")[0]
        yield Described(place, layout, paths, bool(getattr(layer, "go_backwards", False)), settings=settings)


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """The layer that it is. Raises UserError for one of several layers, and for functions that no cell has."""
    keras = loaded("keras")
    if isinstance(module, keras.layers.Bidirectional):
        raise UserError("Bidirectional holds two layers; check forward_layer and backward_layer, each by itself")
    layer = reading.alone(contents(module, asked), asked, "keras")
    layer = reading.with_functions(layer, {key: layer.settings[key] for key in USUAL if key in layer.settings})
    backend = keras.backend.backend()
    dtype = str(module.compute_dtype)
    device = "cpu"
    notes: tuple[str, ...] = ()
    sequences = bool(getattr(module, "return_sequences", False))
    step = not hasattr(module, "return_sequences")
    if not step and not sequences:
        notes = ("it returns the last state alone: each state was had from the steps up to it",)
    # Turned round where the layer goes backwards: a case's X is in the order in which steps are computed.
    backwards = bool(getattr(module, "go_backwards", False))
    names = {name: own for own, name in layer.names.items()}

    def called(leaves: Leaves, *given: Any, **more: Any) -> Any:
        variables = [
            [leaves[names[v.path]] if v.path in names else v.value for v in those]
            for those in (module.trainable_variables, module.non_trainable_variables)
        ]
        return module.stateless_call(*variables, *given, **more)[0]

    def run(leaves: Leaves) -> Any:
        ops, H0 = keras.ops, leaves["H0"]
        if step:
            states, H = [], H0
            for t in range(leaves["X"].shape[0]):
                H = _first(called(leaves, leaves["X"][t], [H]))
                states.append(H)
            return ops.stack(states)
        X = ops.transpose(leaves["X"], (1, 0, 2))

        def through(part: Any) -> Any:
            part = ops.flip(part, 1) if backwards else part
            return called(leaves, part, initial_state=[H0])

        if sequences:
            given = through(X)
            return ops.transpose(_first(given), (1, 0, 2))
        return ops.stack([_first(through(X[:, : t + 1])) for t in range(X.shape[1])])

    call, pull = functional(run, kinds.of(backend, device), dtype, "")
    title = type(module).__qualname__
    return [Subject(title, f"keras/{backend}", layer, dtype, device, call, pull, brief=not sequences, notes=notes)]


def _first(given: Any) -> Any:
    """The outputs, of a layer that gives its states beside them."""
    return given[0] if isinstance(given, (tuple, list)) else given
