"""Why is a result not what it should be? A search for the conventions under which it is, and the proof.

Each candidate is one batched step from the result's own states: where every state is within the rounding bound of a
step of the edited cell, the result is that cell's, for this case. A few rows reject nearly all candidates; what is left
is held against every row.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from isogru import each_sequence
from isogru.conventions import Convention, conventions
from isogru.edits import Edit, edited, unedited
from isogru.judge.comparison import WORST_CASE
from isogru.judge.delivered import Delivered
from isogru.remedies import remedy
from isogru.sequences import Run
from isogru.wording import ratio as worded
from shared_spec.errors import UserError
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES

NEARER = 2
"""How many times nearer a result has to be to an edit than to what is right."""
MOST_IN_HALVES = 0.5
"""The largest ratio to the bound that proves an edit in float16 and bfloat16, whose bounds of sums are wide: right
results have 0.2 there at most (docs/verdict.md), and what lies between two functions may be within that of either.
"""
EQUAL, EXPLAINED, AMBIGUOUS, UNEXPLAINED = "equal", "explained", "cannot tell apart", "not explained"


@dataclass(frozen=True)
class Cause:
    """Conventions under which a result is equal, and others that are the same function."""

    names: tuple[str, ...]
    """Of the conventions, in the order in which they are applied; none where it is the precision of products, or what
    became of a batch's sequences.
    """
    sentence: str
    remedy: str
    ratio: float
    """The largest ratio of any state to its bound, under these conventions."""
    alike: tuple[tuple[str, ...], ...] = ()
    """Other conventions that are the same function."""


@dataclass(frozen=True)
class Explanation:
    """What makes a result equal, if anything does."""

    verdict: str
    """"equal", "explained", "cannot tell apart" or "not explained"."""
    ratio: float = 0.0
    """The largest ratio of any state to its bound, as the result is."""
    causes: tuple[Cause, ...] = ()
    tried: int = 0
    """How many edits were tried."""
    telling: Case | None = field(default=None, repr=False)
    """Of causes that cannot be told apart, a case on which they differ."""
    note: str = ""

    @property
    def sentence(self) -> str:
        """What there is to say in one line."""
        if self.verdict == EQUAL:
            return "nothing to explain: each state is what a step from the one before gives"
        if self.verdict == UNEXPLAINED:
            return f"not explained: {self.note or f'none of {self.tried} edits makes it equal'}"
        proof = f"the largest ratio to the bound is {worded(self.ratio)}, and so {worded(self.causes[0].ratio)}"
        if self.note:
            proof += f"; {self.note}"
        if self.verdict == EXPLAINED:
            return f"equal if {self.causes[0].sentence} ({proof})"
        either = ", or if ".join(cause.sentence for cause in self.causes)
        return f"cannot tell apart: equal on this case if {either} ({proof})"

    @property
    def remedy(self) -> str:
        """What to do about it; empty where that is not known."""
        return self.causes[0].remedy if self.verdict == EXPLAINED else ""

    def record(self) -> dict[str, object]:
        """For machines."""
        causes = [asdict(cause) for cause in self.causes]
        told = {"verdict": self.verdict, "sentence": self.sentence, "remedy": self.remedy, "ratio": self.ratio}
        return {**told, "causes": causes, "tried": self.tried}


def explain(
    case: Case, H: Array, *, unit_roundoff: float | None = None, given: Delivered | None = None, pairs: bool = True
) -> Explanation:
    """Name the conventions under which the states H (T, n, h) that somebody computed of a case are right: one, or else
    two at once unless `pairs` is false. `unit_roundoff` is what they were computed with, their dtype's by default;
    `given` says it in full, with what was summed up in.

    Raises UserError for states of another shape or of a dtype that has no known roundoff.
    """
    shape = (*case.arrays["X"].shape[:2], case.arrays["H0"].shape[1])
    if H.shape != shape:
        raise UserError(f"H has shape {H.shape}, should be (T, n, h) = {shape}")
    given = given or _delivered(H.dtype.name, unit_roundoff)
    case = case.held_in(given.dtype)
    H = H.astype(np.float32) if H.dtype == np.float16 else H
    if np.isfinite(H).all():
        return _in_any_sums(case, H, given, pairs)
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(H))[0])
    note = f"H[{','.join(map(str, at))}] is {H[at]}, the first that is no finite number"
    if until := at[0]:
        # What overflows or divides by zero may have a cause that the steps before it tell.
        sooner = replace(case, arrays={**case.arrays, "X": case.arrays["X"][:until]})
        explanation = _in_any_sums(sooner, H[:until], given, pairs)
        if explanation.verdict in (EXPLAINED, AMBIGUOUS):
            return replace(explanation, note=f"looked at up to there: {note}")
    return Explanation(UNEXPLAINED, np.inf, note=note)


def _delivered(dtype: str, unit_roundoff: float | None) -> Delivered:
    u = UNIT_ROUNDOFF.get(dtype) if unit_roundoff is None else unit_roundoff
    if u is None:
        raise UserError(f"H is {dtype}; say its unit roundoff")
    return Delivered(dtype, u, (UNIT_ROUNDOFF["float32"], u) if dtype in HALVES else (u,))


def _in_any_sums(case: Case, H: Array, given: Delivered, pairs: bool) -> Explanation:
    """With the finest sums that something explains, as a verdict has it."""
    explanations = [_explained(case, H, replace(given, sums=(sums,)), pairs) for sums in given.sums[:1]]
    for sums in given.sums[1:]:
        if explanations[-1].verdict != UNEXPLAINED:
            break
        explanations.append(_explained(case, H, replace(given, sums=(sums,)), pairs))
    return explanations[-1]


def _explained(case: Case, H: Array, given: Delivered, pairs: bool) -> Explanation:
    search = _Search(case, H, given)
    as_it_is = search.as_it_is
    if as_it_is <= 1:
        return Explanation(EQUAL, as_it_is)
    fits = search.fits(search.singles)
    if not fits and (told := search.told(case)):
        if not told.is_cause:
            return Explanation(UNEXPLAINED, as_it_is, tried=search.tried, note=told.sentence)
        cause = Cause((), told.sentence, told.remedy, told.ratio)
        return Explanation(EXPLAINED, as_it_is, (cause,), search.tried)
    if not fits and pairs:
        fits = search.fits(search.pairs(), search.nearest)
    causes = _causes(case, fits)
    verdict = UNEXPLAINED if not causes else EXPLAINED if len(causes) == 1 else AMBIGUOUS
    telling = probe(case) if verdict == AMBIGUOUS else None
    return Explanation(verdict, as_it_is, causes, search.tried, telling)


class _Search:
    """The edits of a case, held against a result."""

    def __init__(self, case: Case, H: Array, given: Delivered) -> None:
        self._X, self._H0, self._H, self._given = case.arrays["X"], case.arrays["H0"], H, given
        self._lengths = case.lengths
        self._runs: dict[tuple[int, ...], Run | None] = {}
        self.start = unedited(case)
        self.tried = 0
        self.is_blunt = False
        """Whether some bound was so wide that it allowed what is wrong and what is right."""
        made = (self.start.then(each) for each in conventions().values())
        self.singles = [each for each in made if each is not None]

    def pairs(self) -> Iterator[Edit]:
        """Every two conventions, in both orders where the order may matter: edits of equations, weights and sequences
        do not get in each other's way.
        """
        for i, first in enumerate(self.singles):
            for j, second in enumerate(self.singles):
                one, two = first.conventions[0], second.conventions[0]
                if i != j and (i < j or _kind(one) == _kind(two)) and (both := first.then(two)) is not None:
                    yield both

    def fits(self, edits: Iterable[Edit], nearest: float = np.inf) -> list[tuple[Edit, float]]:
        """Those that make the result equal, with the largest ratio that is left. What is further off than `nearest` is
        not held against its bound.
        """
        matches = []
        for edit in edits:
            self.tried += 1
            run = self._run(edit)
            if run is None or (nearest < np.inf and edit.apart(run) > nearest):
                continue
            if edit.ratio(run, self._given, few=True) > 1:
                continue
            if (ratio := edit.ratio(run, self._given)) <= 1:
                if self._is_proof(edit, ratio):
                    matches.append((edit, ratio))
                else:
                    self.is_blunt = True
        return matches

    def _is_proof(self, edit: Edit, ratio: float) -> bool:
        """Whether the bound under an edit, within which the result is, tells it from what is right: right states are
        outside, and the result is nearer to the edit than to what is right, and than right states are to the edit.
        """
        run = edit.run(self._X, self._H0, self._right, self._lengths)
        of_right = np.inf if run is None else edit.ratio(run, self._given)
        most = MOST_IN_HALVES if self._given.stored else 1
        return of_right > 1 and ratio <= most and NEARER * ratio <= min(of_right, self.as_it_is)

    @functools.cached_property
    def as_it_is(self) -> float:
        """The largest ratio of any state without an edit."""
        return self.exactly(self.start)

    def told(self, case: Case) -> each_sequence.Told | None:
        """What became of the sequences of a batch, where every step that was computed is right and bounds tell that."""
        return None if self.is_blunt else each_sequence.told(case, self._H, self.start, self._given, self._right)

    @functools.cached_property
    def _right(self) -> Array:
        states = self.start.states(self._X, self._H0)
        assert states is not None
        return states

    @property
    def nearest(self) -> float:
        """How far off two edits at once are looked at: far beyond the largest bound that one alone has."""
        runs = [(edit, run) for edit in self.singles if (run := self._run(edit)) is not None]
        return WORST_CASE * max((edit.allowed(run, self._given) for edit, run in runs), default=np.inf)

    def exactly(self, edit: Edit) -> float:
        """The largest ratio of any state under an edit."""
        run = self._run(edit)
        return np.inf if run is None else edit.ratio(run, self._given)

    def _run(self, edit: Edit) -> Run | None:
        key = tuple(map(id, edit.sequences))
        if key not in self._runs:
            self._runs[key] = edit.run(self._X, self._H0, self._H, self._lengths)
        return self._runs[key]


def _kind(convention: Convention) -> str:
    return "sequence" if convention.sequence else "weights" if convention.weights else "equations"


def probe(case: Case) -> Case:
    """A case of the same cell and sizes that tells conventions apart: nothing in it is zero, or the same twice."""
    (T, n, d), h = case.arrays["X"].shape, case.arrays["H0"].shape[1]
    random = np.random.RandomState(h)
    steps = 6
    # Where batch and time are of one length, or not, they are so here.
    sizes = {"T": steps, "n": steps if n == T else steps - 2, "d": d, "h": h}
    symbols = {"X": ("T", "n", "d"), "H0": ("n", "h"), **case.cell.parameters}
    arrays = {name: random.standard_normal([sizes[s] for s in shape]) for name, shape in symbols.items()}
    for name in case.cell.parameters:
        arrays[name] /= np.sqrt(h)
    arrays["H0"] = np.tanh(arrays["H0"])
    rounded = {name: array.astype(np.float32).astype(np.float64) for name, array in arrays.items()}
    return Case(f"{case.cell.name}-telling", case.cell, rounded)


def same_function(one: Sequence[Convention], other: Sequence[Convention], on: Case) -> bool:
    """Whether two lists of conventions make the same function, as a case tells it."""
    first, second = edited(unedited(on), one), edited(unedited(on), other)
    if first is None or second is None:
        return False
    X, H0 = on.arrays["X"], on.arrays["H0"]
    H = first.states(X, H0)
    run = None if H is None else second.run(X, H0, H)
    return run is not None and second.ratio(run, _delivered("float64", None)) <= 1


def _causes(case: Case, fits: Sequence[tuple[Edit, float]]) -> tuple[Cause, ...]:
    """What fits, one cause for each function."""
    groups: list[list[tuple[Edit, float]]] = []
    telling = probe(case)
    for edit, ratio in fits:
        for group in groups:
            if same_function(group[0][0].conventions, edit.conventions, telling):
                group.append((edit, ratio))
                break
        else:
            groups.append([(edit, ratio)])
    return tuple(_cause(case, first, ratio, rest) for (first, ratio), *rest in groups)


def _cause(case: Case, first: Edit, ratio: float, rest: Sequence[tuple[Edit, float]]) -> Cause:
    told = [(each, *each.told(reverse=case.reverse)) for each in first.conventions]
    sizes = {"d": case.arrays["X"].shape[2], "h": case.arrays["H0"].shape[1]}
    sentences = [sentence for _, sentence, _ in told]
    remedies = [remedy(each, plain, case.source, sizes) for each, _, plain in told]
    alike = tuple(_names(edit) for edit, _ in rest)
    return Cause(_names(first), ", and ".join(sentences), "; ".join(remedies), ratio, alike)


def _names(edit: Edit) -> tuple[str, ...]:
    return tuple(each.name for each in edit.conventions)
