"""Gates forced to their ends in a cell as it is: which ends let X_t', and nothing else, reach every later state.

Inputs carry three flags (before t', at t', after it), and the flags' weights saturate the gates, so that in float64 a
sigmoid is 0 or 1 to the last bit, and its derivative 0; all other weights, inputs and the start are random.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from shared_spec.cells import Cell
from shared_spec.influence import influence
from shared_spec.readings.arithmetic import Array

STEPS, AT = 12, 4
"""How many time steps there are, and t', counted from 0."""
SHUT = 800.0
"""A preactivation at which sigmoid is exactly 1, and at -SHUT exactly 0: exp(-800) is below the least float64."""
FLAGS = 3
_ROWS, _CONTENT, _UNITS, _SIGMA = 8, 4, 5, 0.5

IGNORED, FORGOTTEN, EARLIER, LATER = "ignored", "forgotten", "earlier", "later"


class Gates(NamedTuple):
    """What update and reset gate are forced to: 0, 1, or None for whatever the random weights make of them."""

    Z: int | None = None
    R: int | None = None


class Answer(NamedTuple):
    """An answer to the exercise: gates before t', at t' and after it."""

    before: Gates = Gates()
    at: Gates = Gates()
    after: Gates = Gates()

    def covers(self, corner: Answer) -> bool:
        """Whether a corner is a case of this answer."""
        pairs = zip(itertools.chain(*self), itertools.chain(*corner), strict=True)
        return all(end in (None, there) for end, there in pairs)


ENDS = tuple(Gates(Z, R) for Z in (0, 1) for R in (0, 1))


class Problem(NamedTuple):
    """A cell's inputs X (T, n, d), start H0 (n, h) and parameters by name."""

    X: Array
    H0: Array
    parameters: dict[str, Array]


class Seen(NamedTuple):
    """What the states after t' owe to the input at t', to those before it, and to those after it."""

    own: float
    """The least influence of X_t' on a later state, over all of these and all rows."""
    earlier: float
    later: float
    """The largest of any other input."""
    wrong: tuple[str, ...]
    """Which of IGNORED, FORGOTTEN, EARLIER and LATER apply; empty where the answer works."""


def problem(cell: Cell, answer: Answer, *, size: float = SHUT, seed: int = 1) -> Problem:
    """A problem in which the gates are as the answer says, by preactivations of about `size`."""
    random = np.random.RandomState(seed)
    sizes = {"d": FLAGS + _CONTENT, "h": _UNITS}
    parameters = {
        name: _SIGMA * random.standard_normal([sizes[symbol] for symbol in shape])
        for name, shape in cell.parameters.items()
    }
    X = random.standard_normal((STEPS, _ROWS, sizes["d"]))
    X[:, :, :FLAGS] = 0
    for flag, steps in enumerate((slice(AT), slice(AT, AT + 1), slice(AT + 1, None))):
        X[steps, :, flag] = 1
        for gate in Gates._fields:
            end = getattr(answer[flag], gate)
            parameters[f"W_x{gate.lower()}"][flag] = 0 if end is None else size * (2 * end - 1)
    return Problem(X, np.tanh(random.standard_normal((_ROWS, sizes["h"]))), parameters)


def influence_of(cell: Cell, answer: Answer, *, size: float = SHUT, flags: bool = True) -> Array:
    """The influence (T, T, n) of each input on each state with the gates so; without the flags that of the content
    alone: while a gate is not forced, flags of such weight would outshine everything.
    """
    given = problem(cell, answer, size=size)
    return influence(cell, *given, columns=slice(None) if flags else slice(FLAGS, None))


def seen(influences: Array) -> Seen:
    """What an influence (T, T, n) says about an answer."""
    after = influences[AT + 1 :]
    own, earlier, later = after[:, AT].min(), after[:, :AT].max(), after[:, AT + 1 :].max()
    wrong = []
    if own == 0:
        wrong.append(FORGOTTEN if influences[AT, AT].any() else IGNORED)
    wrong += [word for word, leak in ((EARLIER, earlier), (LATER, later)) if leak > 0]
    return Seen(float(own), float(earlier), float(later), tuple(wrong))


def every_corner(cell: Cell) -> dict[Answer, Seen]:
    """Each gate at either end before t', at it and after it: 64 answers."""
    answers = (Answer(*gates) for gates in itertools.product(ENDS, repeat=len(Answer._fields)))
    return {answer: seen(influence_of(cell, answer)) for answer in answers}


def shortest(corners: Collection[Answer]) -> list[Answer]:
    """Corners written as few as they can be: all prime implicants, None where either end will do (Quine 1952, The
    problem of simplifying truth functions), the ones that ask for the least before t' first.
    """
    implicants = {tuple(itertools.chain(*corner)) for corner in corners}
    prime: list[tuple[int | None, ...]] = []
    while implicants:
        merged, used = set(), set()
        for one, other in itertools.combinations(implicants, 2):
            apart = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
            if len(apart) == 1 and None not in (one[apart[0]], other[apart[0]]):
                merged.add((*one[: apart[0]], None, *one[apart[0] + 1 :]))
                used |= {one, other}
        prime += implicants - used
        implicants = merged
    prime.sort(key=lambda ends: [-1 if end is None else end for end in ends])
    return [Answer(*map(Gates._make, zip(ends[::2], ends[1::2], strict=True))) for ends in prime]


def another_past_and_future(cell: Cell, answer: Answer, *, seed: int) -> Problem:
    """The problem with everything drawn anew that an answer says does not matter: the inputs before and after t', the
    start, and the weights of the gates, flags' apart. What makes C of X_t' stays: that is what is to be predicted from.
    """
    given, other = problem(cell, answer), problem(cell, answer, seed=seed)
    other.X[AT] = given.X[AT]
    kept = {name: array for name, array in given.parameters.items() if name in ("W_xh", "W_hh", "b_h")}
    return Problem(other.X, other.H0, other.parameters | kept)
