"""A GRU as a function of arrays, of NumPy or of a framework, on the catalogue's cases of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isogru.judge import precision
from isogru.judge.comparison import EQUAL
from isogru.runners import verdict
from isogru.runners.arrays import Arrays, Leaves, Numpy, check_states, first, parted, taken
from isogru.runners.verdict import CaseVerdict
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES, carrier, rounded

AUTO = "auto"
"""Gradients by the framework's own autodiff, instead of a function that computes them."""

Forward = Callable[[Any, Any, Mapping[str, Any]], Any]
"""(X (T, n, d), H0 (n, h), parameters by name) -> H (T, n, h), or (H, final (n, h))."""
Gradients = Callable[[Any, Any, Mapping[str, Any], Any], Mapping[str, Any]]
"""(X, H0, parameters, dH (T, n, h)) -> the gradients of sum(dH * H) by "X", "H0" and every parameter's name."""


def label_of(function: Any) -> str:
    """What a function is called; of one that a compiler wrapped, what it was before."""
    inner = getattr(function, "_torchdynamo_orig_callable", None) or getattr(function, "__wrapped__", None)
    for each in (function, inner, getattr(function, "python_function", None)):
        if name := getattr(each, "__qualname__", None):
            return str(name)
    return type(function).__qualname__


@dataclass(frozen=True)
class Call:
    """A function under test, and as what it is judged."""

    forward: Forward
    gradients: Gradients | str | None
    cell: Cell
    dtype: str
    arrays: Arrays = Numpy()  # noqa: RUF009
    device: str = "cpu"
    products: str = ""
    """What its products are said to be computed in, where that is coarser than the dtype."""

    @property
    def covers(self) -> str:
        """What is judged, in words."""
        return "states and gradients" if self.gradients else "states"

    @property
    def label(self) -> str:
        """What it is called in sentences."""
        return label_of(self.forward)

    def measured(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """The unit roundoff that it delivers, by operation, and what of that cannot be measured. Nothing is measured of
        float16 and bfloat16: the probe's numbers have more digits.
        """
        if self.dtype in HALVES:
            return {}, (f"all of it: {self.dtype} is judged as its values are",)
        try:
            return precision.measure(self._states, self.cell, dtype=self.dtype), precision.unmeasured(self.cell)
        except (Exception, SystemExit) as error:  # It may be right on the cases all the same.
            if is_request(error):
                raise
            return {}, (f"all of it: {said(error)}",)

    def judged(self, case: Case, roundoff: Mapping[str, float], *, twice: bool = False) -> CaseVerdict:
        """The verdict on one case; where it is run `twice`, the worse of both, and that they differ."""
        if not self.gradients:
            case = replace(case, arrays={key: array for key, array in case.arrays.items() if key != "dH"})
        one = self._once(case, roundoff)
        if not twice or one.evidence is None:
            return one
        states = replace(case, arrays={key: array for key, array in case.arrays.items() if key != "dH"})
        return differs(one, replace(self, gradients=None)._once(states, roundoff))

    def _once(self, case: Case, roundoff: Mapping[str, float]) -> CaseVerdict:
        try:
            arrays = self._arrays(case)
        except (Exception, SystemExit) as error:  # What somebody else's function raises is a finding.
            if is_request(error):
                raise
            return verdict.failed(case.name, f"{self.label}: {said(error)}")
        return verdict.judged(case, Result(self._origin(case, roundoff), arrays), label=self.label)

    def _arrays(self, case: Case) -> dict[str, Array]:
        outputs = quietly(self._of_leaves, self._leaves(case.arrays))
        H, final = parted(outputs)
        H = self._taken(H, "H")
        check_states(H, len(case.arrays["X"]), *case.arrays["H0"].shape)
        arrays = {"H": H, "final": H[-1].copy() if final is None else self._taken(final, "final")}
        if not self.gradients:
            return arrays
        leaves, dH = self._leaves(case.arrays), self._given(case.arrays["dH"])
        if self.gradients == AUTO:
            pulled: Mapping[str, Any] = quietly(self.arrays.pull, self._of_leaves, leaves, dH)
        else:
            assert callable(self.gradients)
            parameters = {name: leaves[name] for name in case.cell.parameters}
            pulled = quietly(self.gradients, leaves["X"], leaves["H0"], parameters, dH)
            if not isinstance(pulled, Mapping):
                kind = type(pulled).__name__
                raise InterchangeError(
                    f"gradients are {kind}, should be a dict of them by name: X, H0, {', '.join(parameters)}"
                )
        return arrays | {f"grad.{name}": self._taken(value, f"grad.{name}") for name, value in pulled.items()}

    def _of_leaves(self, leaves: Leaves) -> Any:
        return self.forward(leaves["X"], leaves["H0"], {name: leaves[name] for name in self.cell.parameters})

    def _leaves(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """Fresh arrays each time: what a function does to its inputs changes no other call."""
        return {name: self._given(arrays[name]) for name in ("X", "H0", *self.cell.parameters)}

    def _given(self, array: Array) -> Any:
        return self.arrays.give(rounded(array, self.dtype), self.dtype)

    def _taken(self, value: Any, name: str) -> Array:
        return taken(value, name, dtype=self.dtype, device="" if isinstance(self.arrays, Numpy) else self.device)

    def _states(self, X: Array, H0: Array, parameters: Mapping[str, Array]) -> Array:
        outputs = quietly(self._of_leaves, self._leaves({"X": X, "H0": H0, **parameters}))
        return self._taken(first(outputs), "H").astype(carrier(self.dtype), copy=False)

    def _origin(self, case: Case, roundoff: Mapping[str, float]) -> Origin:
        plain = isinstance(self.arrays, Numpy)
        return Origin(
            case=case.name,
            case_digest=case.digest,
            cell=case.cell.name,
            spec_digest=case.cell.digest,
            framework=str(getattr(self.forward, "__module__", None) or "python") if plain else self.arrays.name,
            implementation=self.label,
            lane="callable",
            dtype=self.dtype,
            device=self.device,
            unit_roundoff=UNIT_ROUNDOFF[self.dtype]
            if self.products or self.dtype in HALVES
            else precision.unit_roundoff(roundoff, self.dtype),
            roundoff=roundoff,
            versions={"numpy": np.__version__},
            products=self.products,
        )


def differs(one: CaseVerdict, other: CaseVerdict) -> CaseVerdict:
    """Of two calls on the same arrays: failed where they differ and one of them is not equal, else the first. What adds
    up in another order each time, as GPUs do, may differ in rounding.
    """
    assert one.evidence is not None
    if other.evidence is None:
        return verdict.failed(one.case, f"called again with the same arrays: {other.sentence}")
    H, again = one.evidence.result.arrays["H"], other.evidence.result.arrays["H"]
    if verdict.worse(one, other).verdict == EQUAL or np.array_equal(H, again, equal_nan=True):
        return one
    at = tuple(int(i) for i in np.argwhere(~((again == H) | (np.isnan(H) & np.isnan(again))))[0])
    told = f"H[{','.join(map(str, at))}] = {H[at]:.7g}, then {again[at]:.7g}, called twice with the same arrays"
    label = one.evidence.result.origin.label
    return verdict.failed(one.case, f"no function of its arguments: {told} [{label}]")


def is_request(error: BaseException) -> bool:
    """Whether it is the request that was wrong, and not what a function gave."""
    return isinstance(error, UserError) and not isinstance(error, InterchangeError)


def said(error: BaseException) -> str:
    """What a function raised, in one line, without what a terminal obeys; of what it gave, what is wrong with it."""
    if isinstance(error, InterchangeError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "".join(c if c.isprintable() else " " for c in lines[0]) if lines else ""
    return f"{type(error).__name__}: {text}"[:300]


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """NumPy's warnings of overflow are not the user's to mend: some cases, and the probe, saturate gates on purpose."""
    with np.errstate(all="ignore"):
        return function(*arguments)
