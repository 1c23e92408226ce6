"""python -m tests.long_sequences: JAX' lane parallel against its loop over time, a table of iterations, one of time.

One row, as many inputs as units, all numbers normal, weights and biases with a deviation of s / sqrt(h), float32.
"""

from __future__ import annotations

import time
from typing import Annotated, Optional

import jax
import jax.numpy as jnp
import numpy as np
import typer

from frameworks.jax import runtime
from frameworks.jax.cells import CELLS, compiled
from frameworks.jax.parallel import solver
from shared_spec.cells import cell
from shared_spec.command import application, main, say
from shared_spec.oracle import shapes_of_case

STEPS, UNITS, SCALES = (256, 1024, 4096, 16384), (16, 32, 64), (1.0, 2.0, 4.0)
SECONDS = 2.0
"""How long both are called in turns, once at the least."""

app = application("JAX' lane parallel against its loop over time.")


def problem(name, T, h, scale):
    """X (T, 1, h), H0 (1, h) and parameters of a cell."""
    random = np.random.RandomState(T + h)
    shapes = shapes_of_case(cell(name))
    sizes = {"T": T, "n": 1, "d": h, "h": h}
    drawn = {of: random.standard_normal([sizes[s] for s in shapes[of]]).astype(np.float32) for of in shapes}
    parameters = {of: jnp.asarray(drawn[of] * np.float32(scale / np.sqrt(h))) for of in cell(name).parameters}
    return jnp.asarray(drawn["X"]), jnp.tanh(drawn["H0"]), parameters


def with_gradients(states):
    """A function (X, H0, parameters) -> the states, and the gradients of their sum."""

    def value(X, H0, parameters):
        H = states(X, H0, parameters)
        return H.sum(), H

    return jax.jit(jax.value_and_grad(value, (0, 1, 2), has_aux=True))


def medians(functions, given):
    """Seconds that each takes, called in turns."""
    taken = [[] for _ in functions]
    for function in functions:
        runtime.wait(function(*given))
    began = time.perf_counter()
    while not taken[0] or time.perf_counter() - began < SECONDS:
        for function, own in zip(functions, taken, strict=True):
            start = time.perf_counter()
            runtime.wait(function(*given))
            own.append(time.perf_counter() - start)
    return [float(np.median(own)) for own in taken]


def measured(name, T, h, scale, *, gradients):
    """How many iterations, at how much of the bound, and milliseconds of the lane, of the loop."""
    given = problem(name, T, h, scale)
    solve, loop = solver(name), compiled(CELLS[name])
    solved = solve(*given)
    functions = [lambda *given: solve(*given).H, lambda *given: loop(*given)[0]]
    if gradients:
        functions = [with_gradients(each) for each in functions]
    ours, theirs = medians(functions, given)
    by_loop = int((~solved.within).sum())
    said = f"loop ({by_loop} of {len(solved.within)})" if by_loop else f"{int(solved.iterations.max())}"
    if not by_loop:
        said += f" ({float(solved.ratio.max()):.2g})"
    return said, f"{_milliseconds(ours)} / {_milliseconds(theirs)}, {ours / theirs:.0f}x"


def _milliseconds(seconds):
    return f"{1000 * seconds:,.{1 if seconds < 0.01 else 0}f}"


@app.command()
def run(
    name: Annotated[str, typer.Option("--cell")] = "gru",
    steps: Annotated[Optional[list[int]], typer.Option("--T")] = None,
    units: Annotated[Optional[list[int]], typer.Option("--h")] = None,
    scales: Annotated[Optional[list[float]], typer.Option("--s")] = None,
    gradients: Annotated[bool, typer.Option(help="Times with gradients.")] = False,
) -> None:
    """Two tables in Markdown."""
    runtime.setup()
    steps = steps or STEPS
    rows = []
    for h in units or UNITS:
        for scale in scales or SCALES:
            row = [measured(name, T, h, scale, gradients=gradients) for T in steps]
            say(f"h={h} s={scale:g}: {row}", err=True)
            rows.append((h, scale, row))
    head = " | ".join(f"T = {T:,}" for T in steps)
    for place in (0, 1):
        say(f"| h | s | {head} |")
        say(f"|---|---|{'---|' * len(steps)}")
        for h, scale, row in rows:
            say(f"| {h} | {scale:g} | {' | '.join(each[place] for each in row)} |")
        say("")


if __name__ == "__main__":
    main(app)
