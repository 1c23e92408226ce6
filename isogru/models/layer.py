"""One recurrent layer of a file: where it stands, which layout it has, and its weights when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from isogru.models.functions import USUAL
from isogru.models.naming import Position, natural, one_way, stripped
from isogru.weight_files.contents import Contents, Tensor
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.sources import Source
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, UNIT_ROUNDOFF
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import sizes


def check_sizes(one: Layer, other: Layer) -> None:
    """Raises UserError where two layers do not take as many inputs, or do not have as many units."""
    (d, h), (e, k) = ((layer.sizes["d"], layer.sizes["h"]) for layer in (one, other))
    if (d, h) != (e, k):
        raise UserError(
            f"{one.contents.path}: {one.title} has {d} inputs and {h} units, {other.title} of {other.contents.path} "
            f"{e} and {k}: two different problems"
        )


@dataclass(frozen=True)
class Layer:
    """A layer that was recognised in a file."""

    contents: Contents
    layout: Layout
    position: Position
    names: Mapping[str, str]
    """The layout's own names of the tensors that are there -> the names in the file. Biases may be missing."""
    how: str
    """How it was recognised: "by names and shapes"."""
    row: int | None = None
    """Which direction of tensors that hold two, along their first axis."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the file says beside the weights, by what it is about: {"gate": "hard_sigmoid(0.2, 0.5)"}."""
    described: bool = False
    """Whether the file itself describes the layer, with its place of the reset gate and its direction."""
    wrapped: bool = False
    """Whether it is one direction of a Bidirectional of Keras, which gives the states of both in the order of time."""

    @property
    def label(self) -> str:
        """What --layer calls it: l1_reverse, or its place where its names have no number."""
        backwards = "_reverse" if self.position.reverse and (self.position.number is not None or self.row) else ""
        if self.position.number is not None:
            return f"l{self.position.number}{backwards}"
        return f"{stripped(self.position.place)}{backwards}"

    @property
    def title(self) -> str:
        """Its place and its label, for a line of text; "the layer" where it has none of both."""
        place = stripped(self.position.place)
        label = self.label
        return label or "the layer" if self.position.number is None or not place else f"{place} {label}"

    @property
    def order(self) -> tuple[object, ...]:
        """Layers of a file sort by this: by place, then number, forward before reverse."""
        return natural(one_way(self.position.place)), self.position.number or 0, bool(self.position.reverse)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By the layout's own names; of a stacked tensor the row of this direction alone."""
        return {own: self._shape(self.contents.tensors[name], own) for own, name in self.names.items()}

    def _shape(self, tensor: Tensor, own: str) -> tuple[int, ...]:
        one_row = self.row is not None and self.layout.tensors[own].stacked
        return (1, *tensor.shape[1:]) if one_row else tensor.shape

    @property
    def source(self) -> Source:
        """Where it stands, for what is to be said of its tensors."""
        return Source(str(self.contents.path), self.layout.name, dict(self.names), self.row)

    @property
    def present(self) -> Layout:
        """The layout, of the tensors that are there alone."""
        return replace(self.layout, tensors={own: self.layout.tensors[own] for own in self.names})

    @property
    def sizes(self) -> dict[str, int]:
        """{"d": inputs, "h": units}. Raises UserError for shapes that do not fit."""
        return sizes(self.present, self.shapes)

    @property
    def missing(self) -> tuple[str, ...]:
        """The biases that the layer does not have, which counts as zero."""
        return tuple(own for own in self.layout.tensors if own not in self.names)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Of its tensors, each once."""
        return tuple(dict.fromkeys(self.contents.tensors[name].dtype for name in self.names.values()))

    @property
    def roundoffs(self) -> dict[str, float]:
        """Of what it holds, by the spec's names, the unit roundoff of the dtype that it was rounded to."""
        return self._of_parts(lambda tensor: UNIT_ROUNDOFF.get(tensor.rounded_to or tensor.dtype, 0.0))

    @property
    def worked_out(self) -> dict[str, float]:
        """The same of what is made of several tensors: how far others may be that make it of them."""
        return {part: u for part, u in self._of_parts(lambda tensor: tensor.unit_roundoff).items() if u}

    def _of_parts(self, of: Callable[[Tensor], float]) -> dict[str, float]:
        parts = ((part.name, name) for own, name in self.names.items() for part in self.layout.tensors[own].parts)
        return {part: of(self.contents.tensors[name]) for part, name in parts}

    @property
    def functions(self) -> dict[str, str]:
        """Its functions, as far as the file or the layout settles them: {"gate": "sigmoid", "candidate": "tanh"}."""
        fixed = {key: name for key, name in USUAL.items() if key not in self.layout.settings}
        return fixed | {key: self.settings[key] for key in USUAL if key in self.settings}

    @property
    def unsaid(self) -> dict[str, str]:
        """What must hold for the layer to be its cell and the file does not say, in the package's words, by what it is
        about: {"gate": 'recurrent_activation="sigmoid"'}.
        """
        said = set(self.settings) | ({"reset"} if self.described else set()) | {"reverse"}
        return {key: text for key, text in self.layout.settings.items() if key not in said}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to its tensors (dequantised, weight norm multiplied out, widened, zero for a missing bias), and
        in what the file says that it computes.
        """
        return (*self.made, *self.widened)

    @property
    def made(self) -> tuple[str, ...]:
        """The notes but for those on dtypes."""
        tensors = [(name, self.contents.tensors[name]) for name in self.names.values()]
        made = [f"{name} is {tensor.note}" for name, tensor in tensors if tensor.note]
        without = [f"it has no {' and no '.join(self.missing)}, which counts as zero"] if self.missing else []
        computes = self.settings.get("policy", "")
        policy = [f"it computes with the policy {computes}, and keeps its weights in {self.wide}"] if computes else []
        return (*made, *without, *policy)

    @property
    def widened(self) -> tuple[str, ...]:
        """What is read in a wider dtype than the file has it in."""
        narrow = [dtype for dtype in self.dtypes if dtype in FLOATS and dtype not in ("float32", "float64")]
        if narrow:
            return (f"{' and '.join(narrow)} is widened to {self.wide}, exactly",)
        return (f"{' and '.join(self.dtypes)} go together as {self.wide}",) if len(self.dtypes) > 1 else ()

    @property
    def wide(self) -> str:
        """The dtype of the weights that are read: float64 where a tensor is, else float32."""
        return "float64" if "float64" in self.dtypes else "float32"

    def tensors(self) -> dict[str, Array]:
        """Its weights by the layout's own names, all of one dtype; zero for a bias that is not there.

        Raises InterchangeError for a tensor that is no float, or holds NaN or infinity.
        """
        tensors: dict[str, Array] = {}
        for own, name in self.names.items():
            tensor = self.contents.tensors[name]
            if tensor.dtype not in FLOATS and not tensor.note:
                raise InterchangeError(
                    f"{self.contents.path}: {name} is {tensor.dtype}, and no scale stands beside it; weights are floats"
                )
            array = tensor.load()
            if self.row is not None and self.layout.tensors[own].stacked:
                array = array[self.row : self.row + 1]
            if not np.isfinite(array).all():
                index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                raise InterchangeError(
                    f"{self.contents.path}: {name}{list(index)} is {array[index]}; weights are finite numbers"
                )
            tensors[own] = array.astype(self.wide, copy=False)
        lengths = {"1": 1, **self.sizes}
        for own in self.missing:
            shape = [sum(lengths[symbol] for symbol in size) for size in self.layout.tensors[own].shape]
            tensors[own] = np.zeros(shape, self.wide)
        return {own: tensors[own] for own in self.layout.tensors}
