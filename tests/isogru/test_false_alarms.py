"""Right GRUs in many forms, on problems at the ends of the precisions: nobody is accused."""

from __future__ import annotations

import pytest

from tests.false_alarms import judging
from tests.false_alarms.problems import KINDS

SEED = 3


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_who_is_right_is_accused(kind):
    for number in range(2):
        for made in judging.judged(SEED, number, kind)["results"]:
            assert made["verdict"] in ("equal", "undetermined"), (made["form"], made["sentence"])


@pytest.mark.parametrize("kind", ["ordinary", "saturated", "denormal", "exploding", "chaotic", "overflowing"])
def test_no_wrong_gradient_is_equal_without_a_word(kind):
    assert list(judging.missed(SEED, 0, kind)) == []
