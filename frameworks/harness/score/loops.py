"""A framework's own loop over time with other inputs, another order, or ways of the gradient that are cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from frameworks.folder import Forward, Step
from frameworks.harness.score.operations import Operations
from isogru.conventions import Convention
from isogru.sequences import SEQUENCES
from shared_spec.errors import UserError

Unroll = Callable[[Step], Forward]
Parameters = Mapping[str, Any]


def faulty(unroll: Unroll, conventions: Sequence[Convention], operations: Operations) -> Unroll:
    """The loop with these edits of the sequence and cuts of the gradient, one after the other."""
    names = [name for each in conventions for name, of in SEQUENCES.items() if of is each.sequence]
    if unknown := [name for name in names if name not in (*_WRAPS, NOT_CARRIED)]:
        raise UserError(f"no mutant can be planted with the sequence {unknown[0]!r}: frameworks do not have it here")
    cuts = {cut for each in conventions for cut in each.cuts}

    def made(step: Step) -> Forward:
        own = _not_carried(unroll, operations) if NOT_CARRIED in names else unroll
        forward = _cut(own, step, cuts, operations)
        for name in names:
            if name != NOT_CARRIED:
                forward = _WRAPS[name](forward, operations)
        return forward

    return made


NOT_CARRIED = "not_carried"


def _not_carried(unroll: Unroll, o: Operations) -> Unroll:
    """Every step starts from H0, which the state carries along beside it."""

    def made(step: Step) -> Forward:
        def from_the_start(X: Any, S: Any, **parameters: Any) -> tuple[Any, dict[str, Any]]:
            h = S.shape[1] // 2
            H, _ = step(X, S[:, h:], **parameters)
            return o.concatenate([H, S[:, h:]], 1), {}

        loop = unroll(from_the_start)

        def forward(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
            h = H0.shape[1]
            H, final = loop(X, o.concatenate([H0, H0], 1), parameters)
            return H[:, :, :h], final[:, :h]

        return forward

    return made


def _cut(unroll: Unroll, step: Step, cuts: set[str], o: Operations) -> Forward:
    """The loop over time with ways of its gradient cut; the states are its own."""

    def apart(X: Any, H: Any, **parameters: Any) -> tuple[Any, dict[str, Any]]:
        return step(X, o.constant(H), **parameters)

    whole, parted = unroll(step), unroll(apart)

    def forward(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
        H0 = o.constant(H0) if "start" in cuts else H0
        first = {"time": 1, "half": len(X) // 2}
        at = min((first[cut] for cut in cuts & first.keys()), default=len(X))
        if at == 0:
            # Of one step half is none, and what is cut leads to H0.
            H, final = whole(X, o.constant(H0), parameters)
        elif at >= len(X):
            H, final = whole(X, H0, parameters)
        else:
            before, middle = whole(X[:at], H0, parameters)
            after, final = (parted if "time" in cuts else whole)(X[at:], o.constant(middle), parameters)
            H = o.concatenate([before, after], 0)
        if "others" in cuts and len(X) > 1:
            H = o.concatenate([o.constant(H[:-1]), H[-1:]], 0)
        return H, final

    return forward


Wrap = Callable[[Forward, Operations], Forward]


def _of_inputs(change: Callable[[Any, Any, Operations], tuple[Any, Any]]) -> Wrap:
    def wrap(forward: Forward, o: Operations) -> Forward:
        return lambda X, H0, parameters: forward(*change(X, H0, o), parameters)

    return wrap


def _of_states(change: Callable[[Any, Any, Operations], Any]) -> Wrap:
    def wrap(forward: Forward, o: Operations) -> Forward:
        def changed(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
            H, final = forward(X, H0, parameters)
            return change(H, H0, o), final

        return changed

    return wrap


def _late(X: Any, H0: Any, o: Operations) -> tuple[Any, Any]:
    return o.concatenate([o.zeros(X, tuple(X[:1].shape)), X[:-1]], 0) if len(X) > 1 else o.zeros(X, tuple(X.shape)), H0


def _early(X: Any, H0: Any, o: Operations) -> tuple[Any, Any]:
    return o.concatenate([X[1:], o.zeros(X, tuple(X[:1].shape))], 0) if len(X) > 1 else o.zeros(X, tuple(X.shape)), H0


def _states_late(forward: Forward, o: Operations) -> Forward:
    def changed(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
        if len(X) == 1:
            return H0[None], H0
        H, final = forward(X[:-1], H0, parameters)
        return o.concatenate([H0[None], H], 0), final

    return changed


def _exchanged(forward: Forward, o: Operations) -> Forward:
    """Each step is a sequence now: H0 has a row for each where there are as many, and counts as zero elsewhere."""

    def changed(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
        T, n = X.shape[:2]
        start = H0 if n == T else o.zeros(H0, (T, H0.shape[1]))
        H, _ = forward(o.exchanged(X), start, parameters)
        H = o.exchanged(H)
        return H, H[-1]

    return changed


def _reshaped(forward: Forward, o: Operations) -> Forward:
    def changed(X: Any, H0: Any, parameters: Parameters) -> tuple[Any, Any]:
        T, n = X.shape[:2]
        H, final = forward(o.exchanged(o.reshaped(X, (n, T, X.shape[2]))), H0, parameters)
        return o.reshaped(o.exchanged(H), (T, n, H0.shape[1])), final

    return changed


def _both(forward: Forward, o: Operations) -> Forward:
    return _of_states(lambda H, H0, o: o.turned(H))(_of_inputs(lambda X, H0, o: (o.turned(X), H0))(forward, o), o)


_WRAPS: Mapping[str, Wrap] = {
    "start_ignored": _of_inputs(lambda X, H0, o: (X, o.zeros(H0, tuple(H0.shape)))),
    "time_reversed": _both,
    "inputs_reversed": _of_inputs(lambda X, H0, o: (o.turned(X), H0)),
    "states_reversed": _of_states(lambda H, H0, o: o.turned(H)),
    "states_late": _states_late,
    "inputs_late": _of_inputs(_late),
    "inputs_early": _of_inputs(_early),
    "batch_and_time_exchanged": _exchanged,
    "batch_and_time_reshaped": _reshaped,
}
