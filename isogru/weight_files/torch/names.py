"""Where the tensors of a checkpoint are, and what they are called: the names that the model's own state dict has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

DEEPEST = 64
MOST = 1_000_000
"""More values than that, and those of a list that holds itself, are refused."""

# Where torch.optim keeps a tensor of its own for each parameter.
STATES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg")

Inside = Callable[[Any], Iterable[tuple[Any, Any]] | None]
"""What a value holds, by key; None for a value that holds nothing by key, such as a tensor."""


def inside(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a dictionary, a list or a tuple holds, an optimizer's state left out."""
    if isinstance(value, (list, tuple)):
        return enumerate(value)
    if not isinstance(value, dict):
        return None
    if {"state", "param_groups"} <= value.keys() or any(state in value for state in STATES):
        return ()
    return ((k, v) for k, v in value.items() if not ("optim" in str(k).lower() and isinstance(v, (dict, list, tuple))))


def leaves(root: Any, inside: Inside, wanted: Callable[[Any], bool]) -> dict[tuple[str, ...], Any]:
    """Everything wanted that holds nothing itself, by the keys that lead there, in order. Raises ValueError for what is
    nested too deeply, or has two values under the same keys.
    """
    leaves: dict[tuple[str, ...], Any] = {}
    seen = 0

    def descend(value: Any, path: tuple[str, ...]) -> None:
        nonlocal seen
        seen += 1
        if len(path) > DEEPEST or seen > MOST:
            raise ValueError("what it holds is nested without end; save model.state_dict() alone")
        within = inside(value)
        if within is None:
            if not wanted(value):
                return
            if path in leaves:
                raise ValueError(f"there are two tensors of the name {said('.'.join(path))}; rename one")
            leaves[path] = value
            return
        for key, inner in within:
            descend(inner, (*path, str(key)))

    descend(root, ())
    return leaves


def named(tensors: dict[tuple[str, ...], Any], matrix: Callable[[Any], bool]) -> tuple[dict[str, Any], str]:
    """Tensors by their names in the state dict: the keys that lead to it are left out where there is one alone, and
    come second, joined by dots.

    Counters and the states of random generators are tensors too, and make no dictionary a state dict; those that lie
    outside it are left out.
    """
    places = [path[:-1] for path, value in tensors.items() if matrix(value)] or [path[:-1] for path in tensors]
    wrapper = _shared(places)
    names: dict[str, Any] = {}
    for path, value in tensors.items():
        if path[: len(wrapper)] != wrapper:
            continue
        # A file of one tensor and nothing around it.
        name = ".".join(path[len(wrapper) :]) or "0"
        if name in names:
            raise ValueError(f"there are two tensors of the name {said(name)}; rename one")
        names[name] = value
    return names, ".".join(wrapper)


def _shared(places: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest beginning that all have."""
    if not places:
        return ()
    first, last = min(places), max(places)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def said(name: str) -> str:
    """A name as it can be printed: no line ends and no escape codes."""
    short = name if len(name) <= 200 else f"{name[:200]}..."
    return short if short.isprintable() else repr(short)
