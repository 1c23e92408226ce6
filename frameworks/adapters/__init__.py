"""The Rosetta table, proven: one module for each package, which loads converted weights the way that its users do.

Each module offers
    LAYOUTS: dict[str, tuple[str, ...]]     the layouts of shared_spec/layouts.toml that it runs -> in which dtypes
    NOT_RUN: dict[str, str]                 where it lacks one: the dtype, and the reason
    versions() -> dict[str, str]
    run(layout, tensors, X, H0) -> H        NumPy arrays in one dtype: tensors as `convert` writes them, X (T, n, d),
                                            H0 (n, h), H (T, n, h)
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from shared_spec.errors import UserError

# Each module with the package that it imports first.
PACKAGES = {
    "torch": "torch",
    "keras": "keras",
    "flax": "flax",
    "mxnet": "mxnet",
    "onnxruntime": "onnxruntime",
    "equinox": "equinox",
    "haiku": "haiku",
    "mlx": "mlx",
}


def load(name: str) -> Any:
    """The module of that package. Raises UserError where it is unknown or not installed here."""
    if name not in PACKAGES:
        raise UserError(f"no package {name!r}; the packages are {', '.join(PACKAGES)}")
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise UserError(f"package {name} asked for but not importable here; run tox -e rosetta-{name}")
    return importlib.import_module(f"frameworks.adapters.{name}")
