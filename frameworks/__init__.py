"""What is under test: one folder for each framework, each importing that one alone, driven from here by its names."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from shared_spec import frameworks as known
from shared_spec.errors import UserError

NAMES = tuple(known.frameworks())


@dataclass(frozen=True)
class Framework:
    """The six files of a framework's folder; frameworks/protocol.py says what each offers."""

    name: str
    cells: Any
    layers: Any
    tuned: Any
    language_model: Any
    peak: Any
    runtime: Any


def check_name(name: str) -> str:
    """Raises UserError, with the names there are, for an unknown framework."""
    return known.framework(name).name


def check_installed(name: str) -> None:
    """Raises UserError where the framework is unknown or not installed here. Imports nothing."""
    if importlib.util.find_spec(known.framework(name).imports[0]) is None:
        raise UserError(f"framework {name} asked for but not importable here; run tox -e {name}")


def load(name: str) -> Framework:
    """Imports a framework's folder. Raises UserError where the framework is unknown or not installed here."""
    check_installed(name)
    modules: dict[str, ModuleType] = {
        part: importlib.import_module(f"frameworks.{name}.{part}")
        for part in ("runtime", "cells", "layers", "tuned", "language_model", "peak")
    }
    return Framework(name, **modules)
