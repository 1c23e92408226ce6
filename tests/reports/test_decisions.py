"""Who is faster: what is said of all pairs at once, on simulated races whose truth is known; ranks; words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.race import statements
from shared_spec.race import decisions
from shared_spec.race.decisions import Pair
from tests import made_up_races

NAMES = ("torch/tuned", "jax/tuned")


@pytest.mark.parametrize("weather", made_up_races.WEATHER)
@pytest.mark.parametrize(("starts", "blocks"), [(5, 1), (5, 8)])
def test_all_that_is_said_is_true(weather, starts, blocks):
    """In 300 races, whenever one stops; tests/simulated has more of them."""
    logs = made_up_races.races(300, weather, starts=starts, blocks=blocks)
    assert made_up_races.wrong(logs, stops=True).mean() < decisions.LEVEL


@pytest.mark.parametrize("weather", ["one restless", "unlike", "answers"])
def test_all_that_is_said_of_many_is_true(weather):
    """Few of fourteen programs make most of the variance, so that it has few degrees of freedom."""
    true = made_up_races.MANY
    logs = made_up_races.races(300, weather, starts=5, blocks=8, true=true)
    assert made_up_races.wrong(logs, true, stops=True).mean() < decisions.LEVEL


def test_all_that_is_said_is_true_where_some_leave():
    logs = made_up_races.races(40, "drift", starts=6, blocks=8)
    assert made_up_races.wrong_where_some_leave(logs).mean() < decisions.LEVEL


def test_what_differs_by_five_percent_is_decided():
    logs = made_up_races.races(100, "drift", starts=6, blocks=12)
    assert made_up_races.decided(logs).mean() > 0.95


def test_true_ties_are_equivalent_in_the_end():
    logs = made_up_races.races(1, "calm", starts=20, blocks=40, true=np.zeros(3))[0]
    decision = decisions.decide([{start: np.exp(row) for start, row in enumerate(of)} for of in logs])
    assert all(pair.is_equivalent for of in decision.pairs for pair in of)
    assert decision.ranks() == [(1, 3)] * 3


def test_the_interval_by_hand():
    """Two programs, three starts of one block: ratios of 1, 2 and 4, whose logarithms have the deviation ln 2."""
    decision = decisions.decide([{1: [1.0], 2: [2.0], 3: [4.0]}, {1: [1.0], 2: [1.0], 3: [1.0]}])
    # Half of the level is for three starts: 2.5%, of which each side has a half.
    wider = 2.2414 * 19 / 17
    half = math.log(2) / math.sqrt(3) * math.sqrt(2 * (math.exp(wider**2 / 2) - 1))
    pair = decision.pairs[0][1]
    assert (pair.value, math.log(pair.high)) == pytest.approx((2.0, math.log(2) + half), rel=1e-4)
    other = decision.pairs[1][0]
    assert (other.value, other.low * pair.high) == pytest.approx((0.5, 1.0))


def test_a_variance_by_hand():
    """Four programs, each moved by itself: a pair has the sum of the variances of two."""
    own = np.add.outer([1.0, 2.0, 3.0, 14.0], [1.0, 2.0, 3.0, 14.0]) * ~np.eye(4, dtype=bool)
    taken = decisions._from_start_to_start(own, np.zeros((4, 4)))
    # Of all six pairs it is 10 on the average, and what is less goes half of the way there.
    assert taken[0, 1:] == pytest.approx([6.5, 7, 15])
    assert taken[1, 2:] == pytest.approx([7.5, 16])
    # A pair that has by chance shown little is taken for what its programs have shown in all their pairs.
    lucky = own.copy()
    lucky[0, 3] = lucky[3, 0] = 1.0
    assert decisions._from_start_to_start(lucky, np.zeros((4, 4)))[0, 3] == pytest.approx((17 / 3 + 23 / 3) / 2)


def test_the_level_is_shared_out_over_starts_and_over_pairs():
    """All starts together have the whole. Of 14 programs the pairs make the interval wider, but not at first."""
    spent = sum(1 / ((starts - 2) * (starts - 1)) for starts in range(3, 100_000))
    assert spent == pytest.approx(1, abs=1e-4)
    assert [round(decisions._reach(starts, 14, 91), 1) for starts in (3, 4, 5, 8)] == [6.6, 6.5, 6.0, 5.3]
    assert decisions._reach(5, 14, 91) == decisions._reach(5, 2, 1)
    assert decisions._reach(20, 14, 91) > decisions._reach(20, 2, 1)


@pytest.mark.parametrize("freedom", [2, 4, 12, 65])
def test_students_t_is_never_too_narrow(freedom):
    """Against its distribution, integrated: the point that is as improbable as 4.3 deviations."""
    point = decisions._student(4.3, freedom)
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    # Beyond the point, by t = point / u.
    u = (np.arange(200_000) + 0.5) / 200_000
    t = point / u
    beyond = float(np.mean(scale * (1 + t**2 / freedom) ** (-(freedom + 1) / 2) * point / u**2))
    wanted = math.erfc(4.3 / math.sqrt(2)) / 2
    assert 0.2 * wanted < beyond < wanted


def test_the_ends_of_a_start_do_not_count():
    """Twelve blocks, of which the machine held up three of one program by ten times, and three of the other."""
    calm = {start: [1.0, 1.01, 0.99] * 4 for start in (1, 2, 3)}
    held_up = {start: [10.0] * 3 + times[3:] for start, times in calm.items()}
    decision = decisions.decide([held_up, {start: [1.02 * t for t in times] for start, times in calm.items()}])
    assert decision.pairs[1][0].value == pytest.approx(1.02, rel=0.01)


def test_too_few_starts_say_nothing():
    for starts in (1, 2):
        times = [{start: [1.0 + start / 100] for start in range(starts)}, {start: [9.0] for start in range(starts)}]
        decision = decisions.decide(times)
        assert not decision.is_enough
        assert decision.pairs[0][1].high == math.inf
        assert decision.ranks() == [(1, 2), (1, 2)]
        assert statements.of(decision, 1, 0, NAMES) == "no rank: it takes 3 starts to say anything"
    assert decisions.decide([]).ranks() == []


def test_only_starts_that_all_have_count():
    """The machine was slower in those that only one of two has: that is not its fault."""
    decision = decisions.decide([{1: [1.0], 2: [1.0], 3: [1.0]}, {1: [0.9], 2: [0.9], 3: [0.91], 4: [9.0]}])
    assert decision.starts == 3
    assert decision.pairs[1][0].is_faster


def test_who_has_left_keeps_what_is_known():
    """After three starts one is surely far behind. The two others go on, and what comes of it is said of them alone."""
    random = np.random.default_rng(3)
    near = [{start: np.exp(random.normal(0, 0.01, 4)) for start in range(12)} for _ in range(2)]
    first = [{start: of[start] for start in range(3)} for of in near]
    far = {start: 9 * np.exp(random.normal(0, 0.01, 4)) for start in range(3)}
    early, late = decisions.decide([*first, far]), decisions.decide([*near, far])
    assert decisions.undecided(early) == [0, 1]
    assert late.pairs[2] == early.pairs[2]
    assert late.pairs[0][2] == early.pairs[0][2]
    assert late.pairs[0][1].high - late.pairs[0][1].low < early.pairs[0][1].high - early.pairs[0][1].low
    # The level is shared out over the three pairs that there are, and not over the one that is left.
    alone = decisions.decide(near)
    assert late.pairs[0][1].high > alone.pairs[0][1].high
    # Once that pair is decided too nobody is left.
    assert decisions.undecided(decisions.decide([{s: [1.0] for s in range(3)}, {s: [1.01] for s in range(3)}])) == []


def test_ranks_are_the_places_that_are_possible():
    """The second and third are not told apart; the fourth is behind both."""
    random = np.random.default_rng(0)
    times = [{start: base * np.exp(random.normal(0, 0.01, 6)) for start in range(5)} for base in (1.0, 2.0, 2.001, 4.0)]
    assert decisions.decide(times).ranks() == [(1, 1), (2, 3), (2, 3), (4, 4)]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1.14, 1.19, "14% to 19% slower than"),
        (1.012, 1.098, "1.2% to 9.8% slower than"),
        (2.13, 2.44, "2.1 to 2.4 times as long as"),
        (96.0, 143.0, "96 to 140 times as long as"),
        (0.8, 0.9, "11% to 25% faster than"),
        (0.985, 1.015, "equivalent within 2% to"),
        (1.001, 1.015, "0.1% to 1.5% slower than"),
        (0.95, 1.12, "undecided: 5.3% faster to 12% slower than"),
    ],
)
def test_words(low, high, words):
    itself = Pair(1.0, 1.0, 1.0)
    one, other = Pair(math.sqrt(low * high), low, high), Pair(1 / math.sqrt(low * high), 1 / high, 1 / low)
    decided = decisions.Decisions(5, [[itself, other], [one, itself]])
    assert statements.of(decided, 1, 0, NAMES) == f"{words} torch/tuned"
    leader = statements.of(decided, 0, 0, NAMES)
    if low > 1:
        assert leader == "faster than all others"
    else:
        assert leader == "the shortest time; not known to be faster than jax/tuned"
