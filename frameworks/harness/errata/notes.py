"""What is found of one erratum while it is run: verdicts, and what else it claims; in the end a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from frameworks.harness.errata.hands import DTYPE, Hand
from isogru import judge
from isogru.judge.comparison import EQUAL, WORST_CASE
from isogru.judge.verdict import ResultVerdict
from shared_spec import cases, language_model, machine
from shared_spec.errata.records import MEASURED, Held, Record, Wirings
from shared_spec.files.interchange import AnyCase, Result
from shared_spec.language_model.corpus import Corpus


class Notes:
    """Those of one erratum, run by one hand."""

    def __init__(self, name: str, hand: Hand) -> None:
        self.name, self.hand = name, hand
        self._held: list[Held] = []
        self._cases: dict[str, str] = {}
        self._unmet: list[str] = []

    def hold(
        self, what: str, case: AnyCase, result: Result, expected: str = EQUAL, *, shown: str | None = None
    ) -> ResultVerdict:
        """Hold a result against a case, whatever it was made as; the page shows the worst element, or that of one
        quantity.
        """
        origin = replace(result.origin, cell=case.cell.name, spec_digest=case.cell.digest, case_digest=case.digest)
        claimed = Result(origin, result.arrays)
        verdict = judge.on(case, claimed)
        self._held.append(_held(what, expected, verdict, shown))
        if cases.entry_of(case.name):
            self._cases[case.name] = cases.build(case.name).digest
        return verdict

    def claim(self, is_so: bool, otherwise: str) -> None:
        """What has to be so beside the verdicts; `otherwise` is what the record says where it is not, in a sentence."""
        if not is_so:
            self._unmet.append(otherwise)

    def claim_far(self, verdict: ResultVerdict, quantity: str) -> None:
        """A quantity has to be so far off that rounding explains nothing."""
        ratio = next(each.ratio for each in verdict.findings if each.quantity == quantity)
        self.claim(
            ratio > WORST_CASE,
            f"{quantity} of the wrong one is {ratio:.3g} times what is allowed, should be over {WORST_CASE:g} times",
        )

    def record(self, *, right: Sequence[str], wrong: Sequence[str], **measured: object) -> Record:
        """All of it, with the wirings line by line and what was measured; of the type that MEASURED has."""
        return Record(
            name=self.name,
            framework=self.hand.name,
            dtype=DTYPE,
            versions=dict(self.hand.versions()),
            machine=machine.describe(),
            cases=self._cases,
            wirings=Wirings(wrong=list(wrong), right=list(right)),
            held=self._held,
            measured=MEASURED[self.name](**measured),
            unmet=self._unmet,
        )


def title_of(text: Corpus) -> str:
    """Which text it is, as the page says it."""
    known = language_model.specification().corpus
    return {known["sha1"]: str(known["title"])}.get(text.sha1, f"{text.source}, sha1 {text.sha1}")


def _held(what: str, expected: str, verdict: ResultVerdict, shown: str | None) -> Held:
    """A verdict as it is kept, with the worst element of all, or of the quantity that is to be shown."""
    worst = next((each for each in verdict.findings if each.quantity == shown), verdict.worst_finding)
    return Held(
        what=what,
        expected=expected,
        verdict=verdict.verdict,
        cell=verdict.origin.cell,
        spec_digest=verdict.origin.spec_digest,
        quantity=worst.quantity,
        ratio=worst.ratio if math.isfinite(worst.ratio) else None,
        sentence=worst.sentence(verdict.origin),
    )
