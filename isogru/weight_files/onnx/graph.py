"""Names in an ONNX model: what stands behind the input of a node, through graphs within nodes and local functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isogru.weight_files.onnx.tensors import Leaf, shown
from isogru.weight_files.onnx.values import Call, UnknownError, Value, applied, constant, of_leaf
from shared_spec.errors import InterchangeError

OWN_DOMAINS = ("", "ai.onnx")
GRAPH, GRAPHS = 5, 10
"""onnx/onnx.proto, AttributeProto.AttributeType."""
DEEPEST = 60
MOST_UNROLLED = 200_000

LeafOf = Callable[[Any, str], Leaf]
Function = tuple[str, str, str]
"""Domain, name and overload."""


@dataclass(eq=False)
class Scope:
    """A graph, or a call of a function, with the names that it has."""

    leaf_of: LeafOf
    place: str
    """Of the node whose graph or function it is; empty for the model's own graph."""
    nodes: Any
    leaves: Mapping[str, Leaf]
    sparse: frozenset[str]
    given: Mapping[str, Callable[[int], Value]]
    """What its inputs are; those that are not here are unknown before the model runs."""
    outer: Scope | None = None
    """The graph around it: a graph sees its names, a function does not."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the call of a function."""
    known: dict[str, Value | str] = field(default_factory=dict)
    makers: dict[str, tuple[Any, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.makers = {name: (node, n) for node in self.nodes for n, name in enumerate(node.output) if name}

    def attributes_of(self, node: Any) -> dict[str, Any]:
        """By name, those that a function takes from its call with their values there."""
        attributes = {}
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                attributes[attribute.name] = attribute
            elif attribute.ref_attr_name in self.attributes:
                attributes[attribute.name] = self.attributes[attribute.ref_attr_name]
        return attributes

    def find(self, name: str, depth: int = 0) -> Value:
        """What stands behind a name. Raises UnknownError, with what comes after "a GRU whose W"."""
        if depth > DEEPEST:
            raise UnknownError(f"is computed in more than {DEEPEST} steps")
        if name not in self.known:
            try:
                self.known[name] = self._value(name, depth)
            except UnknownError as error:
                self.known[name] = str(error)
        value = self.known[name]
        if isinstance(value, str):
            raise UnknownError(value)
        return value

    def _value(self, name: str, depth: int) -> Value:
        if name in self.leaves:
            return of_leaf(self.leaves[name])
        if name in self.sparse:
            raise UnknownError("is a sparse tensor")
        if name in self.makers:
            return self._made(*self.makers[name], depth)
        if name in self.given:
            return self.given[name](depth + 1)
        if self.outer is not None:
            return self.outer.find(name, depth + 1)
        raise UnknownError("is not in the file: it is given when the model runs")

    def _made(self, node: Any, output: int, depth: int) -> Value:
        if node.domain not in OWN_DOMAINS:
            raise UnknownError(f"is computed by {shown(f'{node.domain}.{node.op_type}')}")
        attributes = self.attributes_of(node)
        if node.op_type == "Constant":
            return self._constant(attributes, node.output[0])
        inputs = [self.find(name, depth + 1) if name else None for name in node.input]
        if node.op_type == "ConstantOfShape" and "value" in attributes:
            inputs.append(self._tensor(attributes["value"], node.output[0]))
        return applied(shown(node.op_type), Call(inputs, attributes, output, len(node.output)))

    def _tensor(self, attribute: Any, name: str) -> Value:
        if not attribute.HasField("t"):
            raise UnknownError("is a constant without a value")
        return of_leaf(self.leaf_of(attribute.t, name))

    def _constant(self, attributes: Mapping[str, Any], name: str) -> Value:
        if "value" in attributes:
            return self._tensor(attributes["value"], name)
        for key, dtype in (("value_float", "float32"), ("value_int", "int64")):
            if key in attributes:
                return constant(np.array(attributes[key].f if dtype == "float32" else attributes[key].i, dtype))
            if f"{key}s" in attributes:
                given = attributes[f"{key}s"]
                return constant(np.array(given.floats if dtype == "float32" else given.ints, dtype))
        raise UnknownError("is a constant of a kind that is not read")


class Model:
    """The nodes of a model, wherever they stand, each with the names that it sees."""

    def __init__(self, proto: Any, leaf_of: LeafOf, said: str) -> None:
        self.functions: dict[Function, Any] = {(f.domain, f.name, f.overload): f for f in proto.functions}
        self.leaf_of, self.said = leaf_of, said
        self.left = MOST_UNROLLED + proto.ByteSize() // 8
        self.graph = self._scope(proto.graph, "", None)

    def _scope(self, graph: Any, place: str, outer: Scope | None) -> Scope:
        leaves: dict[str, Leaf] = {}
        for tensor in graph.initializer:
            if tensor.name in leaves:
                raise InterchangeError(
                    f"{self.said}: two initializers have the name {shown(tensor.name)}; rename one of them"
                )
            if tensor.name:
                leaves[tensor.name] = self.leaf_of(tensor, tensor.name)
        given: dict[str, Callable[[int], Value]] = {}
        for value in graph.input if outer is not None else ():
            given[value.name] = _unknown
        sparse = frozenset(tensor.values.name for tensor in graph.sparse_initializer)
        attributes = {} if outer is None else outer.attributes
        return Scope(self.leaf_of, place, graph.node, leaves, sparse, given, outer, attributes)

    def _called(self, function: Any, node: Any, place: str, scope: Scope) -> Scope:
        names = [name for name, _ in zip(node.input, function.input, strict=False)]
        given = {
            formal: (lambda depth, name=name: scope.find(name, depth)) if name else _unknown
            for formal, name in zip(function.input, names, strict=False)
        }
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        attributes = defaults | scope.attributes_of(node)
        return Scope(self.leaf_of, place, function.node, {}, frozenset(), given, None, attributes)

    def nodes(self) -> Iterator[tuple[Any, Scope]]:
        """Every node that is no call of a function, in the order of the file. Raises InterchangeError."""
        yield from self._inside(self.graph, 0)

    def _inside(self, scope: Scope, depth: int) -> Iterator[tuple[Any, Scope]]:
        if depth > DEEPEST:
            raise InterchangeError(f"{self.said}: functions or graphs within each other without end; export it anew")
        for node in scope.nodes:
            self.left -= 1
            if self.left < 0:
                raise InterchangeError(f"{self.said}: functions within functions, too many to unroll; export it anew")
            place = f"{scope.place}/{node.name or node.op_type}" if scope.place else node.name or node.op_type
            function = self.functions.get((node.domain, node.op_type, node.overload))
            if function is not None:
                yield from self._inside(self._called(function, node, place, scope), depth + 1)
                continue
            yield node, scope
            for attribute in node.attribute:
                graphs = (
                    [attribute.g] if attribute.type == GRAPH else attribute.graphs if attribute.type == GRAPHS else []
                )
                for graph in graphs:
                    yield from self._inside(self._scope(graph, place, scope), depth + 1)


def _unknown(depth: int) -> Value:
    raise UnknownError("is not in the file: it is given when the model runs")
