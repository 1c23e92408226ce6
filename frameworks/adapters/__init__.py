"""The Rosetta table, proven: one module for each package, which loads converted weights the way that its users do.

Each module is named as its package is imported, and offers
    LAYOUTS: dict[str, tuple[str, ...]]     the layouts of shared_spec/layouts.toml that it runs -> in which dtypes
    NOT_RUN: dict[str, str]                 where it lacks one: the dtype, and the reason
    versions() -> dict[str, str]
    run(layout, tensors, X, H0) -> H        NumPy arrays in one dtype: tensors as `convert` writes them, X (T, n, d),
                                            H0 (n, h), H (T, n, h)
and, for the third-party table, where the package has them
    gradients(layout, tensors, X, H0, dH)   those of sum(dH * H), by "X", "H0" and the name of each tensor
    WITHOUT_GRADIENTS: str                  or why there are none
    HALVES: tuple[str, ...]                 which of float16 and bfloat16 it runs in, if not both
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from shared_spec.errors import UserError

# The modules here that say which layouts they run. Read, not imported: each runs where its package is installed.
PACKAGES = tuple(
    file.stem
    for file in sorted(Path(__file__).parent.glob("*.py"))
    if re.search(r"^LAYOUTS\b", file.read_text(encoding="utf-8"), re.M)
)


def load(name: str) -> Any:
    """The module of that package. Raises UserError where it is unknown or not installed here."""
    if name not in PACKAGES:
        raise UserError(f"no package {name!r}; the packages are {', '.join(PACKAGES)}")
    if importlib.util.find_spec(name) is None:
        raise UserError(f"package {name} asked for but not importable here; run tox -e rosetta-{name}")
    return importlib.import_module(f"frameworks.adapters.{name}")
