"""The cells as fast as MXNet runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), in
one thread of a machine shared with others: it is the ratios that count. Of gru_reset_after MXNet's own layer is faster
at this very size: in a race this lane took 1.4 times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from mxnet import autograd, np, npx
from mxnet.numpy import ndarray

from frameworks import RichForward
from frameworks.mxnet.cells import Forward

# Nothing here is compiled: MXNet's graphs take what is recorded, and not a gradient by hand.
COMPILED = False
# oneDNN's, in float32: 0.02 ms for one step where npx.sigmoid takes 0.10 and np.tanh 0.43, and as exact: 53 -> 47 ms.
_sigmoid = partial(npx.activation, act_type="sigmoid")
_tanh = partial(npx.activation, act_type="tanh")


def _times(a: ndarray, transposed: ndarray) -> ndarray:
    """a times the transpose of what is given, in 0.017 ms where np.dot takes 0.029."""
    return npx.fully_connected(a, transposed, no_bias=True, num_hidden=len(transposed))


def gru() -> Forward:
    return _forward(_Gru, "zrh", ("W_hz", "W_hr", "W_hh"))


def gru_reset_after() -> Forward:
    return _forward(_ResetAfter, "zrh", ("W_hz", "W_hr", "W_hh", "b_hh"))


def rnn() -> Forward:
    return _forward(_Rnn, "h", ("W_hh",))


def _forward(loop: type[autograd.Function], gates: str, recurrent: tuple[str, ...]) -> Forward:
    def states(inputs: Callable[..., ndarray], H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple:
        # The input part of all steps is one product, outside the loop. The gates stay apart: one product for all of
        # them has to be cut in pieces, and cutting copies.
        A = [inputs(parameters[f"W_x{gate}"], parameters[f"b_{gate}"]) for gate in gates]
        # H0 is last: autograd.Function hands over no gradient that comes after one that nobody wants.
        H = loop()(*A, *(parameters[name] for name in recurrent), H0)
        return H, H[-1]

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        return states(lambda W, b: np.dot(X, W) + b, H0, parameters)

    def of_tokens(tokens: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        # Of a one-hot input it is a row of the table. Gathered, not multiplied: 91 -> 84 ms.
        return states(lambda W, b: np.take(W + b, tokens, axis=0), H0, parameters)

    def cross_entropy(H: ndarray, W_hq: ndarray, b_q: ndarray, labels: ndarray) -> ndarray:
        return _CrossEntropy(labels.reshape(-1))(H, W_hq, b_q)[0]

    return RichForward(forward, of_tokens=of_tokens, cross_entropy=cross_entropy)


class _Loop(autograd.Function):
    """What MXNet gives and takes in a gradient are its older arrays; here they are NumPy's like."""

    def backward(self, dH):
        return tuple(found.as_nd_ndarray() for found in self.back(dH.as_np_ndarray()))


def _rows(array: ndarray) -> ndarray:
    return array.reshape(-1, array.shape[-1])


def _total(rows: ndarray) -> ndarray:
    # np.sum over 32768 rows takes 3.9 ms, a product with ones 0.4 ms.
    return np.dot(np.ones_like(rows[:, 0]), rows)


class _CrossEntropy(_Loop):
    """The output layer, all steps at once, and the mean cross-entropy against labels (T n,). By np.max, np.exp
    and np.sum, which are slow: 73 -> 47 ms.
    """

    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def forward(self, H, W_hq, b_q):
        self.H, self.W_hq = H, W_hq
        self.P = npx.softmax(np.dot(_rows(H), W_hq) + b_q)
        # Of shape (1,): MXNet goes back in a thread of its own, where a scalar's shape counts as unknown.
        return -np.mean(np.log(npx.pick(self.P, self.labels)), keepdims=True)

    def back(self, d):
        dO = (self.P - npx.one_hot(self.labels, self.P.shape[1], dtype=self.P.dtype)) * (d / len(self.labels))
        dH = np.dot(dO, self.W_hq.T).reshape(self.H.shape)
        return dH, np.dot(_rows(self.H).T, dO), _total(dO)


# Each loop takes what the input and the biases add to each gate, (T, n, h), the recurrent weights and H0 (n, h), and
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
        d, found = np.zeros_like(dH[0]), []
        for dH_t, (before, Z, R, RH, C) in zip(reversed(list(dH)), reversed(self.kept), strict=True):
            d = d + dH_t
            carried = d * Z
            dC = (d - carried) * (1 - C * C)
            dRH = _times(dC, W_hh)
            dZ, dR = (carried - carried * Z) * (before - C), dRH * RH * (1 - R)
            d = carried + dRH * R + _times(dZ, W_hz) + _times(dR, W_hr)
            found.append((dZ, dR, dC))
        dZ, dR, dC = _in_time(found)
        before, _, _, RH, _ = zip(*self.kept, strict=True)
        weights = _sum_of_products(before, dZ), _sum_of_products(before, dR), _sum_of_products(RH, dC)
        return dZ, dR, dC, *weights, d


class _ResetAfter(_Loop):
    def forward(self, A_z, A_r, A_h, W_hz, W_hr, W_hh, b_hh, H):
        self.weights, self.kept = (W_hz, W_hr, W_hh), []
        T_z, T_r, T_h = (W.T.copy() for W in self.weights)
        for z, r, c in zip(A_z, A_r, A_h, strict=True):
            before, Z, R = H, _sigmoid(z + _times(H, T_z)), _sigmoid(r + _times(H, T_r))
            inner = _times(H, T_h) + b_hh
            C = _tanh(c + R * inner)
            H = C + Z * (H - C)
            self.kept.append((before, Z, R, inner, C))
        return np.stack([*(before for before, *_ in self.kept[1:]), H])

    def back(self, dH):
        W_hz, W_hr, W_hh = self.weights
        d, found = np.zeros_like(dH[0]), []
        for dH_t, (before, Z, R, inner, C) in zip(reversed(list(dH)), reversed(self.kept), strict=True):
            d = d + dH_t
            carried = d * Z
            dC = (d - carried) * (1 - C * C)
            dinner = dC * R
            dZ, dR = (carried - carried * Z) * (before - C), dinner * inner * (1 - R)
            d = carried + _times(dZ, W_hz) + _times(dR, W_hr) + _times(dinner, W_hh)
            found.append((dZ, dR, dC, dinner))
        dZ, dR, dC, dinner = _in_time(found)
        before, *_ = zip(*self.kept, strict=True)
        weights = [_sum_of_products(before, each) for each in (dZ, dR, dinner)]
        return dZ, dR, dC, *weights, _total(_rows(dinner)), d


class _Rnn(_Loop):
    def forward(self, A_h, W_hh, H0):
        self.W_hh, self.states, T_h = W_hh, [H0], W_hh.T.copy()
        for c in A_h:
            self.states.append(_tanh(c + _times(self.states[-1], T_h)))
        return np.stack(self.states[1:])

    def back(self, dH):
        d, found = np.zeros_like(dH[0]), []
        for dH_t, H in zip(reversed(list(dH)), self.states[:0:-1], strict=True):
            dC = (d + dH_t) * (1 - H * H)
            d = _times(dC, self.W_hh)
            found.append((dC,))
        (dC,) = _in_time(found)
        return dC, _sum_of_products(self.states[:-1], dC), d


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
