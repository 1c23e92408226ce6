"""The records of a pickle as data. Nothing that it names is looked up, nothing is imported, and nothing is called.

A pickle is a row of instructions for a stack. Those that build lists, tuples and dictionaries are followed; those that
would call something leave a `Record` of what would have been called, and with what.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Named:
    """A class or function, by the name that the pickle has for it: "torch.FloatStorage"."""

    name: str


@dataclass(eq=False)
class Record:
    """What a call, or a new object, would have been made of."""

    kind: str
    """The name of the class or function."""
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(eq=False, frozen=True)
class Stored:
    """Something that lies outside the pickle, by its identity there: ("storage", type, key, device, elements)."""

    identity: tuple[Any, ...]


@dataclass(frozen=True)
class Parsed:
    """What a pickle describes."""

    root: Any
    names: frozenset[str]
    """Of all classes and functions in it."""
    stored: tuple[Stored, ...]
    """Everything that lies outside it."""


_MARK = object()
_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
# How a number, or the length of a text, is packed.
_BYTE, _SHORT, _INT, _LENGTH, _FLOAT = (struct.Struct(packed) for packed in ("<B", "<H", "<i", "<I", ">d"))
_PLAIN = (str, int, float, bool, bytes, type(None))
_ORDERED = "collections.OrderedDict"


def parse(raw: bytes) -> Parsed:
    """Reads a pickle of protocol 2. Raises ValueError for what is none."""
    try:
        return _Machine(raw).run()
    except (IndexError, KeyError, TypeError, struct.error, UnicodeDecodeError, MemoryError):
        raise ValueError("its pickle is damaged or truncated") from None


class _Machine:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._place = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._names: set[str] = set()
        self._stored: list[Stored] = []
        push = self._stack.append
        # By the instruction, most frequent first.
        self._steps: Mapping[bytes, Callable[[], None]] = {
            b"X": lambda: push(self._take(self._number(_LENGTH)).decode()),
            b"q": lambda: self._keep(_BYTE),
            b"r": lambda: self._keep(_LENGTH),
            b"h": lambda: push(self._memo[self._number(_BYTE)]),
            b"j": lambda: push(self._memo[self._number(_LENGTH)]),
            b"K": lambda: push(self._number(_BYTE)),
            b"M": lambda: push(self._number(_SHORT)),
            b"J": lambda: push(self._number(_INT)),
            b"G": lambda: push(self._number(_FLOAT)),
            b"\x8a": lambda: push(int.from_bytes(self._take(self._number(_BYTE)), "little", signed=True)),
            b"U": lambda: push(self._take(self._number(_BYTE)).decode("latin-1")),
            b"(": lambda: push(_MARK),
            b"t": lambda: push(tuple(self._above_mark())),
            b"\x85": lambda: push(tuple(self._last(1))),
            b"\x86": lambda: push(tuple(self._last(2))),
            b"\x87": lambda: push(tuple(self._last(3))),
            b"]": lambda: push([]),
            b"}": lambda: push({}),
            b"a": lambda: self._extend(self._last(1)),
            b"e": lambda: self._extend(self._above_mark()),
            b"s": lambda: self._update(self._last(2)),
            b"u": lambda: self._update(self._above_mark()),
            b"c": self._named,
            b"R": self._called,
            b"\x81": self._called,
            b"b": self._built,
            b"Q": self._outside,
            b"\x80": self._protocol,
        } | {op: functools.partial(push, value) for op, value in _CONSTANTS.items()}

    def run(self) -> Parsed:
        raw, steps = self._raw, self._steps
        while (op := raw[self._place : self._place + 1]) != b".":
            self._place += 1
            if (step := steps.get(op)) is None:
                if not op:
                    raise IndexError
                raise ValueError(f"its pickle has an instruction, {op!r}, that PyTorch does not write")
            step()
        return Parsed(self._stack.pop(), frozenset(self._names), tuple(self._stored))

    def _take(self, length: int) -> bytes:
        taken = self._raw[self._place : self._place + length]
        if len(taken) < length:
            raise IndexError
        self._place += length
        return taken

    def _number(self, packed: struct.Struct) -> Any:
        value = packed.unpack_from(self._raw, self._place)[0]
        self._place += packed.size
        return value

    def _line(self) -> str:
        end = self._raw.find(b"\n", self._place)
        if end < 0:
            raise IndexError
        return self._take(end - self._place + 1)[:-1].decode()

    def _above_mark(self) -> list[Any]:
        """What lies above the last mark, which goes."""
        stack, place = self._stack, len(self._stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def _last(self, length: int) -> list[Any]:
        items = self._stack[-length:]
        if len(items) < length:
            raise IndexError
        del self._stack[-length:]
        return items

    def _keep(self, packed: struct.Struct) -> None:
        self._memo[self._number(packed)] = self._stack[-1]

    def _extend(self, items: list[Any]) -> None:
        _of(list, self._stack[-1]).extend(items)

    def _update(self, items: list[Any]) -> None:
        into = _of(dict, self._stack[-1])
        for place in range(0, len(items), 2):
            into[_key(items[place])] = items[place + 1]

    def _named(self) -> None:
        name = f"{self._line()}.{self._line()}"
        self._names.add(name)
        self._stack.append(Named(name))

    def _called(self) -> None:
        """What would have called a function or made an object."""
        arguments, name = _of(tuple, self._stack.pop()), _of(Named, self._stack.pop()).name
        self._stack.append({} if name == _ORDERED and not arguments else Record(name, arguments))

    def _built(self) -> None:
        """What would have given an object its state."""
        state = self._stack.pop()
        if isinstance(self._stack[-1], Record):
            self._stack[-1].state = state
        else:
            # The attributes of an OrderedDict: no tensor is there.
            _of(dict, self._stack[-1])

    def _outside(self) -> None:
        self._stored.append(Stored(_of(tuple, self._stack.pop())))
        self._stack.append(self._stored[-1])

    def _protocol(self) -> None:
        if (protocol := self._number(_BYTE)) > 3:
            raise ValueError(f"its pickle is of protocol {protocol}, and torch.load(weights_only=True) reads 2")


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _key(key: Any) -> Any:
    """Text, a number, or a tuple of such. To take the hash of tuples within tuples within tuples may end Python."""
    if not isinstance(key, _PLAIN) and not all(isinstance(part, _PLAIN) for part in _of(tuple, key)):
        raise TypeError
    return key
