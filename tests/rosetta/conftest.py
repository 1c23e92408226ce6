"""The package whose layouts are under test, loaded once."""

from __future__ import annotations

import pytest

from frameworks import adapters


@pytest.fixture(scope="session")
def package(request):
    name = request.config.getoption("--package")
    if name is None:
        raise pytest.UsageError("tests/rosetta needs --package; run tox -e rosetta-torch or another")
    return name


@pytest.fixture(scope="session")
def module(package):
    return adapters.load(package)


@pytest.fixture(autouse=True)
def _own_results(results):
    """References are shared, results are the test's own."""
