"""A framework in NumPy, honest, with a place for every cheat: what is timed can be tested where no framework is."""

from __future__ import annotations

import functools
import types

import numpy as np

from frameworks import Framework
from frameworks.protocol import Implementation
from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.language_model import training


class Module(types.SimpleNamespace):
    """Stands in for a module, which is itself and no other."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def runtime():
    def tensor(values, *, dtype, device="cpu"):
        return np.array(values, dtype)

    return Module(
        tensor=tensor,
        to_numpy=np.asarray,
        copy=np.array,
        wait=lambda values: None,
        peak_memory=lambda device: None,
        versions=lambda: {"numpy": np.__version__},
        switches=lambda: {"threads": "1"},
        setup=lambda *, device="cpu", threads=None: None,
    )


def forward(the_cell, X, H0, parameters):
    H = oracle.states(the_cell, X, H0, parameters)
    return H, H[-1]


def gradients(of_forward, *, compiled):
    """Those of the oracle, in the arrays' own precision; the states are the forward's own."""
    the_cell = of_forward.args[0]

    def pulled_back(X, H0, parameters, dH):
        H, final = of_forward(X, H0, parameters)
        unrolled = oracle.Unrolled(the_cell, X, H0, parameters, {"X", *parameters})
        return H, final, unrolled.backward(dH)

    return pulled_back


def loss_and_gradients(of_forward, parameters, inputs, targets):
    return training.loss_and_gradients(of_forward.args[0], parameters, inputs, targets)


def training_step(of_forward, *, lr, clip_norm, compiled):
    def step(parameters, inputs, targets):
        value, gradients = loss_and_gradients(of_forward, parameters, inputs, targets)
        return training.sgd(parameters, gradients, lr=lr, clip_norm=clip_norm), value, training.norm(gradients)

    return step


def validation_loss(of_forward, *, compiled):
    return functools.partial(training.loss, of_forward.args[0])


def predict(of_forward, parameters, prefix, count):
    return training.predict(of_forward.args[0], parameters, prefix, count)


def framework(**cheats):
    """The framework, with some of its functions in the place of honest ones: `gradients`, `training_step`, `wait`..."""
    of_cells = Module(gradients=cheats.pop("gradients", gradients))
    model = {
        "loss_and_gradients": loss_and_gradients,
        "training_step": training_step,
        "validation_loss": validation_loss,
        "predict": predict,
    }
    model |= {name: cheats.pop(name) for name in list(cheats) if name in model}
    own = runtime()
    vars(own).update(cheats)
    return Framework(
        "numpy",
        cells=of_cells,
        layers=None,
        tuned=None,
        parallel=None,
        chapter=None,
        language_model=Module(**model),
        peak=None,
        runtime=own,
    )


def implementation(name="scratch", cell_name="gru", of_forward=forward):
    """One of a cell; its forward knows which."""
    return Implementation(
        name, cell_name, name, ("float32", "float64"), lambda: functools.partial(of_forward, cell(cell_name))
    )
