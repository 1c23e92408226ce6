"""Two thousand simulated races in each kind of weather: how often anything that is said is wrong, and how soon
what differs by 5% is known. tox -e simulated; a short form is among the tests of reports.
"""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec.race import decisions
from tests import made_up_races

COUNT, PIECE = 2000, 250


def in_pieces(function, weather, **how):
    """So many at a time as fit in memory."""
    pieces = []
    for seed in range(COUNT // PIECE):
        logs = made_up_races.races(PIECE, weather, seed=seed, **how)
        pieces.append(function(logs))
    return np.concatenate(pieces).mean()


@pytest.mark.parametrize("weather", made_up_races.WEATHER)
@pytest.mark.parametrize(("starts", "blocks"), [(3, 1), (5, 1), (8, 1), (3, 12), (8, 12)])
def test_all_that_is_said_is_true(weather, starts, blocks):
    """Whenever one stops: after the third start, the fourth, or any later one."""
    share = in_pieces(lambda logs: made_up_races.wrong(logs, stops=True), weather, starts=starts, blocks=blocks)
    assert share < decisions.LEVEL


@pytest.mark.parametrize("weather", made_up_races.WEATHER)
def test_all_that_is_said_of_many_is_true(weather):
    """Of fourteen programs, which are 91 pairs."""
    true = made_up_races.MANY
    share = in_pieces(lambda logs: made_up_races.wrong(logs, true, stops=True), weather, starts=8, blocks=12, true=true)
    assert share < decisions.LEVEL


@pytest.mark.parametrize("weather", made_up_races.WEATHER)
def test_all_that_is_said_is_true_where_some_leave(weather):
    """The time of who is surely far behind goes to near ties, as in a race."""
    share = in_pieces(made_up_races.wrong_where_some_leave, weather, starts=8, blocks=12)
    assert share < decisions.LEVEL


@pytest.mark.parametrize("weather", made_up_races.WEATHER)
def test_ties_of_two(weather):
    """The fewest degrees of freedom."""
    true = np.zeros(2)
    share = in_pieces(lambda logs: made_up_races.wrong(logs, true, stops=True), weather, starts=8, blocks=12, true=true)
    assert share < decisions.LEVEL


@pytest.mark.parametrize("weather", ["calm", "drift", "bursts"])
def test_short_turns_decide_sooner_than_long_passes(weather):
    """What differs by 5% is known after six starts of twelve blocks, nearly always; after six of one, hardly ever."""
    short = in_pieces(made_up_races.decided, weather, starts=6, blocks=12)
    long = in_pieces(made_up_races.decided, weather, starts=6, blocks=1)
    assert short > 0.95
    assert long < 0.05
