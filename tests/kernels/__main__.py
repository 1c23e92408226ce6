"""How long the kernels of PyTorch's and JAX' tuned cells take on a GPU, by their plans: python -m tests.kernels torch.

For whoever has another card, or changes a kernel: what the comments beside the plans say was measured so. Nothing is
asserted here. Each time is of one call among several in one CUDA graph, or in one program, so that the host plays no
part: the median of seven tries. With --tiny it is one plan of each, at next to no size but for many units, for the
interpreters on a CPU.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import frameworks
from frameworks import protocol

NARROW = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (8, 4))
"""Rows and warps of a program."""
STRIPS = ((32, 4, 2), (32, 4, 4), (32, 4, 8), (32, 2, 2), (32, 2, 4), (32, 1, 4), (16, 2, 4), (64, 4, 2))
"""Rows of a strip, warps of a program, and the most programs of a multiprocessor."""
WIDE = ((64, 256, 16, 8, 4), (64, 256, 16, 8, 8), (32, 256, 8, 8, 4), (32, 256, 8, 8, 8), (1, 256, 1, 8, 4))
"""Rows of the batch, units, and a program's rows, units and warps."""
CELLS = {"gru": False, "gru_reset_after": True}
"""Whether the reset comes after the product."""


class Extent(NamedTuple):
    """At which size, of which plans, of how many calls at a time, and the median of how many tries."""

    T: int
    n: int
    h: int
    v: int
    plans: slice
    calls: int
    tries: int

    def median(self, call: Callable[[], Any], wait: Callable[[Any], None], count: int) -> float:
        """Seconds of one of so many calls that one call makes."""
        wait(call())
        taken = []
        for _ in range(self.tries):
            began = time.perf_counter()
            wait(call())
            taken.append(time.perf_counter() - began)
        return statistics.median(taken) / count


CHAPTER = Extent(T=32, n=1024, h=32, v=28, plans=slice(None), calls=10, tries=7)
TINY = Extent(T=2, n=3, h=4, v=5, plans=slice(1), calls=1, tries=1)


def show(what: str, seconds: Callable[..., float], *given: Any) -> None:
    try:
        print(f"{what:72}{seconds(*given) * 1e6:10.1f} us", flush=True)
    except Exception as error:  # Some plan may not fit this card, and the others do.
        print(f"{what:72}{type(error).__name__}: {str(error)[:200]}", flush=True)


def parameters(cell: str, v: int, h: int, tensor: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    random = np.random.default_rng(0)
    of_gate = {"W_x": (v, h), "W_h": (h, h), "b_": (h,)}
    shapes = {f"{kind}{gate}": shape for gate in "zrh" for kind, shape in of_gate.items()}
    shapes |= {"b_hh": (h,)} if CELLS[cell] else {}
    return {
        name: tensor(random.standard_normal(shape) * h**-0.5)
        for name, shape in (shapes | {"W_hq": (h, v), "b_q": (v,)}).items()
    }


def training_steps(framework: Any, device: str, extent: Extent) -> None:
    """The chapter's training step, each call waited for, as a race does, and one after another."""
    runtime, model = framework.runtime, framework.language_model
    tensor = functools.partial(runtime.tensor, dtype="float32", device=device)
    tokens = np.random.default_rng(1).integers(extent.v, size=(extent.n, extent.T))
    batch = runtime.tensor(tokens, dtype="int32", device=device)
    for cell in CELLS:
        of = parameters(cell, extent.v, extent.h, tensor)
        forward = protocol.find(framework, "tuned", cell, "float32").build()
        step = model.training_step(forward, lr=1.0, clip_norm=1.0, compiled=framework.tuned.COMPILED)
        for calls, how in ((1, "each waited for"), (extent.calls, "one after another")):
            of_all = functools.partial(
                lambda step, of, calls: [step(of, batch, batch) for _ in range(calls)], step, of, calls
            )
            show(f"training step, {cell}, {how}", extent.median, of_all, runtime.wait, calls)


def torch_kernels(framework: Any, device: str, extent: Extent) -> None:
    import torch

    from frameworks.torch import few, kernels

    def seconds(call: Callable[[], Any]) -> float:
        if device == "cpu":
            return extent.median(call, lambda _: None, 1)
        call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(extent.calls):
                call()
        return extent.median(graph.replay, lambda _: torch.cuda.synchronize(), extent.calls)

    @contextmanager
    def planned(rows: int, mine: int, **constants: int) -> Iterator[None]:
        before, kernels._plan = kernels._plan, lambda n, h: kernels.Plan(rows, mine, constants)
        try:
            yield
        finally:
            kernels._plan = before

    def loops(name: str, T: int, n: int, h: int) -> None:
        for cell, reset_after in CELLS.items():
            A_zr, A_h, dH = (torch.randn(T, n, k * h, device=device) for k in (2, 1, 1))
            W_zr, W_hh = (torch.randn(h, k * h, device=device) * h**-0.5 for k in (2, 1))
            b_hh = torch.randn(h, device=device) if reset_after else None
            given = (None, A_zr, A_h, torch.zeros(n, h, device=device), W_zr, W_hh, b_hh)
            show(f"{name}, {cell}: forward", seconds, functools.partial(kernels._forward, *given))
            kept = kernels._forward(*given)
            back = functools.partial(kernels._backward, dH, kept, (W_zr, W_hh), reset_after=reset_after)
            show(f"{name}, {cell}: backward", seconds, back)

    T, n, h, v = extent[:4]
    units = few.strip_constants(v, h, *few.OF_LOSS)["UNITS"]
    with torch.no_grad():
        for rows, warps in NARROW[extent.plans]:
            with planned(rows, units, ROWS=rows, UNITS=units, num_warps=warps):
                loops(f"narrow, {n} x {h}: {rows} rows, {warps} warps", T, n, h)
        H, dZR = torch.randn(T + 1, n, h, device=device), torch.randn(T, n, 2 * h, device=device)
        kept, d = kernels.Kept(H, dZR, H[1:], H[1:]), H[1:]
        tokens = torch.randint(0, v, (T, n), device=device)
        W_hq, b_q = torch.randn(h, v, device=device), torch.randn(v, device=device)
        before = few.OF_LOSS, few.OF_WEIGHTS, few.STRIPS
        for rows, warps, few.STRIPS in STRIPS[extent.plans]:
            few.OF_LOSS = few.OF_WEIGHTS = rows, warps
            name = f"strips of {rows} rows, {warps} warps, {few.STRIPS} programs"
            count = 3 * v * h + 3 * h * h + 4 * h + h * v + v + 1
            sums = torch.zeros(few._programs(T * n), count, device=device)
            loss = functools.partial(few._cross_entropy, d, W_hq, b_q, tokens, sums)
            show(f"{name}: output layer, loss and gradients", seconds, loss)
            of_weights = functools.partial(few._gradients, tokens, kept, dZR, d, H[:-1], sums, v)
            show(f"{name}: gradients of weights", seconds, of_weights)
            show(f"{name}: sums of both", seconds, functools.partial(few._total, sums))
        few.OF_LOSS, few.OF_WEIGHTS, few.STRIPS = before
        for n, h, rows, mine, warps in WIDE[extent.plans] if device != "cpu" else ():
            part = min(kernels.PART, h)
            constants = {"ROWS": rows, "MINE": mine, "PARTS": h // part, "UNITS": part, "num_warps": warps}
            with planned(rows, mine, **constants):
                loops(f"wide, {n} x {h}: {rows} rows, {mine} units, {warps} warps", T, n, h)


def jax_kernels(framework: Any, device: str, extent: Extent) -> None:
    import jax

    from frameworks.jax import kernels, strips

    T, n, h, v = extent[:4]
    random, plan = np.random.default_rng(0), kernels.plan

    def drawn(*shape: int) -> Any:
        return framework.runtime.tensor(random.standard_normal(shape) * h**-0.5, dtype="float32", device=device)

    table, dH, H0 = drawn(v, 3 * h), drawn(T, n, h), drawn(n, h)
    tokens = framework.runtime.tensor(random.integers(v, size=(T, n)), dtype="int32", device=device)
    weights = {"gru": (drawn(h, 2 * h), drawn(h, h)), "reset_after": (drawn(h, 3 * h), drawn(h))}

    def seconds(loop: str, *, backward: bool) -> float:
        def turn(_: Any, given: tuple) -> tuple:
            H, pull = jax.vjp(lambda *given: getattr(kernels, loop)(given[0], tokens, *given[1:]), *given)
            if not backward:
                return given[0], H[-1], *given[2:]
            return tuple(a - 1e-9 * g for a, g in zip(given, pull(dH), strict=True))

        program = jax.jit(lambda *given: jax.lax.fori_loop(0, extent.calls, turn, given))
        return extent.median(lambda: program(table, H0, *weights[loop]), framework.runtime.wait, extent.calls)

    for rows, warps in NARROW[extent.plans]:
        kernels.plan = lambda n, h, *, processors, rows=rows, warps=warps: plan(n, h, processors=processors)._replace(
            rows=rows, warps=warps
        )
        for loop in weights:
            name = f"{n} x {h}: {rows} rows, {warps} warps, {loop}"
            show(f"{name}: forward", functools.partial(seconds, loop, backward=False))
            show(f"{name}: with all gradients", functools.partial(seconds, loop, backward=True))
    kernels.plan = plan

    def repeated(call: Callable[[Any], Any], first: Any) -> float:
        """Of a function of a small array, which waits for what the turn before gave."""

        def turn(_: Any, given: Any) -> Any:
            return given + (1e-30 * call(given).mean()).astype(given.dtype)

        program = jax.jit(lambda first: jax.lax.fori_loop(0, extent.calls, turn, first))
        return extent.median(lambda: program(first), framework.runtime.wait, extent.calls)

    N, of_gates, W_hq = T * n, drawn(T * n, 4 * h), drawn(h, v)

    def of_weights(tokens: Any) -> Any:
        of_all = (tokens, dH.reshape(N, h), of_gates), (N, h, v), (3 * v * h + 3 * h * h + 4 * h,)
        return kernels._sums(strips.gradients, *of_all, gates=3, h=h, v=v)[0]

    before = kernels.STRIP, kernels.STRIPS, kernels.WARPS
    for kernels.STRIP, kernels.WARPS, kernels.STRIPS in STRIPS[extent.plans]:
        name = f"strips of {kernels.STRIP} rows, {kernels.WARPS} warps, {kernels.STRIPS} programs"
        loss = lambda b_q: kernels.cross_entropy(dH, W_hq, b_q, tokens)  # noqa: E731
        show(f"{name}: output layer, loss and gradients", repeated, loss, drawn(v))
        show(f"{name}: gradients of weights", repeated, of_weights, tokens.T)
    kernels.STRIP, kernels.STRIPS, kernels.WARPS = before
    many = parameters("gru", v, h, functools.partial(framework.runtime.tensor, dtype="float32", device=device))
    moved = lambda b_q: kernels.sgd(many | {"b_q": b_q}, many, lr=1.0, clip_norm=1.0)[0]["b_q"]  # noqa: E731
    show("SGD", repeated, moved, many["b_q"])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("framework", choices=["torch", "jax"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args(arguments)
    framework = frameworks.load(asked.framework)
    framework.runtime.setup(device=asked.device)
    extent = TINY if asked.tiny else CHAPTER
    print(", ".join(f"{name} {version}" for name, version in framework.runtime.versions().items()), flush=True)
    (torch_kernels if asked.framework == "torch" else jax_kernels)(framework, asked.device, extent)
    training_steps(framework, asked.device, extent)


if __name__ == "__main__":
    main(sys.argv[1:])
