"""Results made by these tests stay out of the user's."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_results(results):
    pass
