"""What a result holds, quantity by quantity: its shape and dtype, what it is judged by, and where pages show it.

Shapes are in symbols: T, n, d, h, v; steps and epochs of a training, predictions of its text. Those of a cell follow
from its parameters, see oracle.shapes_of_result; a result says so by name: "grad.W_xz", "trace.Z".
"""

from __future__ import annotations

from dataclasses import dataclass

from shared_spec.errors import UserError
from shared_spec.expression import Shape

TRACE = "trace."
"""Before the names of a run with every gate of every step kept, see interchange.Result.is_traced."""
STATES, GATES, GRADIENTS, TRAINING = "states", "gates", "gradients", "training"
"""Columns of the page."""
STEP, TWINS, TEXT, EQUATION = "step", "twins", "text", "equation"
"""What a quantity is judged by: the bound of one step, how far twins stray, equal characters, or the bound of one
equation; docs/verdict.md has them all.
"""


@dataclass(frozen=True)
class Quantity:
    """One quantity of a result, or, where the name ends in a dot, one for each parameter and the like."""

    name: str
    column: str
    basis: str
    kind: str = ""
    """What tables of two implementations call it, with others of its kind; empty for what is in none of them. Tables
    have kinds in the order in which they come here first.
    """
    shape: Shape | None = None
    """None where what comes behind the dot has one."""
    dtype: str | None = None
    """None for that of the result."""
    trajectory: bool = False
    """Whether it has an element for each step or epoch, each resting on those before it."""

    def has(self, name: str) -> bool:
        """Whether it is the quantity of that name, or one of those that are."""
        return name.startswith(self.name) if self.name.endswith(".") else name == self.name


OF_CELL = (
    Quantity("H", STATES, STEP, "H", ("T", "n", "h")),
    Quantity("final", STATES, STEP, "final", ("n", "h")),
    Quantity("grad.", GRADIENTS, TWINS, "gradients"),
    Quantity(f"{TRACE}grad.", GRADIENTS, TWINS),
    Quantity(f"{TRACE}dH", GRADIENTS, TWINS, shape=("T", "n", "h")),
    # After those: what is left are the quantities that equations assign.
    Quantity(TRACE, GATES, EQUATION, shape=("T", "n", "h")),
)
OF_TRAINING = (
    Quantity("grad.", TRAINING, TWINS, "gradients"),
    Quantity("loss", TRAINING, TWINS, "loss", ("steps",), trajectory=True),
    Quantity("step1.", TRAINING, TWINS, "weights"),
    Quantity("end.", TRAINING, TWINS, "weights"),
    Quantity("norm", TRAINING, TWINS, "norm", ("steps",), trajectory=True),
    Quantity("perplexity.train", TRAINING, TWINS, "perplexity", ("epochs",), "float64", trajectory=True),
    Quantity("perplexity.val", TRAINING, TWINS, "perplexity", ("epochs",), "float64", trajectory=True),
    Quantity("text", TRAINING, TEXT, "text", ("predictions",), "int32"),
)


def quantity(name: str, *, training: bool) -> Quantity:
    """That of a name in a result, of a cell or of a training. Raises UserError where results hold none."""
    known = OF_TRAINING if training else OF_CELL
    quantity = next((each for each in known if each.has(name)), None)
    if quantity is None:
        raise UserError(f"no quantity {name!r}; a result holds {', '.join(each.name for each in known)}")
    return quantity


def is_trajectory(name: str) -> bool:
    """Whether a quantity of a training is one."""
    return any(each.trajectory and each.has(name) for each in OF_TRAINING)
