"""The framework under test, loaded once."""

from __future__ import annotations

import pytest

import frameworks


@pytest.fixture(scope="session")
def framework(framework_name, request):
    loaded = frameworks.load(framework_name)
    loaded.runtime.setup(device=request.config.getoption("--device"))
    return loaded


@pytest.fixture
def device(request):
    return request.config.getoption("--device")
