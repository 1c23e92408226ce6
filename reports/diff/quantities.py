"""Quantities by kind, as tables group them; shared_spec/quantities.py says which there are."""

from __future__ import annotations

from typing import Literal, get_args

from shared_spec.quantities import GATES as GATES
from shared_spec.quantities import GRADIENTS, OF_CELL, OF_TRAINING, STATES, quantity
from shared_spec.quantities import TRAINING as TRAINING

COLUMNS = (STATES, GATES, GRADIENTS, TRAINING)
"""The columns of the matrix, for each cell."""
PAIRED = tuple(dict.fromkeys(each.kind for each in (*OF_CELL, *OF_TRAINING) if each.kind))
"""What two implementations are compared by, in the order of tables."""

NotCompared = Literal["none"]
NOT_COMPARED: NotCompared = get_args(NotCompared)[0]
Difference = float | NotCompared | None
"""Of two implementations; NOT_COMPARED of two that share no case, None for infinity."""


def group_of(name: str) -> str:
    """The kind of a quantity of which two are compared: "grad.W_xz" is one of the gradients."""
    return next((each.kind for each in (*OF_CELL, *OF_TRAINING) if each.kind and each.has(name)), name.split(".")[0])


def column_of(name: str, *, training: bool) -> str:
    """The column of the matrix that a quantity belongs to, of a result of a cell or of a training."""
    return quantity(name, training=training).column
