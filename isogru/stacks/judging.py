"""The verdict on an answer to a stack, layer by layer.

Where the states of the level below are there, a layer is judged on these, by its steps, as a case of its own. Where
they are not, it is held against the oracle of the whole stack, within 10 times what the twins of the stack stray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from isogru import answers, formats, judge, order, reason
from isogru.explain import EXPLAINED, UNEXPLAINED, Cause, Explanation
from isogru.judge import delivered
from isogru.judge.comparison import EQUAL, TWIN_MULTIPLE, WORST_CASE, Finding, compare
from isogru.judge.reference import pooled_stray
from isogru.judge.verdict import ResultVerdict
from isogru.runners.hints import of_results
from isogru.runners.verdict import Evidence
from isogru.stacks import otherwise
from isogru.stacks.answer import StackAnswer
from isogru.stacks.problem import Stack
from shared_spec import oracle
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array


def judged(
    stack: Stack, answer: StackAnswer, name: str, *, why: bool = False, products: str = ""
) -> tuple[ResultVerdict, tuple[str, ...], list[tuple[str, Explanation]]]:
    """The verdict, what is to be said of it, and of each layer that is not equal why, where that is asked and the
    states below are there. `products` says what its products were computed in, where that is coarser than its states.

    Raises UserError for products that are no coarser.
    """
    whole = Result(_origin(stack.layers[0], name, answer.dtype), {str(i): a for i, a in enumerate(answer.arrays)})
    whole = formats.with_products(whole, products) if products else whole
    coarse = "" if products else formats.coarser(whole)
    findings, reasons = [], []
    layers = _findings(stack, answer, name, "", products)
    notes = (formats.told(answer.dtype, products), *answer.notes[1:]) if products else answer.notes
    if coarse and any(finding.verdict != EQUAL for *_, each in layers for finding in each.findings):
        notes = (f"judged in {coarse}: the file is of {answer.dtype}, and all its values are of {coarse}", *notes[1:])
        layers = _findings(stack, answer, name, coarse, "")
    hint, cause = ("", None) if products else _narrower(stack, answer, name, layers)
    notes = (*notes, hint) if hint else notes
    below = {case.name: f"l{level - 1}" for case, level in zip(stack.layers, stack.levels, strict=True)}
    for case, result, of in layers:
        findings += [replace(finding, quantity=f"{case.name}.{finding.quantity}") for finding in of.findings]
        if why and of.verdict != EQUAL:
            told = _blind(below[case.name]) if result is None else cause or reason.why(case, result, of)
            reasons.append((case.name, told))
    if reasons and cause is None:
        ratio = max(each.ratio for each in findings)
        whole_stack = _otherwise(stack, answer, name, (coarse, products), ratio, layers)
        reasons = reasons if whole_stack is None else [("the stack", whole_stack)]
    return ResultVerdict(whole.origin, tuple(findings)), notes, reasons


def _otherwise(
    stack: Stack,
    answer: StackAnswer,
    name: str,
    computed: tuple[str, str],
    ratio: float,
    layers: Sequence[Judged],
) -> Explanation | None:
    """What was done otherwise with the whole stack; None where nothing makes every layer equal. `computed` is in what
    states and products were, where that is coarser than what they are kept in; `layers` are as they were judged.
    """
    coarse, products = computed
    dtype = "float32" if coarse else answer.dtype

    def truth(stack: Stack) -> list[tuple[Array, Array]]:
        chain = _Chain(stack, dtype)
        return [chain.right(number, case) for number, case in enumerate(stack.layers)]

    if all(np.isfinite(array).all() for array in answer.arrays):
        for sentence, remedy, problem, given in otherwise.ways(stack, answer, truth):
            held = [each for *_, of in _findings(problem, given, name, coarse, products) for each in of.findings]
            if all(each.verdict == EQUAL for each in held):
                cause = Cause((), sentence, remedy, max(each.ratio for each in held))
                return Explanation(EXPLAINED, ratio, (cause,))
        return None if products else _at_the_end(stack, answer, dtype, ratio, layers)
    return None


def _at_the_end(
    stack: Stack, answer: StackAnswer, dtype: str, ratio: float, layers: Sequence[Judged]
) -> Explanation | None:
    """Whether the last states of both directions are what the states hold at the last step, such as Y[-1], and all else
    is equal.
    """
    if not any(stack.layers[number].reverse for number in answer.finals) or stack.lengths is not None:
        return None
    held = [each for *_, of in layers for each in of.all_findings if each.quantity != "final"]
    if any(each.verdict != EQUAL for each in held):
        return None
    chain = _Chain(stack, dtype)
    for number, final in answer.finals.items():
        held += chain.findings(number, replace(stack.layers[number], reverse=False), {"final": final})
    if any(each.verdict != EQUAL for each in held):
        return None
    told = "it is taken at the last step in both directions, where the backward one has seen one input alone"
    remedy = "take the backward one's last state at step 0: h_n[-1], or Y[0] from h on"
    return Explanation(EXPLAINED, ratio, (Cause((), told, remedy, max(each.ratio for each in held)),))


def _narrower(stack: Stack, answer: StackAnswer, name: str, layers: Sequence[Judged]) -> tuple[str, Explanation | None]:
    """With products in which coarser format all layers would be equal, as `formats.narrower` says it of one."""
    there = [Evidence(case, result, of) for case, result, of in layers if result is not None]
    if len(there) < len(layers):
        return "", None

    def again(products: str, gradients: bool) -> list[Evidence]:
        made = _findings(stack, answer, name, "", products)
        return [Evidence(case, result, of) for case, result, of in made if result is not None]

    return of_results(there, again)


def _blind(below: str) -> Explanation:
    """Of a layer whose input is not there: the states of the level `below`."""
    absent = "what it took from the layer below is not there"
    return Explanation(UNEXPLAINED, note=f"{absent}; save all states of that too, under its name, {below}")


Judged = tuple[Case, Result | None, ResultVerdict]
"""A layer with its input, its result where it was judged by itself, and the verdict."""


def _findings(stack: Stack, answer: StackAnswer, name: str, coarse: str, products: str) -> list[Judged]:
    dtype = "float32" if coarse else answer.dtype
    u = UNIT_ROUNDOFF[coarse or dtype]
    chain: _Chain | None = None
    layers: list[Judged] = []
    for level in range(stack.depth):
        below = stack.X if level == 0 else answer.states.get(level - 1)
        for number, case, parts in _layers(stack, answer, level):
            if not parts:
                continue
            given = {q: a.astype(np.float32) if coarse else a for q, a in parts.items()}
            origin = replace(_origin(case, name, dtype), unit_roundoff=u, products=products)
            if below is not None:
                own = stack.on(case, below)
                turns = own.reverse or own.lengths is not None
                arrays, _ = order.of_case(own.held_in(dtype), given) if turns else (given, ())
                result = Result(replace(origin, case_digest=own.digest), dict(arrays))
                layers.append((own, result, judge.on(own, result, name=name, partial=True, kept=False)))
                continue
            chain = chain or _Chain(stack, delivered.of(Result(origin, given)).dtype)
            layers.append((case, None, ResultVerdict(origin, tuple(chain.findings(number, case, given)))))
    return layers


def _layers(stack: Stack, answer: StackAnswer, level: int) -> Iterator[tuple[int, Case, dict[str, Array]]]:
    """Each layer of a level by its number, with what is there of it, in the order of time."""
    at, start = stack.levels.index(level), 0
    for number, case in enumerate(stack.at(level), at):
        h = case.arrays["H0"].shape[1]
        parts: dict[str, Array] = {}
        if level in answer.states:
            parts["H"] = np.ascontiguousarray(answer.states[level][:, :, start : start + h])
        if number in answer.finals:
            parts["final"] = answer.finals[number]
        start += h
        yield number, case, parts


class _Chain:
    """The oracle of a whole stack, and its twins: each takes what its own layer below gave."""

    def __init__(self, stack: Stack, dtype: str) -> None:
        self._dtype, self._lengths, stack = dtype, stack.lengths, stack.held_in(dtype)
        self._truth = list(_run(stack, None, 0))
        self._twins = [list(_run(stack, dtype, seed)) for seed in range(oracle.TWINS)]

    def findings(self, number: int, case: Case, given: dict[str, Array]) -> Iterator[Finding]:
        """Of what is there of a layer."""
        for quantity, array in given.items():
            truth = self._of(self._truth[number], quantity, case)
            twins = [self._of(each[number], quantity, case) for each in self._twins]
            stray = pooled_stray(quantity, truth, twins, self._dtype)
            value = array if self._lengths is None or quantity == "final" else order.ended(array, self._lengths)
            held = compare(value, truth, TWIN_MULTIPLE * stray)
            yield held.finding(quantity, basis="twins", worst_case=WORST_CASE)

    def right(self, number: int, case: Case) -> tuple[Array, Array]:
        """All states of a layer, and the last ones."""
        return self._truth[number], self._of(self._truth[number], "final", case)

    def _of(self, states: Array, quantity: str, case: Case) -> Array:
        """A quantity from the states of a layer in the order of time, zero past the ends."""
        if quantity == "H":
            return states
        if case.reverse:
            first: Array = states[0]
            return first
        ends = self._lengths or (len(states),) * states.shape[1]
        at_end: Array = np.stack([states[length - 1, row] for row, length in enumerate(ends)])
        return at_end


def _run(stack: Stack, dtype: str | None, seed: int) -> Iterator[Array]:
    """The states of each layer, in the order of time; the oracle's, or those of a twin in some dtype."""
    below = stack.X
    for level in range(stack.depth):
        given = []
        for case in stack.at(level):
            own = stack.on(case, below)
            with np.errstate(over="ignore", invalid="ignore"):
                made = (
                    oracle.run(own.cell, own.arrays)
                    if dtype is None
                    else oracle.twin(own.cell, own.arrays, dtype=dtype, seed=seed)
                )
            H = made["H"].astype(np.float64)
            H = order.turned(H, case.lengths) if case.reverse else H
            given.append(H if case.lengths is None else order.ended(H, case.lengths))
            yield given[-1]
        below = np.concatenate(given, axis=2)


def _origin(case: Case, name: str, dtype: str) -> Origin:
    return answers.origin(case, name, dtype)
