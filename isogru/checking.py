"""Is this function the GRU that it claims to be? A callable on the catalogue's cases of a cell, judged case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
import numpy as np

from isogru import judge
from isogru.judge import precision
from isogru.judge.comparison import EQUAL, ORDER, Finding
from shared_spec import cases as catalogue
from shared_spec import cells
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import DTYPES, Case, Origin, Result
from shared_spec.readings.arithmetic import Array

FAILED = "failed"
"""Of a case on which the callable raised, or gave what is no result at all."""
WORSE = (*ORDER, FAILED)

Parameters = Mapping[str, Array]
Forward = Callable[[Array, Array, Parameters], Any]
"""(X (T, n, d), H0 (n, h), parameters by name) -> H (T, n, h), or (H, final (n, h))."""
Gradients = Callable[[Array, Array, Parameters, Array], Mapping[str, Any]]
"""(X, H0, parameters, dH (T, n, h)) -> the gradients of sum(dH * H) by "X", "H0" and every parameter's name."""


@dataclass(frozen=True)
class CaseVerdict:
    """What came of one case."""

    case: str
    verdict: str
    """"equal", "undetermined", "suspect", "different" or "failed"."""
    sentence: str
    """Of the worst element; of what failed, why."""
    worst: Finding | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a function: the worst of its cases."""

    cell: str
    dtype: str
    covers: str
    """What was judged: "states", or "states and gradients"."""
    roundoff: Mapping[str, float]
    """The unit roundoff that it delivers, by operation, as far as it could be measured."""
    cases: tuple[CaseVerdict, ...]
    unmeasured: tuple[str, ...] = ()
    """Operations of the cell whose precision cannot be measured through any function, such as "sigmoid of Z"."""

    @property
    def worst_case(self) -> CaseVerdict:
        """The case that the verdict rests on."""
        return max(self.cases, key=lambda c: (WORSE.index(c.verdict), c.worst.ratio if c.worst else 0.0))

    @property
    def verdict(self) -> str:
        """ "equal", "undetermined", "suspect", "different" or "failed"."""
        return self.worst_case.verdict

    @property
    def worst(self) -> Finding | None:
        """The worst element of the worst case; None where that one failed."""
        return self.worst_case.worst

    @property
    def sentence(self) -> str:
        """What there is to say in one line: how many cases were equal, or the worst element of the worst."""
        of = self.worst_case
        if of.verdict == EQUAL:
            largest = f"largest ratio to the bound {of.worst.ratio:.2g} in {of.case}" if of.worst else ""
            told = "" if self.roundoff else "; its precision could not be measured"
            return f"equal to {self.cell} in {self.dtype}: {self.covers} of {len(self.cases)} cases, {largest}{told}"
        return f"{of.verdict}: {of.case}: {of.sentence}"

    def json(self) -> str:
        """Everything, as JSON; what is infinite is null there."""
        return msgspec.json.encode({"verdict": self.verdict, "sentence": self.sentence, **asdict(self)}).decode()


def check(
    forward: Forward,
    *,
    cell: str,
    dtype: str = "float32",
    gradients: Gradients | None = None,
    cases: Iterable[str] | None = None,
) -> Verdict:
    """Run the catalogue's cases of a cell (`isogru cells`) on a function from NumPy to NumPy, and judge what it gives.

    `forward(X, H0, parameters)` takes X (T, n, d), H0 (n, h) and the parameters by their names, all in `dtype`, and
    gives H (T, n, h), or H and the final state (n, h). `gradients(X, H0, parameters, dH)` is judged too, if given.
    `cases` names some of them, instead of all of that cell.

    What the functions raise is a verdict, "failed". Raises UserError for a cell, a dtype or a case that is not there.
    """
    of = cells.cell(cell)
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join(DTYPES)}")
    names = case_names(of, cases)
    call = _Call(forward, gradients, of, dtype)
    judged = tuple(call.judged(name) for name in names)
    return Verdict(of.name, dtype, call.covers, call.roundoff, judged, call.unmeasured)


def assert_equal(
    forward: Forward,
    *,
    cell: str,
    dtype: str = "float32",
    gradients: Gradients | None = None,
    cases: Iterable[str] | None = None,
) -> None:
    """`check`, for tests. Raises AssertionError, with the verdict's sentence, unless the verdict is equal."""
    found = check(forward, cell=cell, dtype=dtype, gradients=gradients, cases=cases)
    if found.verdict != EQUAL:
        raise AssertionError(found.sentence)


def case_names(of: Cell, chosen: Iterable[str] | None) -> list[str]:
    """The catalogue's cases of a cell, or those chosen. Raises UserError for one that is not there, and for none."""
    there = [name for name in catalogue.cell_case_names() if catalogue.cell_name_of(name) == of.name]
    if chosen is None:
        return there
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if unknown := [name for name in names if name not in there]:
        raise UserError(f"no case {unknown[0]!r} of {of.name}; its cases are {', '.join(there)}")
    if not names:
        raise UserError(f"no case chosen; the cases of {of.name} are {', '.join(there)}")
    return names


class _Call:
    """The functions under test, and who they are."""

    def __init__(self, forward: Forward, gradients: Gradients | None, of: Cell, dtype: str) -> None:
        self._forward, self._gradients, self._cell, self._dtype = forward, gradients, of, dtype
        self.covers = "states and gradients" if gradients else "states"
        self.unmeasured = precision.unmeasured(of)
        try:
            self.roundoff = precision.measure(self._states, of, dtype=dtype)
        except (Exception, SystemExit) as error:  # It may be right on the cases all the same.
            self.roundoff, self.unmeasured = {}, (f"all of it: {type(error).__name__}: {error}",)

    def judged(self, name: str) -> CaseVerdict:
        """The verdict on one case of the catalogue."""
        case = catalogue.build(name)
        assert isinstance(case, Case)
        if not self._gradients:
            case = replace(case, arrays={key: array for key, array in case.arrays.items() if key != "dH"})
        try:
            arrays = self._arrays(case)
        except InterchangeError as error:
            return CaseVerdict(name, FAILED, f"{self._label}: {error}", None)
        except (Exception, SystemExit) as error:  # What somebody else's function raises is a finding.
            return CaseVerdict(name, FAILED, f"{self._label}: {type(error).__name__}: {error}", None)
        try:
            found = judge.on(case, Result(self._origin(case), arrays), name=self._label)
        except InterchangeError as error:
            return CaseVerdict(name, FAILED, str(error), None)
        top = found.worst_finding
        return CaseVerdict(name, found.verdict, top.sentence(found.origin), top, found.all_findings)

    def _arrays(self, case: Case) -> dict[str, Array]:
        given = {name: array.astype(self._dtype) for name, array in case.arrays.items()}

        def arguments() -> tuple[Array, Array, dict[str, Array]]:
            # Copies each time: what a function does to its inputs changes no other call.
            return given["X"].copy(), given["H0"].copy(), {name: given[name].copy() for name in case.cell.parameters}

        outputs = _quietly(self._forward, *arguments())
        H, final = outputs if isinstance(outputs, tuple) else (outputs, None)
        H = _array(H, "H")
        found = {"H": H, "final": H[-1].copy() if final is None else _array(final, "final")}
        if self._gradients:
            pulled = _quietly(self._gradients, *arguments(), given["dH"].copy())
            found |= {f"grad.{name}": _array(value, f"grad.{name}") for name, value in pulled.items()}
        return found

    def _states(self, X: Array, H0: Array, parameters: Parameters) -> Array:
        outputs = _quietly(self._forward, X, H0, parameters)
        return _array(outputs[0] if isinstance(outputs, tuple) else outputs, "H")

    @property
    def _label(self) -> str:
        return str(getattr(self._forward, "__qualname__", type(self._forward).__qualname__))

    def _origin(self, case: Case) -> Origin:
        return Origin(
            case=case.name,
            case_digest=case.digest,
            cell=case.cell.name,
            spec_digest=case.cell.digest,
            framework=str(getattr(self._forward, "__module__", None) or "python"),
            implementation=self._label,
            lane="callable",
            dtype=self._dtype,
            device="cpu",
            unit_roundoff=precision.unit_roundoff(self.roundoff, self._dtype),
            roundoff=self.roundoff,
            versions={"numpy": np.__version__},
        )


def _quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """NumPy's warnings of overflow are not the user's to mend: some cases, and the probe, saturate gates on purpose."""
    with np.errstate(all="ignore"):
        return function(*arguments)


def _array(value: Any, name: str) -> Array:
    """A copy of what a function gave, which may be a view of its input. Raises InterchangeError for no array."""
    array = np.array(value)
    if array.dtype.kind not in "fiub":
        raise InterchangeError(f"{name} is {type(value).__name__}, should be an array of numbers")
    return array
