"""Who made a result, of what, and how: the metadata of a result file, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from shared_spec.errors import InterchangeError
from shared_spec.files import door
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF
from shared_spec.readings.floats import HALVES

DTYPES = ("float32", "float64")
"""What implementations run in, and cases and trainings are judged in. Results of a cell may be in float16 and bfloat16
too (floats.HALVES); the arrays of those may be float32.
"""

LIE = "the label lies"
"""How it is said that a float64 is none."""


@dataclass(frozen=True)
class Origin:
    """Who made a result, of what, and how: the metadata of a result file."""

    case: str
    case_digest: str
    cell: str
    spec_digest: str
    framework: str
    implementation: str
    lane: str
    dtype: str
    device: str
    unit_roundoff: float
    """Measured, not taken from the label: see isogru/judge/precision.py."""
    roundoff: Mapping[str, float] = field(default_factory=dict)
    """The same by operation: "product", "sum", "tanh", "sigmoid" and a whole "cell", as far as measured."""
    versions: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock times worth keeping, such as one for each epoch; not a benchmark."""
    corpus: str = ""
    note: str = ""
    """How it came by its states, where the implementation says so."""
    products: str = ""
    """What its products and functions are computed in, where that is said to be coarser than the dtype of its states:
    "float32", "float16" or "bfloat16".
    """

    @property
    def lie(self) -> str:
        """Why its dtype is wrong; empty where it is right. A coarser "float32", such as TF32, has a wider bound; of a
        "float64" that is none no reference can be made.
        """
        if self.dtype != "float64" or self.unit_roundoff <= UNIT_ROUNDOFF["float64"]:
            return ""
        return f"asked for float64, computed with unit roundoff {self.unit_roundoff:.1e}: {LIE}"

    @property
    def label(self) -> str:
        """Such as ``gru · jax/scratch · float32 · cpu``."""
        told = f" with products in {self.products}" if self.products else ""
        return f"{self.cell} · {self.framework}/{self.implementation} · {self.dtype}{told} · {self.device}"


def coarser(dtype: str) -> tuple[str, ...]:
    """The formats in which the products of what is kept in a dtype may be computed, the finest first."""
    return tuple(name for name in ("float32", *HALVES) if UNIT_ROUNDOFF[name] > UNIT_ROUNDOFF[dtype])


def read(path: Path, metadata: Mapping[str, str]) -> Origin:
    """The origin of a result. Raises InterchangeError for metadata that do not tell it, or hold what it must not."""
    try:
        origin = msgspec.json.decode(metadata.get("origin", "{}"), type=Origin)
    except door.UNDECODABLE as error:
        why = door.words(error)
        raise InterchangeError(
            f"{path}: does not say where it comes from ({why}); make it again, see README.md"
        ) from None
    told = {name: text for name, text in asdict(origin).items() if isinstance(text, str)}
    for texts in (origin.versions, origin.switches):
        told |= {f"version or switch {name!r}": f"{name}{text}" for name, text in texts.items()}
    door.check_texts(path, told | {f"time {name!r}": name for name in origin.seconds})
    if origin.dtype not in (*DTYPES, *HALVES):
        raise InterchangeError(f"{path}: dtype is {origin.dtype!r}, should be {' or '.join((*DTYPES, *HALVES))}")
    if origin.products:
        # Whoever runs an implementation may say so of it, and is told so; a file would widen its own bounds.
        raise InterchangeError(
            f"{path}: says that its products are in {origin.products!r}; a result file says its dtype alone"
        )
    u = origin.unit_roundoff
    if not 2.0**-60 < u <= 2.0**-8:
        raise InterchangeError(f"{path}: says that its unit roundoff is {u}; bfloat16, the coarsest there is, has 2^-8")
    return origin
