"""The chapter's own way to train, as Zhang et al., Dive into Deep Learning, sections 9.3, 9.5, 9.6 and 10.2, have it in
JAX, in words of our own: what the other lanes are raced against. As there, the loss is compiled, and clipping and the
update are not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from frameworks import RichForward
from frameworks.jax.cells import CELLS, Forward, Step, unroll
from frameworks.jax.language_model import OUTPUT, zero_state
from frameworks.jax.layers import BOTH, LAYERS
from shared_spec.frameworks import native_cells


@functools.cache
def scratch(step: Step) -> Forward:
    """From scratch: one step after another, and of each a product with W_hq."""
    forward = unroll(step)

    def loss(parameters: Mapping[str, Array], inputs: Array, targets: Array) -> Array:
        X, H0, of_cell, W_hq, b_q = _given(parameters, inputs)
        states, _ = forward(X, H0, of_cell)
        return _cross_entropy(jnp.stack([H @ W_hq + b_q for H in states], 1), targets)

    return RichForward(forward, loss=loss, batches=batches)


@functools.cache
def concise(build: Callable[[], Forward]) -> Forward:
    """Concise: Flax' own layer, and a linear layer of all its states."""
    layer = build()

    def loss(parameters: Mapping[str, Array], inputs: Array, targets: Array) -> Array:
        X, H0, of_cell, W_hq, b_q = _given(parameters, inputs)
        H, _ = layer(X, H0, of_cell)
        return _cross_entropy((H @ W_hq + b_q).swapaxes(0, 1), targets)

    return RichForward(layer, loss=loss, batches=batches)


def batches(rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets (n, T) of rows (count, T + 1), taken one by one and put together: JAX has no loader, and the
    one of TensorFlow that the chapter takes is not here.
    """
    for first in range(0, len(rows), batch_size):
        taken = [(row[:-1], row[1:]) for row in rows[first : first + batch_size]]
        inputs, targets = zip(*taken, strict=True)
        yield np.stack(inputs), np.stack(targets)


def _given(parameters: Mapping[str, Array], inputs: Array) -> tuple:
    """One-hot inputs (T, n, v), the zero state, the parameters of the cell, W_hq and b_q."""
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    X = jax.nn.one_hot(inputs.T, len(b_q), dtype=b_q.dtype)
    return X, zero_state(parameters, len(inputs)), of_cell, W_hq, b_q


def _cross_entropy(O: Array, targets: Array) -> Array:
    """The mean over logits (n, T, v) and targets (n, T)."""
    return optax.softmax_cross_entropy_with_integer_labels(O.reshape(-1, O.shape[-1]), targets.reshape(-1)).mean()


# The implementations by their names: the cell that each claims to equal, its constructor and the dtypes it runs in. Of
# cells that no layer computes the chapter has none, and each training costs time.
CHAPTER = {
    "chapter-scratch": {name: (functools.partial(scratch, CELLS[name]), BOTH) for name in native_cells()},
    "chapter-concise": {name: (functools.partial(concise, build), dtypes) for name, (build, dtypes) in LAYERS.items()},
}
