"""A plugin of pytest: what a machine can do, measured at sizes too small to be worth it, where that takes seconds."""

from __future__ import annotations

from frameworks.harness import peak

SIZES = {
    "LARGE": {"float32": 64},
    "IN_MEMORY": 2**12,
    "IN_CACHE": {"cpu": 2**10, "cuda": 2**10},
    "SECONDS": 0.001,
}


def pytest_configure() -> None:
    for name, value in SIZES.items():
        setattr(peak, name, value)
