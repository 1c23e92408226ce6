"""Is this program the GRU that it claims to be? A command on the catalogue's cases of a cell, judged case by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isogru import formats
from isogru.explain import Explanation
from isogru.judge import precision
from isogru.runners import exchange, verdict
from isogru.runners.program import RESULT, Ended, Program, folder_of_its_own
from isogru.runners.verdict import CaseVerdict, Verdict
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array


@dataclass(frozen=True)
class Call:
    """What came of one call of a program."""

    ended: Ended
    arrays: Mapping[str, Array]
    failure: str
    """Why there is no result; empty where there is one."""


@dataclass(frozen=True)
class Judged:
    """The verdict on a program, and how it was run."""

    verdict: Verdict
    calls: Mapping[str, Ended]
    """By case."""

    @property
    def isolated(self) -> bool:
        """Whether every call had namespaces of its own."""
        return all(ended.isolated for ended in self.calls.values())

    def explain(self) -> Explanation | None:
        """Why it is not equal, from the cases that have a result; None where none of those is off."""
        answered = tuple(case for case in self.verdict.cases if case.verdict != verdict.FAILED)
        return replace(self.verdict, cases=answered).explain() if answered else None


@dataclass(frozen=True)
class ProgramCheck:
    """A program, and as what it is judged."""

    program: Program
    cell: Cell
    dtype: str
    format: str
    gradients: bool
    products: str = ""
    """What its products are computed in, where that is said to be coarser than its dtype."""

    def judged(self, cases: Sequence[Case], *, jobs: int, tell: Callable[[CaseVerdict], None]) -> Judged:
        """The verdict, from as many calls beside each other as there are jobs; each case is told in order. Raises
        UnjudgedError where the judging itself could not be done.
        """
        pool = ThreadPoolExecutor(jobs)
        try:
            probe = pool.submit(self._measured)
            given = [case if self.gradients else exchange.without_cotangent(case) for case in cases]
            calls = [pool.submit(self._called, case) for case in given]
            return self._judged(given, probe, calls, tell)
        finally:
            # After a fault, or Ctrl-C: nothing is left running.
            self.program.stop()
            pool.shutdown(cancel_futures=True)

    def _judged(
        self,
        cases: Sequence[Case],
        probe: Future[Any],
        calls: Sequence[Future[Call]],
        tell: Callable[[CaseVerdict], None],
    ) -> Judged:
        roundoff, unmeasured = probe.result()
        verdicts: list[CaseVerdict] = []
        ended: dict[str, Ended] = {}
        for case, future in zip(cases, calls, strict=True):
            call = future.result()
            case_verdict = self._held(case, call, roundoff)
            ended[case.name] = call.ended
            verdicts.append(case_verdict)
            tell(case_verdict)
        covers = "states and gradients" if self.gradients else "states"
        whole = Verdict(
            self.cell.name, self.dtype, covers, roundoff, tuple(verdicts), unmeasured, products=self.products
        )
        return Judged(self._hinted(whole), ended)

    def _hinted(self, whole: Verdict) -> Verdict:
        """A verdict, and with products in which format it would be equal, if it is not and nothing of that was said."""
        there = [each.evidence for each in whole.cases if each.evidence is not None]
        if self.products or len(there) < len(whole.cases):
            return whole
        hint, cause = formats.narrower(there)
        return replace(whole, hint=hint, cause=cause)

    def _called(self, case: Case) -> Call:
        """The program on a case. Whatever it leaves is gone with its folder."""
        with folder_of_its_own() as folder:
            given, result = (folder / f"{name}.{self.format}" for name in ("case", "result"))
            exchange.give(given, case, format=self.format, dtype=self.dtype)
            ended = self.program.call(folder, given, result, largest=exchange.largest(case, self.dtype))
            if failure := ended.failure(self.program.limits):
                return Call(ended, {}, failure)
            try:
                return Call(ended, exchange.take(result, case, format=self.format, dtype=self.dtype), "")
            except InterchangeError as error:
                told = str(error).replace(f"{folder}/", "")  # Which is gone soon.
            except Exception as error:  # What somebody else's file makes of a reader is a finding.
                told = f"its result cannot be read ({type(error).__name__}: {error})"
            if not result.exists() and self.program.lacks(RESULT):
                told += f"; the command has no {RESULT}, so that the program has to take the name from ISOGRU_RESULT"
            return Call(ended, {}, f"{told}: {ended.said}")

    def _measured(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """The unit roundoff that it delivers, by operation, and what of that cannot be measured."""
        try:
            with np.errstate(all="ignore"):  # What it gives may be anything.
                roundoff = precision.measure(self._states, self.cell, dtype=self.dtype)
            return roundoff, precision.unmeasured(self.cell)
        except InterchangeError as error:  # It may be right on the cases all the same.
            return {}, (f"{error}",)

    def _states(self, X: Array, H0: Array, parameters: Mapping[str, Array]) -> Array:
        arrays = {"X": X, "H0": H0, **parameters}
        call = self._called(Case("precision", self.cell, {name: a.astype(np.float64) for name, a in arrays.items()}))
        if call.failure:
            raise InterchangeError(call.failure)
        return call.arrays["H"]

    def _held(self, case: Case, call: Call, roundoff: Mapping[str, float]) -> CaseVerdict:
        if call.failure:
            return verdict.failed(case.name, call.failure)
        return verdict.judged(case, Result(self._origin(case, roundoff), call.arrays), label="its result")

    def _origin(self, case: Case, roundoff: Mapping[str, float]) -> Origin:
        """What is known of a result: nothing of it is what the result says of itself."""
        return Origin(
            case=case.name,
            case_digest=case.digest,
            cell=case.cell.name,
            spec_digest=case.cell.digest,
            framework="program",
            implementation=self.program.name,
            lane="program",
            dtype=self.dtype,
            device="not said",
            unit_roundoff=UNIT_ROUNDOFF[self.dtype] if self.products else precision.unit_roundoff(roundoff, self.dtype),
            roundoff=roundoff,
            products=self.products,
        )
