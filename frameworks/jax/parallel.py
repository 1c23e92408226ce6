"""The cells over all steps at once, by Newton's iteration, which the rounding bound of one step stops.

A cell over T steps is a root: H_t - f(H_t-1, X_t) = 0 for all t together. An iteration evaluates f and its Jacobians
J_t = df / dH_t-1 at every step of a guess G at once, and corrects the guess by what solves

    D_t = f(G_t-1, X_t) - G_t + D_t-1 J_t,    D_0 = 0,

which is linear in D and so an associative scan: log T products after one another, where a loop has T (Lim et al. 2024,
arXiv:2309.12252; ParaRNN 2025, arXiv:2510.21450).

**When it stops.** Not by a tolerance: by the bound that states are judged by, shared_spec/readings/bound.py, evaluated
in float64 on the guess in the lane's own precision. Where each state lies within it from the one before, a loop in that
precision could have given these states: that is the certificate. Where that is not so after MOST iterations, it is the
loop that gives them, and `solver` says so. Float64 is the price: evaluated in float32 the step is off by as much as the
bound, and would certify what is up to two bounds away.

**Gradients.** The way back is linear as it is, one scan with the transposed Jacobians of the states, without iteration.
Where the states came from the loop, so do gradients: products of Jacobians that overflow for Newton do so here.

**Jacobians** are those of the hand-written step, by jax.linearize: right for each cell that there is, and one large
product for each recurrent weight, where the scan has T small ones. A wrong one would not show in the states, which the
bound holds whatever led there, only in the time and in the gradients.

**Memory.** Jacobians take T n h^2 numbers, 268 MB for a row of T = 16,384 and h = 64 in float32, and a solution several
times that. What takes more than JACOBIANS is cut into parts of time, one after the other, each solved by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from frameworks import RichForward
from frameworks.jax.cells import CELLS, Forward, unroll
from shared_spec.cells import cell
from shared_spec.readings import bound
from shared_spec.readings.floats import UNIT_ROUNDOFF

MOST = 16
"""Iterations, before it is left to the loop."""
JACOBIANS = 2**26
"""Bytes that those of a part of time take at the most."""


class Solved(NamedTuple):
    """States, and how they were come by. Each of the last three has a number for each part of time (parts,)."""

    H: Array
    """(T, n, h)."""
    iterations: Array
    ratio: Array
    """Of Newton's last states: the largest distance from one step of the state before, in bounds of that step."""
    within: Array
    """Whether that is at most 1. Where not, H is what the loop over time gave."""


@functools.cache
def solver(name: str) -> Callable[[Array, Array, Mapping[str, Array]], Solved]:
    """A function (X (T, n, d), H0 (n, h), parameters) -> the states of a cell, differentiable. Each part of time is one
    call of a program.
    """
    part = _part(name)

    def solve(X: Array, H0: Array, parameters: Mapping[str, Array]) -> Solved:
        n, h = H0.shape
        length = max(1, JACOBIANS // (n * h * h * H0.dtype.itemsize))
        if len(X) <= length:
            return part(X, H0, parameters)
        parts = []
        for begin in range(0, len(X), length):
            parts.append(part(X[begin : begin + length], H0, parameters))
            H0 = parts[-1].H[-1]
        return Solved(*(jnp.concatenate(each) for each in zip(*parts, strict=True)))

    return solve


def _part(name: str) -> Callable[[Array, Array, Mapping[str, Array]], Solved]:
    step = CELLS[name]
    loop = unroll(step)

    @jax.jit
    def newton(X: Array, H0: Array, parameters: Mapping[str, Array]) -> Solved:
        if len(X) == 1:
            # One step is the loop itself: no iteration.
            H, _ = loop(X, H0, parameters)
            return Solved(H, jnp.zeros(1, jnp.int32), _ratio(name, X, H0, H, parameters)[None], jnp.ones(1, bool))

        def iterate(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            G, iterations, _ = state
            F, J = _linear(step, X, _before(H0, G), parameters)
            # No state is beyond -1 and 1, or the first one. Held there, some weights of s = 3 converge that diverge
            # without, and those of s = 2 take an iteration less.
            better = jnp.clip(G + _forwards(J, F - G), jnp.minimum(H0, -1), jnp.maximum(H0, 1))
            G = jnp.where(jnp.isnan(better), F, better)
            return G, iterations + 1, _ratio(name, X, H0, G, parameters)

        def is_outside(state: tuple[Array, Array, Array]) -> Array:
            _, iterations, ratio = state
            return ~(ratio <= 1) & (iterations < MOST)

        nothing = jnp.zeros((len(X), *H0.shape), H0.dtype)
        G, iterations, ratio = jax.lax.while_loop(is_outside, iterate, (nothing, jnp.int32(0), jnp.float64(jnp.inf)))
        H = jax.lax.cond(ratio <= 1, lambda: G, lambda: loop(X, H0, parameters)[0])
        return Solved(H, iterations[None], ratio[None], (ratio <= 1)[None])

    @jax.jit
    def pulled_back(X: Array, H0: Array, parameters: Mapping[str, Array], solved: Solved, dH: Array):
        H = solved.H

        def at_once() -> tuple[Array, Array, dict[str, Array]]:
            before = _before(H0, H)
            _, J = _linear(step, X, before, parameters)
            _, pull = jax.vjp(lambda X, H, parameters: step(X, H, **parameters)[0], X, before, parameters)
            dX, dbefore, gradients = pull(_backwards(J, dH))
            return dX, dbefore[0], gradients

        def one_by_one() -> tuple[Array, Array, dict[str, Array]]:
            _, pull = jax.vjp(lambda *given: loop(*given)[0], X, H0, parameters)
            return pull(dH)

        return jax.lax.cond(solved.within[0], at_once, one_by_one)

    # Around programs, not within one: the states that come with gradients are then of the same program as others.
    part = jax.custom_vjp(newton)

    def kept(*given: Any) -> tuple[Solved, tuple]:
        solved = newton(*given)
        return solved, (*given, solved)

    part.defvjp(kept, lambda kept, d: pulled_back(*kept, d.H))
    return part


def _before(H0: Array, H: Array) -> Array:
    return jnp.concatenate([H0[None], H[:-1]])


def _linear(step: Callable[..., tuple], X: Array, H: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
    """The step of all states H (T, n, h) at once, and its Jacobians (T, n, h, h): a change dH of a state changes the
    next by dH J.
    """
    h = H.shape[-1]
    F, pushed = jax.linearize(lambda H: step(X, H, **parameters)[0], H)
    units = jnp.broadcast_to(jnp.eye(h, dtype=H.dtype)[:, None, None], (h, *H.shape))
    return F, jax.vmap(pushed, out_axes=-2)(units)


def _forwards(J: Array, b: Array) -> Array:
    """D_t = b_t + D_t-1 J_t, from zero."""

    def after(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        (J1, b1), (J2, b2) = first, second
        return J1 @ J2, (b1[..., None, :] @ J2)[..., 0, :] + b2

    return jax.lax.associative_scan(after, (J, b))[1]


def _backwards(J: Array, b: Array) -> Array:
    """D_t = b_t + D_t+1 J_t+1^T, to zero."""

    def before(later: tuple[Array, Array], sooner: tuple[Array, Array]) -> tuple[Array, Array]:
        (J2, b2), (J1, b1) = later, sooner
        return J1 @ J2, (J1 @ b2[..., None])[..., 0] + b1

    # The last has nothing after it: which Jacobian stands there is all the same.
    return jax.lax.associative_scan(before, (jnp.roll(J, -1, 0), b), reverse=True)[1]


def _ratio(name: str, X: Array, H0: Array, H: Array, parameters: Mapping[str, Array]) -> Array:
    """The largest distance of a state from one step of the state before it, in bounds of that step."""
    wide = jax.tree.map(lambda a: a.astype(jnp.float64), (X, _before(H0, H), dict(parameters)))
    if wide[1].dtype != jnp.float64:
        raise RuntimeError("the bound is float64; set jax_enable_x64, as frameworks/jax/runtime.py does")
    should_be, allowed = bound.step(cell(name), *wide, u=UNIT_ROUNDOFF[str(H.dtype)], arrays=jnp)
    # A bound of 1 or more may allow all that a state between -1 and 1 can be.
    return jnp.max(jnp.where(allowed < 1, abs(H - should_be) / allowed, jnp.inf))


def _told(solved: Solved) -> str:
    parts, by_loop = len(solved.within), int((~solved.within).sum())
    if by_loop:
        which = "all of it" if by_loop == parts else f"{by_loop} of {parts} parts"
        return f"Newton was not within the bound after {MOST} iterations: {which} computed step by step"
    most, ratio = int(solved.iterations.max()), float(solved.ratio.max())
    if not most:
        return (
            f"each part of time is one step, which the loop computed: at {ratio:.2g} of the bound of every step at most"
        )
    return f"Newton was within the bound of every step after {most} iterations, at {ratio:.2g} of it at most"


@functools.cache
def _forward(name: str) -> Forward:
    solve = solver(name)

    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        H = solve(X, H0, parameters).H
        return H, H[-1]

    return RichForward(forward, note=lambda *given: _told(solve(*given)), programs=True)


# Everything here is compiled for each shape.
COMPILED = True
BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
PARALLEL = {name: (functools.partial(_forward, name), BOTH) for name in CELLS}
