"""A package of GRUs that nobody here wrote, by NumPy: right ones and all that can go wrong."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from frameworks.adapters.third_party import Implementation
from shared_spec import oracle
from shared_spec.cells import cell

ENTRIES = ("one_step",)


def versions():
    return {"fake": "1.2.3"}


def run(layout, tensors, X, H0):
    return oracle.run(cell("gru"), {"X": X, "H0": H0, **tensors}, dtype=X.dtype.name)["H"]


def gradients(layout, tensors, X, H0, dH):
    arrays = oracle.run(cell("gru"), {"X": X, "H0": H0, "dH": dH, **tensors}, dtype=X.dtype.name)
    return {name.removeprefix("grad."): array for name, array in arrays.items() if name.startswith("grad.")}


def turned(layout, tensors, X, H0):
    """Z and 1 - Z exchanged."""
    return run(layout, {name: -array if name[-1] == "z" else array for name, array in tensors.items()}, X, H0)


def lost(layout, tensors, X, H0, dH):
    """A gradient of the right shape, and half of what it should be."""
    derivatives = gradients(layout, tensors, X, H0, dH)
    return {**derivatives, "W_hh": derivatives["W_hh"] / 2}


def dies(layout, tensors, X, H0):
    os.kill(os.getpid(), signal.SIGSEGV)


def raises(layout, tensors, X, H0):
    raise ValueError("a message of its own")


def narrow(layout, tensors, X, H0):
    return run(layout, tensors, X, H0).astype(np.float16)


def sleeps(layout, tensors, X, H0):
    time.sleep(60)


def implementations():
    def one(name, run, gradients=None, **facts):
        without = "" if gradients else "it has none"
        return Implementation(
            name, f"fake.{name}", "gru", run, gradients, without_gradients=without, entries=ENTRIES, **facts
        )

    if os.environ.get("FAKE") == "slow":
        return [one("sleeps", sleeps)]
    return [
        one("right", run, gradients, dtypes=("float32", "float64"), not_run={"float16": "it does not know it"}),
        one("dies", dies),
        one("turned", turned),
        one("lost", run, lost),
        one("raises", raises),
        one("narrow", narrow),
    ]
