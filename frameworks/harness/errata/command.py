"""What the commands of the errata do: a line for each, and the exit status."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from frameworks.harness.errata.hands import Hand, hand
from frameworks.harness.errata.run import names, run
from shared_spec.__main__ import CorpusPath, CorpusSha1, find_corpus
from shared_spec.command import EQUAL, NOT_EQUAL, say
from shared_spec.errata.records import NUMPY, Record
from shared_spec.language_model.corpus import Corpus

Errata = Annotated[Optional[list[str]], typer.Option("--erratum", help="Only this one; may be repeated.")]


def in_numpy(erratum: Errata = None, corpus: CorpusPath = None, corpus_sha1: CorpusSha1 = None) -> None:
    """The errata of the chapter as equations, each run wrong and right: records for python -m reports exercises."""
    chosen = names(NUMPY, erratum or ())
    raise typer.Exit(carry_out(chosen, hand(NUMPY), find_corpus(corpus, corpus_sha1)))


def in_framework(
    context: typer.Context,
    erratum: Errata = None,
    device: Annotated[str, typer.Option(help="cpu or, where there is one, cuda.")] = "cpu",
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """The errata of the chapter, each run wrong and right: records for python -m reports exercises."""
    framework: str = context.obj
    chosen, text = names(framework, erratum or ()), find_corpus(corpus, corpus_sha1)
    raise typer.Exit(carry_out(chosen, hand(framework, device), text))


def carry_out(chosen: list[str], by: Hand, text: Corpus) -> int:
    """Run the errata one after the other, a line for each. Returns the exit status: 0 where all are proven."""
    status = EQUAL
    for name in chosen:
        outcome = run(name, by, text)
        is_proven = isinstance(outcome, Record) and outcome.is_proven
        say(_line(f"{name} in {by.name}", outcome))
        status = status if is_proven else NOT_EQUAL
    return status


def _line(which: str, outcome: Record | str) -> str:
    if isinstance(outcome, str):
        return f"failed: {which}: {outcome}"
    if outcome.is_proven:
        return f"proven: {which}: {len(outcome.held)} verdicts are as claimed"
    return f"not proven: {which}: {'; '.join(outcome.shortfalls)}"
