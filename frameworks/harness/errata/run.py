"""The errata by name, and the run of one: its record, or the last words of a run that broke off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from frameworks.harness.errata import cells, layers, time_axis, training
from frameworks.harness.errata.hands import Hand
from frameworks.harness.errata.notes import Notes
from shared_spec.errata import records, texts
from shared_spec.errata.records import Record
from shared_spec.errors import CorpusError, UserError
from shared_spec.files import store
from shared_spec.language_model.corpus import Corpus

ERRATA: Mapping[str, Callable[[Notes, Corpus], Record]] = {
    "reset-placement": layers.reset_placement,
    "time-axis": time_axis.time_axis,
    "reset-only": cells.reset_only,
    "update-only": cells.update_only,
    "turned-gate": cells.turned_gate,
    "clipping": training.clipping,
    "perplexity": training.perplexity,
}


def names(framework: str, asked: Sequence[str] = ()) -> list[str]:
    """The errata of a framework, or those of them that are asked for. Raises UserError for one that is not there."""
    there = [name for name, entry in texts.entries().items() if framework in entry.frameworks]
    if unknown := [name for name in asked if name not in there]:
        raise UserError(f"{framework} has no erratum {unknown[0]!r}; it has {', '.join(there)}")
    return [name for name in there if not asked or name in asked]


def run(name: str, hand: Hand, text: Corpus) -> Record | str:
    """Run one erratum and keep its record, whatever the verdicts; or, where it broke off, its last words. Returns what
    is kept. Raises UserError where nothing can be kept, and CorpusError for a text that is too short.
    """
    records.forget(name, hand.name)
    try:
        record = ERRATA[name](Notes(name, hand), text)
    except CorpusError:
        raise
    except Exception as error:  # A failure is a record, and the next erratum goes on.
        words = store.words_of(error)
        records.write_failure(name, hand.name, words)
        return words
    records.write(record)
    return record
