"""How often, and when, and where a framework is that is made of NumPy."""

from __future__ import annotations

import os
import random
import sys

import pytest

from tests import project_copy


@pytest.fixture
def kills():
    return int(os.environ.get("ISOGRU_KILLS") or 1)


@pytest.fixture
def draw():
    """The moments. The seed is printed where a test fails."""
    seed = int(os.environ.get("ISOGRU_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ISOGRU_SEED={seed}", file=sys.stderr)
    return random.Random(seed)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A copy of the project with the framework that is made of NumPy."""
    return project_copy.add_stub(project_copy.project(tmp_path_factory.mktemp("project")))
