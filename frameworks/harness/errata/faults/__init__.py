"""Wrong wirings, each by a name of its own beside the right one: as equations in cells.toml, by hand in each
framework's idiom, and of the training in training.py.

Each framework's module offers CONCISE, the layer as section 10.2 of the book makes it; concise(), that layer as a
forward; and FAULTS, by the name that the wrong cell has in cells.toml the right step and the wrong one.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from shared_spec.cells import Cell, cells

HERE = Path(__file__).parent
UNDEFINED = HERE / "undefined.toml"


def cell(name: str) -> Cell:
    """A wrong cell, as equations."""
    return cells(HERE / "cells.toml")[name]


def of(framework: str) -> ModuleType:
    """The wrong wirings of a framework, by hand."""
    return importlib.import_module(f"frameworks.harness.errata.faults.{framework}")
