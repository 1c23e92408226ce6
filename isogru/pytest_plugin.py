"""The plugin of pytest: the fixture `isogru`, which is the package, for tests of one's own GRU.

def test_my_gru(isogru):
    isogru.assert_equal(my_gru, cell="gru_reset_after")
"""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def isogru() -> ModuleType:
    """The referee: isogru.assert_equal, check, explain, same and convert. Nothing of it is loaded before it is used."""
    return importlib.import_module("isogru")
