"""The graph of objects that TensorFlow 2 keeps in a checkpoint, and better names from it.

A variable has the shortest path that leads to it as its name. In a model that was compiled that goes through the
optimizer, and in an exported model through a list of all variables: neither says of which layer it is. The graph has
the other paths, and the name that the variable itself has.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from isogru.weight_files.tensorflow.table import MOST_NAMES, fields, varint

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What stands after the path of a variable."""
DEEPEST = 64
LISTED = re.compile(
    r"(?P<list>(?:.*/)?(?:optimizer/_trainable_variables|(?<!optimizer/)(?:_all_|trainable_|non_trainable_)?variables))/(?P<n>\d{1,9})"
)
"""Names that say the place in a list, and nothing of the layer."""
UNORDERED = "_all_variables"
"""What Keras makes of a set."""
LISTS = ("variables", "trainable_variables", "non_trainable_variables", UNORDERED)
PASSED_BY = frozenset(("optimizer", "keras_api", "signatures", *LISTS))
"""Children that are no part of the model."""


@dataclass(frozen=True)
class _Node:
    children: tuple[tuple[int, str], ...]
    variables: tuple[tuple[str, str], ...]
    """The name in the checkpoint, and the variable's own."""


def text(raw: bytes) -> bytes:
    """The one text that a tensor of texts holds: its length, the checksum of that, and the text. Raises ValueError."""
    length, at = varint(raw, 0)
    if length != len(raw) - at - 4:
        raise ValueError("its graph of objects is cut off")
    return raw[at + 4 :]


def names(graph: bytes) -> dict[str, str]:
    """Of variables whose name says a place in a list alone: that -> a path through the model's own objects, or else the
    variable's own name. Raises ValueError or IndexError for a damaged graph.

    From tensorflow/core/protobuf/trackable_object_graph.proto.
    """
    nodes = [_node(value) for field, value in fields(graph) if field == 1 and isinstance(value, bytes)]
    paths = _paths(nodes)
    names: dict[str, str] = {}
    own: dict[tuple[str, int], tuple[str, str]] = {}
    for node, each in enumerate(nodes):
        for key, full in each.variables:
            if match := LISTED.fullmatch(key):
                if node in paths:
                    names[key] = paths[node]
                else:
                    own[match["list"], int(match["n"])] = key, full
    return names | _own(own)


def _own(variables: Mapping[tuple[str, int], tuple[str, str]]) -> dict[str, str]:
    """The variables' own names. All layers of a class of one's own have one: there a layer begins where a kind of
    weight comes again in the list, if that is in the model's order.
    """
    own_names: dict[str, str] = {}
    groups: dict[tuple[str, str], list[set[str]]] = {}
    met = Counter((where, full) for (where, _), (_, full) in variables.items())
    for (where, _), (key, full) in sorted(variables.items()):
        place, _, last = full.rpartition("/")
        if not place or (met[where, full] > 1 and where.endswith(UNORDERED)):
            continue
        group = groups.setdefault((where, place), [set()])
        if last in group[-1]:
            group.append(set())
        group[-1].add(last)
        number = f"_{len(group) - 1}" if len(group) > 1 else ""
        own_names[key] = f"{place}{number}/{last}"
    return own_names


def _paths(nodes: list[_Node]) -> dict[int, str]:
    """The shortest path to each object that is part of the model."""
    paths = {0: ""}
    waiting = deque([(0, 0)] if nodes else ())
    taken = 0
    while waiting:
        node, depth = waiting.popleft()
        for child, name in nodes[node].children:
            if child in paths or name in PASSED_BY or depth >= DEEPEST:
                continue
            paths[child] = f"{paths[node]}/{name}" if paths[node] else name
            waiting.append((child, depth + 1))
            taken += len(paths[child])
            if taken > MOST_NAMES or not 0 <= child < len(nodes):
                raise ValueError("its graph of objects leads nowhere, or has names without end")
    return paths


def _node(raw: bytes) -> _Node:
    children, variables = [], []
    for field, value in fields(raw):
        if not isinstance(value, bytes):
            continue
        inner = dict(fields(value))
        name = _text(inner.get(2, b"")) if field in (1, 2) else ""
        if field == 1:
            number = inner.get(1, 0)
            children.append((number if isinstance(number, int) else -1, name))
        elif field == 2 and (key := _text(inner.get(3, b""))).endswith(VALUE):
            variables.append((key.removesuffix(VALUE), name))
    return _Node(tuple(children), tuple(variables))


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("its graph of objects has a number for a name")
    return value.decode()
