"""What was done otherwise with a whole stack: layers, directions or sequences in another order, or cut short.

Each way is tried on the whole stack and judged as the answer itself was: what makes every layer equal is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from isogru.each_sequence import HELD, ZEROS, another_order, early, in_order
from isogru.stacks.answer import StackAnswer
from isogru.stacks.problem import Stack
from shared_spec.readings.arithmetic import Array

Way = tuple[str, str, Stack, StackAnswer]
"""What was done, what to do about it, and the problem and the answer if it was."""
ORDER = "put them in the order of torch's h_n: layer by layer, forwards before backwards"


def ways(stack: Stack, answer: StackAnswer, truth: Callable[[Stack], list[tuple[Array, Array]]]) -> Iterator[Way]:
    """All that may have been done. `truth` gives all states (T, n, h) and the last ones (n, h) of each layer."""
    if answer.states and any(len(stack.at(level)) == 2 for level in answer.states):
        turned = {level: _halves_exchanged(stack, level, array) for level, array in answer.states.items()}
        told = "both directions are exchanged in the states: what is computed backwards stands first"
        yield told, "put the forward states before the backward ones", stack, replace(answer, states=turned)
    yield from _starts(stack, answer)
    if answer.finals and len(answer.finals) == len(stack.layers) == len(answer.finals[0]):
        exchanged = np.stack([answer.finals[i] for i in range(len(stack.layers))], axis=1)
        told = "the batch comes first in the last states"
        yield told, "exchange their first two axes", stack, replace(answer, finals=dict(enumerate(exchanged)))
    right = truth(stack)
    yield from _layers(stack, answer, [final for _, final in right])
    if stack.lengths is None:
        yield from _sequences(stack, answer, right)
        yield from _ends(stack, answer, right[0][0])


def _halves_exchanged(stack: Stack, level: int, array: Array) -> Array:
    layers = stack.at(level)
    if len(layers) < 2:
        return array
    middle = array.shape[2] - layers[0].arrays["H0"].shape[1]
    exchanged: Array = np.concatenate([array[:, :, middle:], array[:, :, :middle]], axis=2)
    return exchanged


def _starts(stack: Stack, answer: StackAnswer) -> Iterator[Way]:
    """Start states that are ignored, or in another order."""
    H0 = [case.arrays["H0"] for case in stack.layers]
    if not any(start.any() for start in H0):
        return
    sensible = {
        "the start states are ignored: they count as zero": ("start from h_0", [np.zeros_like(start) for start in H0])
    }
    if len({start.shape for start in H0}) == 1:
        for how, order in _orders(stack):
            sensible[f"the start states stand in another order: {how}"] = (ORDER, [H0[i] for i in order])
    for told, (remedy, starts) in sensible.items():
        layers = (
            replace(case, arrays={**case.arrays, "H0": start}) for case, start in zip(stack.layers, starts, strict=True)
        )
        yield told, remedy, replace(stack, layers=tuple(layers)), answer


def _orders(stack: Stack) -> Iterator[tuple[str, list[int]]]:
    """Orders of layers that others have, each as what the layer of each number takes."""
    numbers = range(len(stack.layers))
    backwards = [i for i in numbers if stack.layers[i].reverse]
    forwards = [i for i in numbers if not stack.layers[i].reverse]
    if backwards and forwards and stack.depth > 1:
        order = [*forwards, *backwards]
        yield "all that run forwards before all that run backwards", [order.index(i) for i in numbers]
    if backwards and forwards:
        order = [i for level in range(stack.depth) for i in numbers[::-1] if stack.levels[i] == level]
        yield "of each layer backwards before forwards", [order.index(i) for i in numbers]
    if stack.depth > 1:
        order = sorted(numbers, key=lambda i: -stack.levels[i])
        yield "the last layer first", [order.index(i) for i in numbers]


def _layers(stack: Stack, answer: StackAnswer, right: list[Array]) -> Iterator[Way]:
    """Last states of layers in another order."""
    if len(answer.finals) < len(stack.layers) or len({final.shape for final in right}) > 1:
        return
    given = np.stack([answer.finals[i] for i in range(len(right))], axis=1)
    order = another_order(given, np.stack(right, axis=1))
    if order is not None:
        names = ", ".join(stack.layers[i].name for i in order)
        told = f"the last states stand in another order: {names}"
        yield told, ORDER, stack, replace(answer, finals={its: answer.finals[i] for i, its in enumerate(order)})


def _sequences(stack: Stack, answer: StackAnswer, right: list[tuple[Array, Array]]) -> Iterator[Way]:
    """Sequences of the batch in another order."""
    top = stack.levels.index(stack.depth - 1)
    if stack.depth - 1 in answer.states:
        given, should = answer.states[stack.depth - 1], np.concatenate([H for H, _ in right[top:]], axis=2)
    elif answer.finals:
        number = max(answer.finals)
        given, should = answer.finals[number][None], right[number][1][None]
    else:
        return
    order = another_order(given, should)
    if order is not None:
        back = [order.index(i) for i in range(len(order))]
        states = {level: array[:, back] for level, array in answer.states.items()}
        finals = {number: array[back] for number, array in answer.finals.items()}
        yield *in_order(order), stack, replace(answer, states=states, finals=finals)


def _ends(stack: Stack, answer: StackAnswer, first: Array) -> Iterator[Way]:
    """Sequences that end early, as the last layer's states show, or the last states of the `first` layer, of which
    these are all states (T, n, h).
    """
    ends: dict[str, Array] = {}
    if (H := answer.states.get(stack.depth - 1)) is not None:
        h = stack.layers[-1].arrays["H0"].shape[1]
        nothing = (H == 0).all(-1)
        kept = np.concatenate([np.zeros_like(nothing[:1]), (H[1:, :, :h] == H[:-1, :, :h]).all(-1)])
        for how, there in ((ZEROS, ~nothing), (HELD, ~kept)):
            if there.any(0).all():
                ends[f"sequences end early, and {how}"] = len(H) - there[::-1].argmax(0)
    elif 0 in answer.finals and not stack.layers[0].reverse:
        ends["sequences end early"] = np.abs(first - answer.finals[0]).max(-1).argmin(0) + 1
    for told, lengths in ends.items():
        if lengths.min() < len(stack.X):
            given = tuple(lengths.tolist())
            layers = tuple(replace(case, lengths=given) for case in stack.layers)
            yield *early(told, given, own=True), replace(stack, lengths=given, layers=layers), answer
