"""The verdict on a GRU that was run here, case by case, and why it is what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import msgspec

from isogru import judge, reason
from isogru.explain import EXPLAINED, Explanation
from isogru.judge.comparison import EQUAL, ORDER, Finding
from isogru.judge.verdict import ResultVerdict
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case, Result

FAILED = "failed"
"""Of a case on which a GRU raised, or gave what is no result at all."""
WORSE = (*ORDER, FAILED)


@dataclass(frozen=True)
class Evidence:
    """What a verdict on a case rests on."""

    case: Case
    result: Result
    verdict: ResultVerdict


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
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    """None where it failed."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a function or a module: the worst of its cases."""

    cell: str
    dtype: str
    covers: str
    """What was judged: "states", or "states and gradients"."""
    roundoff: Mapping[str, float]
    """The unit roundoff that it delivers, by operation, as far as it could be measured."""
    cases: tuple[CaseVerdict, ...]
    unmeasured: tuple[str, ...] = ()
    """Operations of the cell whose precision cannot be measured through any function, such as "sigmoid of Z"."""
    notes: tuple[str, ...] = ()
    """What else is to be said, such as as which layer a module was read."""
    products: str = ""
    """What its products are computed in, where that is said or known to be coarser than the dtype of its states."""
    around: str = ""
    """What is known to have them so, where that is neither the module nor the request: "the autocast around it"."""
    hint: str = ""
    """Of what is not equal: what it is equal with, and how to say that; it was tried."""
    cause: Explanation | None = field(default=None, repr=False)
    """The same of products, as the cause."""

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
            several = f"{len(self.cases)} cases" if len(self.cases) > 1 else "1 case"
            products = f" {self._by_products}" if self.products else ""
            return f"equal to {self.cell} in {self.dtype}{products}: {self.covers} of {several}, {largest}{told}"
        around = f"judged {self._by_products}" if self.around else ""
        return "; ".join(filter(None, (f"{of.verdict}: {of.case}: {of.sentence}", around, self.hint)))

    @property
    def _by_products(self) -> str:
        return f"with products in {self.products}" + (f", as {self.around} has" if self.around else "")

    def explain(self, *, pairs: bool = True) -> Explanation | None:
        """Why it is not equal: the convention, or unless `pairs` is false the two, under which the smallest case that
        is not equal would be; or products in a coarser format. None where it is equal, or failed.
        """
        if self.verdict == FAILED or self.cause is not None:
            return self.cause
        off = [each.evidence for each in self.cases if each.verdict != EQUAL and each.evidence is not None]
        if not off:
            return None
        # What states tell is more than what gradients do.
        smallest = min(off, key=lambda each: (not _states_are_off(each), each.case.arrays["X"].size))
        made = reason.why(smallest.case, smallest.result, smallest.verdict, pairs=pairs)
        others = [each for each in off if each is not smallest and _states_are_off(each)]
        names = made.causes[0].names if made.verdict == EXPLAINED else ()
        if not names or not others or not _states_are_off(smallest):
            return made
        # What was found on one case is proven on those that it was not searched on.
        held = sum(reason.holds(each.case, each.result, names) for each in others)
        return replace(made, note="; ".join(filter(None, [made.note, f"so in {held} of {len(others)} other cases"])))

    @property
    def report(self) -> str:
        """What a failed test shows: the sentence, how many cases are not equal, why, and what to do about it."""
        off = [each.case for each in self.cases if each.verdict != EQUAL]
        lines = [self.sentence]
        if len(self.cases) > 1 and off:
            lines.append(f"not equal: {len(off)} of {len(self.cases)} cases ({', '.join(off)})")
        if made := self.explain():
            lines += reason.lines(made)
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def json(self) -> str:
        """Everything, as JSON; what is infinite is null there."""
        cases = tuple(replace(each, evidence=None) for each in self.cases)
        record = asdict(replace(self, cases=cases, cause=None))
        del record["cause"]
        for each in record["cases"]:
            del each["evidence"]
        return msgspec.json.encode({"verdict": self.verdict, "sentence": self.sentence, **record}).decode()


def _states_are_off(evidence: Evidence) -> bool:
    return any(each.verdict != EQUAL for each in evidence.verdict.all_findings if each.quantity in ("H", "final"))


def judged(case: Case, result: Result, *, label: str, partial: bool = False, kept: bool = True) -> CaseVerdict:
    """The verdict on a result of a case, `kept` as judge.on has it. What is no result of it is one that failed."""
    try:
        verdict = judge.on(case, result, name=label, partial=partial, kept=kept)
    except InterchangeError as error:
        return failed(case.name, str(error))
    return _case_verdict(Evidence(case, result, verdict))


def of_evidence(judged: Sequence[Evidence]) -> Verdict:
    """The verdict on results, one or more, that were judged already: that of the worst."""
    origin = judged[0].result.origin
    covers = "states and gradients" if any(name.startswith("grad.") for name in judged[0].result.arrays) else "states"
    cases = tuple(map(_case_verdict, judged))
    return Verdict(origin.cell, origin.dtype, covers, {}, cases, products=origin.products)


def _case_verdict(evidence: Evidence) -> CaseVerdict:
    of, top = evidence.verdict, evidence.verdict.worst_finding
    sentence = top.sentence(of.origin)
    return CaseVerdict(evidence.case.name, of.verdict, sentence, top, of.all_findings, evidence)


def failed(case: str, why: str) -> CaseVerdict:
    """Of a case that gave no result, and why."""
    return CaseVerdict(case, FAILED, why, None)


def worse(one: CaseVerdict, other: CaseVerdict) -> CaseVerdict:
    """The worse of two."""
    return max(one, other, key=lambda each: (WORSE.index(each.verdict), each.worst.ratio if each.worst else 0.0))
