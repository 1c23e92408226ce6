"""What a file of weights holds: its tensors by name, read when they are asked for, and the layers that it describes.

Every reader of this folder gives one `Contents`, whatever the kind of file. It loads no tensor before somebody asks for
one, so that a GRU inside a model of gigabytes costs no more than the GRU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared_spec.readings.arithmetic import Array


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file, not yet read."""

    shape: tuple[int, ...]
    dtype: str
    """As NumPy names it, such as float32 or int8; and bfloat16, float8_e4m3fn, float8_e5m2."""
    load: Callable[[], Array]
    """Reads it: float32 or float64 where it is a float (narrower ones are widened, which is exact), else as it is.
    Raises InterchangeError, with the file and the tensor, where it cannot be read.
    """
    note: str = ""
    """What was done to get it, such as "weight_g * weight_v / |weight_v|"; empty where it is as it stands."""
    rounded_to: str = ""
    """The dtype that its numbers were rounded to, where that is narrower than its own, as after a Cast from float16."""
    unit_roundoff: float = 0.0
    """How far its numbers may be from what others make of the same parts, relative to them; 0 where none does."""


@dataclass(frozen=True)
class Described:
    """A recurrent layer that the file itself describes: a node of an ONNX graph, a layer of a Keras configuration."""

    place: str
    """Where it stands, as the file names it: "/gru/GRU", "bidirectional/forward_gru"."""
    layout: str
    """Its layout's name, such as onnx or keras-reset-before."""
    tensors: Mapping[str, str]
    """The layout's names of the tensors that it has -> the names in the file."""
    reverse: bool = False
    """Whether it goes from the last step to the first."""
    row: int | None = None
    """Which direction of tensors that hold several, along their first axis."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the file says of the settings that a weight cannot tell: {"recurrent_activation": "hard_sigmoid", ...}."""
    wrapped: bool = False
    """Whether it is one direction of a Bidirectional of Keras, which gives the states of both in the order of time."""


@dataclass(frozen=True)
class Foreign:
    """A recurrent layer that isogru does not judge, such as an LSTM, or a GRU with settings that no layout has."""

    place: str
    what: str
    """"an LSTM", "a GRU with clip = 3"."""


@dataclass(frozen=True)
class Contents:
    """A file of weights, opened. Nothing in it has been run."""

    path: Path
    kind: str
    """What it is, with its article: "a PyTorch checkpoint"."""
    tensors: Mapping[str, Tensor]
    """By their full names, levels joined as the file joins them ("." or "/"), in the order of the file."""
    described: tuple[Described, ...] = ()
    """In the order of the file. Empty where the file has names and shapes alone."""
    foreign: tuple[Foreign, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Text that the file carries about itself: safetensors' metadata."""
    ordered: bool = True
    """Whether tensors stand in the model's own order. safetensors and Flax sort them by name, MLX by a hash."""
    part: str = ""
    """Which part of the file the tensors are, where there are others: "model_state_dict"."""


class Reader(Protocol):
    """A module of this folder: one kind of file."""

    KIND: str
    """With its article: "an ONNX model"."""
    ENDINGS: tuple[str, ...]
    """Of names that such files usually have. A file is known by its content; endings tell what is to be written."""

    def recognises(self, head: bytes, path: Path) -> bool:
        """Whether a file that begins with these bytes (up to 4096) is of this kind. Reads no more than it must."""

    def read(self, path: Path) -> Contents:
        """Opens it. Raises InterchangeError where it is damaged, UserError where a package is missing."""


class Writer(Reader, Protocol):
    """A module that also writes."""

    def write(self, path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
        """A new file, whole or not at all. Metadata are left out where this kind of file has no place for them."""


class Filler(Reader, Protocol):
    """A module that puts other values into a copy of a file."""

    def fill(self, template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
        """The file `template` with some tensors, by their names in it, replaced; whole or not at all. Shapes and dtypes
        are those that the template has.
        """
