"""The chapter's own way to train, as Zhang et al., Dive into Deep Learning, sections 9.3, 9.5, 9.6 and 10.2, have it in
MXNet, in words of our own: what the other lanes are raced against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy
from mxnet import gluon, np, npx
from mxnet.numpy import ndarray

from frameworks import RichForward
from frameworks.mxnet.cells import CELLS, Forward, Step, unroll
from frameworks.mxnet.language_model import OUTPUT, zero_state
from frameworks.mxnet.layers import BOTH, LAYERS
from shared_spec.frameworks import native_cells


def scratch(step: Step) -> Forward:
    """From scratch: one step after another, and of each a product with W_hq."""

    def loss(parameters: Mapping[str, ndarray], inputs: ndarray, targets: ndarray) -> ndarray:
        X, H, of_cell, W_hq, b_q = _given(parameters, inputs)
        states = []
        for X_t in X:
            H, _ = step(X_t, H, **of_cell)
            states.append(H)
        return _cross_entropy(np.stack([H @ W_hq + b_q for H in states], 1), targets)

    return RichForward(unroll(step), loss=loss, batches=batches)


def concise(build: Callable[[], Forward]) -> Forward:
    """Concise: MXNet's own layer, and a linear layer of all its states."""
    layer = build()

    def loss(parameters: Mapping[str, ndarray], inputs: ndarray, targets: ndarray) -> ndarray:
        X, H0, of_cell, W_hq, b_q = _given(parameters, inputs)
        H, _ = layer(X, H0, of_cell)
        O = npx.fully_connected(H, W_hq.T, b_q, num_hidden=len(b_q), flatten=False)
        return _cross_entropy(O.swapaxes(0, 1), targets)

    return RichForward(layer, loss=loss, batches=batches)


def batches(rows: numpy.ndarray, batch_size: int) -> Iterator[tuple[ndarray, ndarray]]:
    """Inputs and targets (n, T) of rows (count, T + 1), which the loader takes one by one and puts together."""
    tokens = np.array(rows, dtype="int32")
    return iter(gluon.data.DataLoader(gluon.data.ArrayDataset(tokens[:, :-1], tokens[:, 1:]), batch_size))


def _given(parameters: Mapping[str, ndarray], inputs: ndarray) -> tuple:
    """One-hot inputs (T, n, v), the zero state, the parameters of the cell, W_hq and b_q."""
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    X = npx.one_hot(inputs.as_in_ctx(b_q.ctx).T, len(b_q), dtype=b_q.dtype)
    return X, zero_state(parameters, len(inputs)), of_cell, W_hq, b_q


def _cross_entropy(O: ndarray, targets: ndarray) -> ndarray:
    """The mean over logits (n, T, v) and targets (n, T)."""
    of_each = gluon.loss.SoftmaxCrossEntropyLoss()
    return of_each(O.reshape(-1, O.shape[-1]), targets.as_in_ctx(O.ctx).reshape(-1)).mean()


# The implementations by their names: the cell that each claims to equal, its constructor and the dtypes it runs in. Of
# cells that no layer computes the chapter has none, and each training costs time.
CHAPTER = {
    "chapter-scratch": {name: (functools.partial(scratch, CELLS[name]), BOTH) for name in native_cells()},
    "chapter-concise": {name: (functools.partial(concise, build), dtypes) for name, (build, dtypes) in LAYERS.items()},
}
