"""The cells of shared_spec/cells.toml, by hand in MXNet: X (n, d), H (n, h) -> next H, and gates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mxnet import autograd, gluon, np, npx, symbol
from mxnet.numpy import ndarray

Forward = Callable[[ndarray, ndarray, Mapping[str, ndarray]], tuple[ndarray, ndarray]]
Step = Callable[..., tuple[ndarray, dict[str, ndarray]]]


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = npx.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = npx.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_after(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, b_hh):
    Z = npx.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = npx.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh))
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = npx.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    return C, {"R": R, "C": C}


def gru_update_only(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = npx.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = np.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "C": C}


def rnn(X, H, *, W_xh, W_hh, b_h):
    H = np.tanh(X @ W_xh + H @ W_hh + b_h)
    return H, {}


CELLS = {
    "gru": gru,
    "gru_reset_after": gru_reset_after,
    "gru_reset_only": gru_reset_only,
    "gru_update_only": gru_update_only,
    "rnn": rnn,
}


@functools.cache
def with_gates(step: Step) -> Step:
    """The step with its gates kept: its state is [H, *gates], gates by name, its input [X, E]. E (n, h) is added to the
    state that comes out: zeros, whose gradient is that of the states.
    """

    def kept(X, S, **parameters):
        h = next(iter(parameters.values())).shape[-1]
        H, gates = step(X[:, :-h], S[:, :h], **parameters)
        return np.concatenate([H + X[:, -h:], *(gates[name] for name in sorted(gates))], 1), {}

    return kept


def unroll(step: Step) -> Forward:
    """The step over time: a forward (X (T, n, d), H0 (n, h), parameters) -> (H (T, n, h), final (n, h))."""

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        # The gradient of a broadcast bias is a sum over the batch, and MXNet's is slow: here once, not at every step.
        n = len(H0)
        rows = {name: np.broadcast_to(p, (n, len(p))) if p.ndim == 1 else p for name, p in parameters.items()}
        H, states = H0, []
        for X_t in X:
            H, _ = step(X_t, H, **rows)
            states.append(H)
        return np.stack(states), H

    return forward


def compiled(step: Step) -> Forward:
    """The unrolled steps as one hybridized block, for each shape anew: 256 small steps take a quarter of a second to
    trace and then run in a fifth of the loop's time, where the step alone, hybridized, takes half of it.
    """
    eager, blocks = unroll(step), {}

    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        names = sorted(parameters)
        arrays = [X, H0, *(parameters[name] for name in names)]
        key = (X.shape, H0.shape, X.dtype)
        if key not in blocks:
            blocks[key] = _hybridize(lambda X, H0, *rest: eager(X, H0, dict(zip(names, rest, strict=True))), arrays)
        H, final = blocks[key](*arrays)
        return H, final

    return forward


def _hybridize(function: Callable[..., tuple[ndarray, ndarray]], arrays: list[ndarray]) -> gluon.HybridBlock:
    """The function as a static graph, from what autograd records of it. The usual way, hybrid_forward(F, ...), would
    need every cell a second time: MXNet 1's symbols have no `@`, and np.tanh refuses them.
    """
    leaves = [array.detach() for array in arrays]
    for leaf in leaves:
        leaf.attach_grad()
    with autograd.record():
        outputs = function(*leaves)
    # New variables of the recorded names: the recorded ones carry no dtype, and SymbolBlock warns of that.
    inputs = [symbol.var(autograd.get_symbol(leaf).name, dtype=leaf.dtype).as_np_ndarray() for leaf in leaves]
    block = gluon.SymbolBlock([autograd.get_symbol(output).as_np_ndarray() for output in outputs], inputs)
    block.hybridize(static_alloc=True, static_shape=True)
    return block


COMPILERS = {"compiled": compiled}


def gradients(forward: Forward, *, compiled: bool) -> Callable[..., tuple[ndarray, ndarray, dict[str, ndarray]]]:
    """A function (X, H0, parameters, dH) -> (H, final, gradients): those of "X", "H0" and every parameter, for
    dH (T, n, h), the cotangent of H. In the compiled lane the forward brings what is compiled with it.
    """

    def pulled_back(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray], dH: ndarray):
        inputs = {"X": X, "H0": H0, **parameters}
        leaves = {name: value.detach() for name, value in inputs.items()}
        for leaf in leaves.values():
            leaf.attach_grad()
        with autograd.record():
            H, final = forward(leaves["X"], leaves["H0"], {name: leaves[name] for name in parameters})
        H.backward(dH)
        return H, final, {name: leaf.grad for name, leaf in leaves.items()}

    return pulled_back
