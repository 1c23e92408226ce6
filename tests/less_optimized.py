"""JAX without most of what XLA does to a program: it compiles in a third of the time, and runs some of it slower."""

from __future__ import annotations

import os
from collections.abc import Mapping

LESS = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def environment() -> Mapping[str, str]:
    """What a process is to find that has not begun with JAX."""
    flags = [f"--{name}={str(value).lower()}" for name, value in LESS.items()]
    return {"XLA_FLAGS": " ".join([*flags, *os.environ.get("XLA_FLAGS", "").split()])}
