"""What is known of a row beside another, in words."""

from __future__ import annotations

from collections.abc import Sequence

from isogru.judge.comparison import significant
from shared_spec.race.decisions import LEAST, MARGIN, Decisions, Pair

CONTROL = "no rank: a control of the race failed"


def of(decided: Decisions, i: int, best: int, names: Sequence[str]) -> str:
    """Such as "14% to 19% slower than torch/tuned", of the row i beside the fastest."""
    if not decided.is_enough:
        return f"no rank: it takes {LEAST} starts to say anything"
    if i != best:
        pair = decided.pairs[i][best]
        return f"{in_words(pair)} {preposition(pair)} {names[best]}"
    others = [(name, of[best]) for name, of in zip(names, decided.pairs, strict=True) if name != names[best]]
    near = [name for name, pair in others if not pair.is_slower]
    if not near:
        return "faster than all others" if others else "the only one"
    return f"the shortest time; not known to be faster than {', '.join(near)}"


def in_words(pair: Pair) -> str:
    """How one stands to another, and whether that is decided."""
    unknown = "" if pair.is_slower or pair.is_faster or pair.is_equivalent else "undecided: "
    return f"{unknown}{beside(pair)}"


def beside(pair: Pair) -> str:
    """How one stands to another, whose name follows behind a preposition."""
    if pair.is_slower and pair.low >= 2:
        return f"{_times(pair.low)} to {_times(pair.high)} times as long"
    if pair.is_slower:
        return f"{_percent(pair.low)} to {_percent(pair.high)} slower"
    if pair.is_faster:
        return f"{_percent(1 / pair.high)} to {_percent(1 / pair.low)} faster"
    if pair.is_equivalent:
        return f"equivalent within {MARGIN:.0%}"
    return f"{_percent(1 / pair.low)} faster to {_percent(pair.high)} slower"


def preposition(pair: Pair) -> str:
    """What stands between the words above and the other's name."""
    if pair.is_slower and pair.low >= 2:
        return "as"
    return "to" if pair.is_equivalent and not (pair.is_slower or pair.is_faster) else "than"


def _percent(ratio: float) -> str:
    """How much more: two digits."""
    share = 100 * (ratio - 1)
    return f"{share:.1f}%" if share < 9.95 else f"{significant(share, 2):.0f}%"


def _times(ratio: float) -> str:
    return f"{significant(ratio, 2):.1f}" if ratio < 9.95 else f"{significant(ratio, 2):.0f}"
