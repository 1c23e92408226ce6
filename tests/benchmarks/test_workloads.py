"""How long the workloads take in one framework, by pytest-benchmark: tox -e bench-torch, or any of the others."""

from frameworks.harness.benchmark.clock import test_workload  # noqa: F401
