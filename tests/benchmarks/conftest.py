"""The plugin of the benchmarks, for whoever runs this folder by pytest; `--framework` and `--device` are all tests'."""

from __future__ import annotations

from frameworks.harness.benchmark.plugin import (  # noqa: F401
    pytest_benchmark_generate_machine_info,
    pytest_generate_tests,
    pytest_sessionfinish,
    pytest_sessionstart,
    session,
    with_a_clock,
)
from frameworks.harness.benchmark.session import add_options as pytest_addoption  # noqa: F401
