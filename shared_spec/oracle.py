"""The oracle: a cell over a sequence, and its gradients, in NumPy; float64 unless told otherwise.

Its *twins* are the same mathematics with other rounding: the oracle in the precision of the implementation under
test, on the same problem with hidden units, inputs and batch rows permuted, by an arithmetic unlike NumPy's. How far
they stray is the scale for everything that has no bound of its own. Every second one computes at the ends of the
precision as a machine may: readings/brittle.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Shape
from shared_spec.readings import brittle, floats, gradient, value
from shared_spec.readings.arithmetic import PLAIN, Array, OneHot, Plain

SEQUENCE_SHAPES: Mapping[str, Shape] = {"X": ("T", "n", "d"), "H0": ("n", "h"), "dH": ("T", "n", "h")}
TWINS = 4
IN_CACHE = 2**14
"""As many values of a state as leave room in a processor's cache for all that a step makes of them."""

Pull = Callable[[Array], gradient.Gradients]


def shapes_of_case(cell: Cell) -> dict[str, Shape]:
    """The symbolic shape of everything a case of this cell may hold."""
    return {**SEQUENCE_SHAPES, **cell.parameters}


def shapes_of_result(cell: Cell) -> dict[str, Shape]:
    """The symbolic shape of everything a result of this cell may hold."""
    given = {"X": SEQUENCE_SHAPES["X"], "H0": SEQUENCE_SHAPES["H0"], **cell.parameters}
    states: dict[str, Shape] = {"H": ("T", "n", "h"), "final": ("n", "h")}
    gradients = {f"grad.{name}": shape for name, shape in given.items()}
    traced = {f"trace.{target}": states["H"] for target in ("dH", *(e.target for e in cell.equations))}
    return states | gradients | traced | {f"trace.{name}": shape for name, shape in gradients.items()}


def states(
    cell: Cell, X: Array | OneHot, H0: Array, parameters: Mapping[str, Array], *, arithmetic: Plain = PLAIN
) -> Array:
    """All states H_1..H_T (T, n, h) from X (T, n, d) and H_0 (n, h), in the precision of the arrays given."""
    H = np.empty((len(X), *H0.shape), H0.dtype)
    for rows in _blocks(H0):
        previous = H0[rows]
        for t, X_t in enumerate(X[:, rows]):
            after = value.step(cell, X_t, previous, parameters, arithmetic=arithmetic)["H"]
            H[t, rows] = previous = arithmetic.handed_on(after)
    return H


def quantities(cell: Cell, X: Array, H0: Array, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """What every equation gives at every step, (T, n, h) each by its target, from X (T, n, d) and H_0 (n, h)."""
    H = states(cell, X, H0, parameters)
    return value.step(cell, X, np.concatenate([H0[None], H[:-1]]), parameters)


class Unrolled:
    """A cell run over a sequence, ready to go back: `H` (T, n, h) and `backward`."""

    def __init__(
        self,
        cell: Cell,
        X: Array | OneHot,
        H0: Array,
        parameters: Mapping[str, Array],
        wanted: Collection[str],
        *,
        arithmetic: Plain = PLAIN,
    ) -> None:
        self._wanted = (*wanted, "H")
        self._arithmetic = arithmetic
        self._blocks = []
        self.H = np.empty((len(X), *H0.shape), H0.dtype)
        values: dict[str, Array | OneHot] = {"X": X, "H": H0, **parameters}
        over_rows = arithmetic.over_rows
        tape = gradient.Tape(cell.equations, values, self._wanted, arithmetic=arithmetic, over_rows=over_rows)
        for rows in _blocks(H0):
            state, pullbacks = H0[rows], []
            for t, X_t in enumerate(X[:, rows]):
                state, pull = tape.forward(values | {"X": X_t, "H": state}, H0.dtype)
                self.H[t, rows] = state = arithmetic.handed_on(state)
                pullbacks.append(pull)
            self._blocks.append((rows, pullbacks))

    def backward(self, dH: Array) -> dict[str, Array]:
        """From dH (T, n, h), the cotangent of every state, to the gradients of the wanted names; of X over all T,
        and "H0" for the start state.
        """
        T, n, _ = dH.shape
        of_rows: dict[str, Array] = {"H0": np.empty_like(dH[0])}
        parts: dict[str, Array] = {}
        for rows, pullbacks in self._blocks:
            for t, (_, gradients) in zip(reversed(range(T)), self._steps_back(dH[:, rows], pullbacks), strict=True):
                of_rows["H0"][rows] = gradients.pop("H")
                if "X" in gradients:
                    dX = gradients.pop("X")
                    of_rows.setdefault("X", np.empty((T, n, dX.shape[1]), dX.dtype))[t, rows] = dX
                for name, part in gradients.items():
                    parts.setdefault(name, np.zeros((T, *part.shape), part.dtype))[t] += part
        return of_rows | {name: self._arithmetic.accumulated(of_steps, T * n) for name, of_steps in parts.items()}

    def cotangents(self, dH: Array) -> Array:
        """The gradient (T, n, h) of every state by itself, from dH (T, n, h), the cotangent of what is made of them."""
        cotangents = np.empty_like(dH)
        for rows, pullbacks in self._blocks:
            cotangents[:, rows] = [of_state for of_state, _ in self._steps_back(dH[:, rows], pullbacks)][::-1]
        return cotangents

    def _steps_back(self, dH: Array, pullbacks: Sequence[Pull]) -> Iterator[tuple[Array, dict[str, Array]]]:
        """From the last step to the first: the gradient of its state (n, h), and those of what its step takes."""
        carried = np.zeros_like(dH[0])
        for d, pull in zip(dH[::-1], pullbacks[::-1], strict=True):
            of_state = self._arithmetic.handed_on(carried + d)
            gradients = {name: self._arithmetic.handed_on(each) for name, each in pull(of_state).items()}
            carried = gradients["H"]
            yield of_state, gradients


def _blocks(H0: Array) -> list[slice]:
    """The rows of a batch, a few at a time: what a step makes of them stays in the cache, and the products are small
    enough for BLAS to leave out what it does to large ones first.
    """
    n, h = H0.shape
    count = -(-n * h // IN_CACHE)
    size = max(1, -(-n // max(1, count)))
    return [slice(first, first + size) for first in range(0, n, size)]


def run(
    cell: Cell, case: Mapping[str, Array], *, dtype: str = "float64", arithmetic: Plain = PLAIN
) -> dict[str, Array]:
    """Everything a result of a case holds: "H" (T, n, h), "final" (n, h) and, where the case has dH, "grad.…"."""
    arrays = {name: array.astype(dtype) for name, array in case.items()}
    parameters = {name: arrays[name] for name in cell.parameters}
    if "dH" not in arrays:
        H = states(cell, arrays["X"], arrays["H0"], parameters, arithmetic=arithmetic)
        return {"H": H, "final": H[-1]}
    unrolled = Unrolled(cell, arrays["X"], arrays["H0"], parameters, {"X", *parameters}, arithmetic=arithmetic)
    gradients = unrolled.backward(arrays["dH"])
    H = unrolled.H
    return {"H": H, "final": H[-1], **{f"grad.{name}": gradients[name] for name in ("X", "H0", *parameters)}}


def twin(cell: Cell, case: Mapping[str, Array], *, dtype: str, seed: int) -> dict[str, Array]:
    """`run`, on the permuted problem by unlike arithmetic, permuted back; in float16 and bfloat16 too, as float32."""
    if dtype in floats.HALVES:
        case = {name: floats.rounded(array, dtype) for name, array in case.items()}
    permutation = Permutation(_sizes(cell, case), seed)
    permuted = {name: permutation.apply(array, shapes_of_case(cell)[name]) for name, array in case.items()}
    arithmetic = brittle.of_twin(dtype, seed)
    # At the end of its range a twin may go over it where the truth does not: that is how far it strays, no fault.
    with np.errstate(over="ignore", invalid="ignore"):
        permuted = {name: arithmetic.given(array) for name, array in permuted.items()}
        results = run(cell, permuted, dtype=floats.carrier(dtype).name, arithmetic=arithmetic)
    return {name: permutation.undo(array, shapes_of_result(cell)[name]) for name, array in results.items()}


class Permutation:
    """One permutation for each dimension but time: units h, inputs d, characters v, batch rows n."""

    def __init__(self, sizes: Mapping[str, int], seed: int) -> None:
        random = np.random.RandomState(seed)
        self.of = {symbol: random.permutation(sizes[symbol]) for symbol in sorted(sizes) if symbol != "T"}

    def apply(self, array: Array, shape: Shape) -> Array:
        for axis, symbol in enumerate(shape):
            if symbol in self.of:
                array = np.take(array, self.of[symbol], axis)
        return array

    def undo(self, array: Array, shape: Shape) -> Array:
        for axis, symbol in enumerate(shape):
            if symbol in self.of:
                array = np.take(array, np.argsort(self.of[symbol]), axis)
        return array


def _sizes(cell: Cell, case: Mapping[str, Array]) -> dict[str, int]:
    T, n, d = case["X"].shape
    return {"T": T, "n": n, "d": d, "h": case["H0"].shape[1]}
