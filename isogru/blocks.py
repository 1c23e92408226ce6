"""Where in somebody's own tensors each parameter stands, in NumPy's words: `encoder.weight_hh_l0[0:4].T`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files.sources import Source
from shared_spec.weights.layouts import Layout, layout
from shared_spec.weights.parts import Tensor


@dataclass(frozen=True)
class Block:
    """A parameter or a second bias within a tensor of a file."""

    tensor: str
    """As the file calls it."""
    index: tuple[str, ...]
    """Along each axis, such as (":", "0:4"); none where it is the whole tensor."""
    turned: str = ""
    """What is done to the part: ".T"."""
    negated: bool = False
    vector: bool = False
    """Whether it is a bias."""

    def __str__(self) -> str:
        return f"{'-' if self.negated else ''}{self.where}{self.turned}"

    @property
    def span(self) -> str:
        """Which elements along the axis that gates share: "0:4"; empty where the tensor is of one gate alone."""
        return next((each for each in reversed(self.index) if ":" in each and each != ":"), "")

    @property
    def axis(self) -> str:
        """What lies along that axis, as one says it; empty where the block is a part of the tensor along two."""
        if sum(":" in each and each != ":" for each in self.index) > 1:
            return ""
        if self.vector or (self.turned.startswith(".reshape(") and ":" not in self.index):
            return "elements"
        return "columns" if len(self.index) > 1 and self.index[-2] == ":" else "rows"

    @property
    def where(self) -> str:
        """The block as it stands in the tensor, as NumPy says it."""
        return f"{self.tensor}[{', '.join(self.index)}]" if self.index else self.tensor

    @property
    def title(self) -> str:
        """The tensor, with the row that it is in where it holds several: bias[1]."""
        before = [each for each in self.index if ":" not in each]
        return f"{self.tensor}[{', '.join(before)}]" if before else self.tensor


def blocks(source: Source, sizes: Mapping[str, int]) -> dict[str, Block]:
    """By the names of parameters and second biases; none of those that the file does not have. `sizes` are {"d": ...,
    "h": ...}. Empty for a layout that is not known here.
    """
    try:
        of = layout(source.layout)
    except UserError:
        return {}
    by_name: dict[str, Block] = {}
    for own, tensor in of.tensors.items():
        if own in source.names:
            by_name |= _of_tensor(of, source.names[own], tensor, source.row, sizes)
    return by_name


def _of_tensor(
    of: Layout, name: str, tensor: Tensor, direction: int | None, sizes: Mapping[str, int]
) -> Iterator[tuple[str, Block]]:
    high = 0
    for number, row in enumerate(tensor.rows):
        start, height = 0, 0
        for part in row:
            shape = [sizes[symbol] for symbol in cell(of.cell).parameters[of.second.get(part.name, part.name)]]
            stored = shape[::-1] if tensor.transpose else shape
            size = _product(shape) if tensor.flat else stored[tensor.axis]
            index = [":"] * tensor.axis + [f"{start}:{start + size}"]
            if tensor.blocks:
                height = stored[0]
                index = [f"{high}:{high + height}", *index[1:]]
            if len(row) == 1 and (not tensor.blocks or len(tensor.rows) == 1):
                index = []
            if tensor.stacked:
                index = [str(direction or 0 if len(tensor.rows) == 1 else number), *index]
            yield part.name, Block(name, tuple(index), _turned(tensor, shape), part.negated, len(shape) < 2)
            start += size
        high += height


def _turned(tensor: Tensor, shape: list[int]) -> str:
    if len(shape) < 2:
        return ""
    if tensor.turned or (tensor.transpose and tensor.flat):
        return f".reshape({shape[1]}, {shape[0]}).T"
    return f".reshape({shape[0]}, {shape[1]})" if tensor.flat else ".T" if tensor.transpose else ""


def _product(shape: list[int]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)
