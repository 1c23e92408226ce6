"""What rows of a store of trials hold, checked at the door: SQLite keeps anything in any column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec
import safetensors
import safetensors.numpy

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files import door, store
from shared_spec.language_model import Recipe, shapes
from shared_spec.readings.arithmetic import Array
from shared_spec.sweeps import trials
from shared_spec.sweeps.trials import Trial, Value

PLAIN = ("corpus", "status", "why", "seconds", "cpu_seconds", "together", "attempts", "node", "text")
CURVES = ("perplexity.train", "perplexity.val")


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    corpus: str
    status: str
    """"finished", "diverged" or "failed"."""
    why: str = ""
    seconds: float = 0.0
    """Wall-clock time of its trainings, shared out evenly among those of one program."""
    cpu_seconds: float = 0.0
    together: int = 1
    """How many trials its program ran at once."""
    attempts: int = 1
    node: str = ""
    made_with: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Versions and switches."""
    text: str = ""
    """What it predicts after its prefix."""
    arrays: Mapping[str, Array] = field(default_factory=dict)
    """As in the result of a training: "loss", "norm", "perplexity.train", "perplexity.val", "end.…"."""

    @property
    def val(self) -> float:
        """The validation perplexity that a finished trial ends with."""
        return float(self.arrays["perplexity.val"][-1])


class Asked(TypedDict, total=False):
    """What a sweep was asked for by."""

    framework: str
    implementations: dict[str, str]
    grid: dict[str, list[Value]]
    cells: list[str]
    task: str
    epochs: int
    seeds: int | list[int]
    random: int | None
    dtype: str
    device: str
    lane: str
    threads: int
    corpus: str
    study: str
    stage: str
    rates: list[Value]
    best: dict[str, float]
    searched: str
    options: dict[str, Value | str | None]


SWEEP = ("framework", "grid", "cells")
STUDY = ("framework", "task", "stage", "epochs")
TRAININGS = (*STUDY, "best", "searched", "options")
"""What each kind of sweep says at the least."""


class _Plain(msgspec.Struct):
    corpus: str
    status: str
    why: str
    seconds: float
    cpu_seconds: float
    together: int
    attempts: int
    node: str
    text: str
    made_with: str
    arrays: bytes
    trial: str


def asked(text: object) -> dict[str, Any]:
    """The definition of a sweep. Raises UserError for what is none."""
    try:
        told = msgspec.json.decode(msgspec.convert(text, str), type=Asked)
    except door.UNDECODABLE as error:
        raise UserError(door.words(error)) from None
    needed = (TRAININGS if told.get("stage") == "trainings" else STUDY) if "study" in told else SWEEP
    if absent := [name for name in needed if name not in told]:
        raise UserError(f"it does not say its {absent[0]}")
    return dict(told)


def outcome(row: Mapping[Any, Any]) -> Outcome:
    """A row. Raises UserError for one that holds what it must not."""
    try:
        plain = msgspec.convert({name: row[name] for name in _Plain.__struct_fields__}, _Plain)
        made_with = msgspec.json.decode(plain.made_with, type=dict[str, dict[str, str]])
        arrays: dict[str, Array] = safetensors.numpy.load(plain.arrays)
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError, *door.UNDECODABLE) as error:
        raise UserError(door.words(error)) from None
    trial = trials.from_json(plain.trial)
    if not store.PLAIN.fullmatch(plain.corpus):
        raise UserError(f"corpus is {plain.corpus[:60]!r}, should be a digest")
    if plain.status not in (trials.FINISHED, trials.DIVERGED, trials.FAILED):
        raise UserError(f"status is {plain.status!r}")
    _check(arrays, trial.recipe, plain.status)
    return Outcome(trial, made_with=made_with, arrays=arrays, **{name: getattr(plain, name) for name in PLAIN})


def _check(arrays: Mapping[str, Array], recipe: Recipe, status: str) -> None:
    """Raises UserError for arrays that are none of such a trial."""
    train, val = (arrays.get(name) for name in CURVES)
    if any(curve is not None and curve.ndim != 1 for curve in (train, val)) or _length(train) != _length(val):
        raise UserError("its curves are not of one length")
    if status == trials.FINISHED and (val is None or not val.size):
        raise UserError("it has finished, and has no curve")
    ends = {name.removeprefix("end."): array for name, array in arrays.items() if name.startswith("end.")}
    if foreign := [name for name, array in arrays.items() if array.dtype.kind not in "fi"]:
        raise UserError(f"{foreign[0]} holds no numbers")
    symbols = shapes(cell(recipe.cell))
    if ends and ends.keys() != symbols.keys():
        raise UserError(f"the weights at its end are not those of {recipe.cell}")
    sizes = {"h": recipe.num_hiddens}
    for name, array in ends.items():
        for symbol, size in zip(symbols[name], array.shape, strict=False):
            sizes.setdefault(symbol, size)
        if array.shape != tuple(sizes.get(symbol) for symbol in symbols[name]):
            raise UserError(f"end.{name} has shape {array.shape}")


def _length(curve: Array | None) -> int:
    return 0 if curve is None else len(curve)
