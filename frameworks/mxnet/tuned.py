"""The cells as fast as MXNet runs them here: its own layers, the compiled cell, or a loop with its gradient by hand.

Which of them follows from the cell and the size. Ratios are of times, from a race of all lanes on two cores, at T from
8 to 128, n from 1 to 4096 and h from 32 to 1024, in which loops by hand stood for every cell. Milliseconds are those of
a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), in one thread of a machine shared with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from mxnet import autograd, np, npx
from mxnet.numpy import ndarray

from frameworks import RichForward
from frameworks.mxnet import layers
from frameworks.mxnet.cells import CELLS, Forward, compiled

# The whole training step is not compiled: MXNet's graphs take what is recorded, and not a gradient by hand.
COMPILED = False
FEW = 64
"""Sequences of no more units, up to which a gradient's operations take longer to issue than to compute."""
# oneDNN's, in float32: 0.02 ms for one step where npx.sigmoid takes 0.10 and np.tanh 0.43, and as exact: 53 -> 47 ms.
_sigmoid = partial(npx.activation, act_type="sigmoid")
_tanh = partial(npx.activation, act_type="tanh")


def _times(a: ndarray, transposed: ndarray) -> ndarray:
    """a times the transpose of what is given, in 0.017 ms where np.dot takes 0.029."""
    return npx.fully_connected(a, transposed, no_bias=True, num_hidden=len(transposed))


def gru() -> Forward:
    """By hand, since MXNet has no such layer, but where the compiled cell is faster, which issues its operations from
    C++: for few sequences without a gradient (by hand a prediction takes 2.3 times as long, a forward 1.25, a single
    step 1.2 to 1.6); for few short ones with it (1.8); and in float64, where the input's product with its gradient is
    the slower one by hand (1.4). For as few sequences of more units a gradient takes 1.1 to 1.3 times as long compiled.
    """
    by_hand, graph = _by_hand("zrh", ("W_hz", "W_hr", "W_hh")), compiled(CELLS["gru"])

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        compiled_is_faster = _is_small(H0) or (autograd.is_recording() and H0.dtype == np.float64)
        return (graph if compiled_is_faster else by_hand)(X, H0, parameters)

    def of_tokens(tokens: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        if _is_small(H0):
            d = len(parameters["W_xh"])
            return graph(npx.one_hot(tokens, d, dtype=H0.dtype), H0, parameters)
        return by_hand.of_tokens(tokens, H0, parameters)

    return RichForward(forward, of_tokens=of_tokens, cross_entropy=_cross_entropy)


def gru_reset_after() -> Forward:
    return _native(layers.gru(), compiled(CELLS["gru_reset_after"]))


def rnn() -> Forward:
    return _native(layers.rnn(), compiled(CELLS["rnn"]))


def _native(layer: Forward, graph: Forward) -> Forward:
    """MXNet's own layer with the cross-entropy by hand. A loop by hand took 2.6 to 6 times as long in gradients and
    forwards in float32, and 1.5 times in float64. A single step of few sequences is the compiled cell, since the layer
    packs all weights anew: 6 to 7 times as long.
    """

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        n, h = H0.shape
        return (graph if len(X) == 1 and n < h else layer)(X, H0, parameters)

    return RichForward(forward, cross_entropy=_cross_entropy)


def _is_small(H0: ndarray) -> bool:
    """Whether operations on so few numbers take longer to issue than to compute."""
    n, h = H0.shape
    return h <= n <= FEW if autograd.is_recording() else n < h


def _by_hand(gates: str, recurrent: tuple[str, ...]) -> RichForward:
    def states(inputs: Callable[..., ndarray], H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple:
        # The input part of all steps is one product, outside the loop. The gates stay apart: one product for all of
        # them has to be cut in pieces, and cutting copies.
        A = [inputs(parameters[f"W_x{gate}"], parameters[f"b_{gate}"]) for gate in gates]
        # H0 is last: autograd.Function hands over no gradient that comes after one that nobody wants.
        H = _Gru()(*A, *(parameters[name] for name in recurrent), H0)
        return H, H[-1]

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        # Not np.dot and a sum: a forward of the chapter 47 -> 36 ms, with gradients 231 -> 126 ms.
        return states(lambda W, b: npx.fully_connected(X, W.T, b, num_hidden=len(b), flatten=False), H0, parameters)

    def of_tokens(tokens: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        # Of a one-hot input it is a row of the table. Gathered, not multiplied: 91 -> 84 ms.
        return states(lambda W, b: np.take(W + b, tokens, axis=0), H0, parameters)

    return RichForward(forward, of_tokens=of_tokens)


def _cross_entropy(H: ndarray, W_hq: ndarray, b_q: ndarray, labels: ndarray) -> ndarray:
    return _CrossEntropy(labels.reshape(-1))(H, W_hq, b_q)[0]


class _Loop(autograd.Function):
    """What MXNet gives and takes in a gradient are its older arrays; here they are NumPy's like."""

    def backward(self, dH):
        return tuple(array.as_nd_ndarray() for array in self.back(dH.as_np_ndarray()))


def _rows(array: ndarray) -> ndarray:
    return array.reshape(-1, array.shape[-1])


def _total(rows: ndarray) -> ndarray:
    # np.sum over 32768 rows takes 3.9 ms, a product with ones 0.4 ms.
    return np.dot(np.ones_like(rows[:, 0]), rows)


class _CrossEntropy(_Loop):
    """The output layer, all steps at once, and the mean cross-entropy against labels (T n,). By np.max, np.exp
    and np.sum, which are slow, it was 73 ms and is 47. Two passes over all logits fewer, on two cores of another
    machine: rnn 32 -> 27 ms, gru_reset_after 51 -> 45.
    """

    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def forward(self, H, W_hq, b_q):
        self.H, self.W_hq = H, W_hq
        self.P = npx.softmax(npx.fully_connected(_rows(H), W_hq.T, b_q, num_hidden=len(b_q)))
        # Of shape (1,): MXNet goes back in a thread of its own, where a scalar's shape counts as unknown.
        return -np.mean(np.log(npx.pick(self.P, self.labels)), keepdims=True)

    def back(self, d):
        # What all are multiplied by goes into the smaller factors.
        dO, scale = self.P - npx.one_hot(self.labels, self.P.shape[1], dtype=self.P.dtype), d / len(self.labels)
        dH = _times(dO, scale * self.W_hq).reshape(self.H.shape)
        return dH, scale * np.dot(_rows(self.H).T, dO), scale * _total(dO)


# The loop takes what the input and the biases add to each gate, (T, n, h), the recurrent weights and H0 (n, h), and
# gives H (T, n, h). Gradients of weights are one product over all T after the backward loop.


def _sum_of_products(a: list[ndarray], b: ndarray) -> ndarray:
    return np.dot(np.concatenate(a).T, _rows(b))


def _in_time(backwards: list[tuple[ndarray, ...]]) -> list[ndarray]:
    """From tuples of one step each, the last step first, to one array (T, n, h) for each of their members."""
    return [np.stack(steps[::-1]) for steps in zip(*backwards, strict=True)]


class _Gru(_Loop):
    def forward(self, A_z, A_r, A_h, W_hz, W_hr, W_hh, H):
        self.weights, self.kept = (W_hz, W_hr, W_hh), []
        T_z, T_r, T_h = (W.T.copy() for W in self.weights)
        for z, r, c in zip(A_z, A_r, A_h, strict=True):
            before, Z, R = H, _sigmoid(z + _times(H, T_z)), _sigmoid(r + _times(H, T_r))
            RH = R * H
            C = _tanh(c + _times(RH, T_h))
            H = C + Z * (H - C)
            self.kept.append((before, Z, R, RH, C))
        return np.stack([*(before for before, *_ in self.kept[1:]), H])

    def back(self, dH):
        W_hz, W_hr, W_hh = self.weights
        d, steps = np.zeros_like(dH[0]), []
        for dH_t, (before, Z, R, RH, C) in zip(reversed(list(dH)), reversed(self.kept), strict=True):
            d = d + dH_t
            carried = d * Z
            dC = (d - carried) * (1 - C * C)
            dRH = _times(dC, W_hh)
            dZ, dR = (carried - carried * Z) * (before - C), dRH * RH * (1 - R)
            d = carried + dRH * R + _times(dZ, W_hz) + _times(dR, W_hr)
            steps.append((dZ, dR, dC))
        dZ, dR, dC = _in_time(steps)
        before, _, _, RH, _ = zip(*self.kept, strict=True)
        weights = _sum_of_products(before, dZ), _sum_of_products(before, dR), _sum_of_products(RH, dC)
        return dZ, dR, dC, *weights, d


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
