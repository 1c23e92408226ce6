"""ONNX models as protobuf writes them: found again by their bytes, with the tensors' data taken out or put in.

The package onnx reads a model whole. Here its data stay in the file: what the package gets to see is the model without
them, each tensor with a note of where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Chunks = list["bytes | memoryview"]
OfTensor = Callable[[memoryview, int, int], "Chunks | None"]
"""The file, where a TensorProto in it begins and ends -> what stands there instead, or None for what is there."""

# onnx/onnx.proto: by the kind of message, the numbers of the fields that lead to tensors, and what they hold.
INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
# Names. protobuf itself takes whatever bytes they are.
NAMES: Mapping[str, frozenset[int]] = {
    "model": frozenset(),
    "graph": frozenset({2}),
    "function": frozenset({1, 4, 5, 6, 10, 13}),
    "node": frozenset({1, 2, 3, 4, 7, 8}),
    "attribute": frozenset({1, 21}),
    "tensor": frozenset({8}),
}
DEEPEST = 90
"""Messages within messages; protobuf itself stops at 100."""

FLOAT_DATA, RAW_DATA, DOUBLE_DATA, DOC_STRING = 4, 9, 10, 12
DATA = {FLOAT_DATA, 5, 6, 7, RAW_DATA, DOUBLE_DATA, 11, 13, 14}
"""Fields of a TensorProto that say what its values are or where they lie."""

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
# onnx/onnx.proto, ModelProto: the fields and their wire types.
OF_MODEL = {1: VARINT, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: VARINT, 6: LENGTH, 7: LENGTH, 8: LENGTH, 14: LENGTH,
            20: LENGTH, 25: LENGTH, 26: LENGTH}  # fmt: skip
TEXTS = {2, 3, 4}
OF_GRAPH = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}


class MalformedError(ValueError):
    """These bytes are not what protobuf writes."""


def begins_like_a_model(head: bytes) -> bool:
    """Whether these are the first bytes of a ModelProto: its version, then fields that it has, of their wire types."""
    if head[:1] != b"\x08":
        return False
    numbers = set()
    at = 0
    try:
        while at < len(head):
            tag, at = _varint(head, at, len(head))
            number, wire = tag >> 3, tag & 7
            if OF_MODEL.get(number) != wire:
                return False
            value, at = _varint(head, at, len(head))
            if number == 1 and not 1 <= value <= 1000:
                return False
            inner = head[at : at + value] if wire == LENGTH else b""
            # A SavedModel of TensorFlow begins like one, and has a whole graph where the producer's name would be.
            if number in TEXTS and not (value < 1000 and inner.decode(errors="replace").isprintable()):
                return False
            if number == 7 and inner and (inner[0] & 7 != LENGTH or inner[0] >> 3 not in OF_GRAPH):
                return False
            numbers.add(number)
            at += value if wire == LENGTH else 0
    except MalformedError:
        # The head ends within a field.
        pass
    return bool(numbers - {1, 5})


def _varint(memory: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = memory[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedError(f"a number at byte {at} does not end")


def _fields(memory: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, where the field begins, where its content begins and ends."""
    while at < end:
        begin = at
        # Numbers of one byte, which most are, without a call: graphs have 100,000 fields.
        tag, at = (memory[at], at + 1) if memory[at] < 0x80 else _varint(memory, at, end)
        wire, first = tag & 7, at
        if wire == LENGTH:
            length, first = (memory[at], at + 1) if at < end and memory[at] < 0x80 else _varint(memory, at, end)
            at = first + length
        elif wire == VARINT:
            _, at = _varint(memory, at, end)
        elif wire in (EIGHT, FOUR):
            at += 8 if wire == EIGHT else 4
        else:
            raise MalformedError(f"a field of an unknown kind at byte {begin}")
        if at > end:
            raise MalformedError(f"a field at byte {begin} announces more than is there")
        yield tag >> 3, wire, begin, first, at


def field(number: int, length: int) -> bytes:
    """What stands before the content of a field of that length."""
    return _number(number << 3 | LENGTH) + _number(length)


def _number(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def rewritten(memory: memoryview, of_tensor: OfTensor) -> bytes:
    """A model with other tensors. Raises MalformedError, and UnicodeDecodeError for a name that is no text."""
    chunks = _message("model", memory, 0, len(memory), of_tensor, 0)
    return bytes(memory) if chunks is None else b"".join(chunks)


def _message(kind: str, memory: memoryview, start: int, end: int, of_tensor: OfTensor, depth: int) -> Chunks | None:
    if depth > DEEPEST:
        raise MalformedError("graphs within graphs, without end")
    chunks: Chunks = []
    kept = start
    for number, wire, begin, first, last in _fields(memory, start, end):
        if wire != LENGTH:
            continue
        inner = INSIDE[kind].get(number)
        if inner is None:
            if number in NAMES[kind]:
                str(memory[first:last], "utf-8")
            continue
        if inner == "tensor":
            new = of_tensor(memory, first, last)
        else:
            new = _message(inner, memory, first, last, of_tensor, depth + 1)
        if new is not None:
            chunks += [memory[kept:begin], field(number, sum(map(len, new))), *new]
            kept = last
    return [*chunks, memory[kept:end]] if chunks else None


def without_data(memory: memoryview, first: int, last: int) -> Chunks:
    """A TensorProto whose data are left where they are. Its doc_string says where: see `whereabouts`."""
    chunks: Chunks = []
    data = (-1, 0)
    for number, wire, begin, start, end in _fields(memory, first, last):
        if wire == LENGTH and number in (FLOAT_DATA, RAW_DATA, DOUBLE_DATA):
            # Floats in a row are written as memory too.
            data = (start, end - start)
        elif number != DOC_STRING:
            chunks.append(memory[begin:end])
            if wire == LENGTH and number in NAMES["tensor"]:
                str(memory[start:end], "utf-8")
    note = f"{first} {data[0]} {data[1]}".encode()
    return [*chunks, field(DOC_STRING, len(note)), note]


def whereabouts(doc_string: str) -> tuple[int, int, int]:
    """What `without_data` noted: where in the file the TensorProto begins, where its data begin or -1, their length."""
    at, start, length = map(int, doc_string.split())
    return at, start, length


def with_data(memory: memoryview, first: int, last: int, data: bytes) -> Chunks:
    """A TensorProto with other data, whatever the form of those that it had."""
    kept = [memory[begin:end] for number, _, begin, _, end in _fields(memory, first, last) if number not in DATA]
    return [*kept, field(RAW_DATA, len(data)), data]
