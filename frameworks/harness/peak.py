"""What this machine can do, as far as a framework reaches it: the limits that benchmarks are held against.

Products of the shape of a step and large ones, functions, memory and cache, and what it takes to issue an operation at
all. Each number is the best of several tries: a limit is what was reached once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from frameworks import Framework
from shared_spec.race.rows import Reached

LARGE = {"float32": 1536, "float64": 1024}
"""Rows and columns of a large product."""
IN_CACHE, IN_MEMORY = {"cpu": 2**15, "cuda": 2**22}, 2**25
"""Values of an array that fits a core's cache, or, on a GPU, the one that its multiprocessors share; and of one that
fits none.
"""
FEW, MANY = 4, {"cpu": 64, "cuda": 1024}
"""How many operations wait for one another: of long ones and of short ones. To start a kernel and to wait for its end
takes so long that few steps inside it would not be seen.
"""
TRIES, SECONDS = 3, 0.03
"""How often each is tried at least, and for how long."""


def measure(framework: Framework, shapes: Iterable[tuple[int, int, int]], *, dtype: str, device: str) -> Reached:
    """What is reached in one dtype; in a step a product (n, h) (h, k), for each of the shapes (n, h, k)."""
    operations, wait = framework.peak, framework.runtime.wait

    def tensor(array: np.ndarray) -> Any:
        return framework.runtime.tensor(array, dtype=dtype, device=device)

    def best(operation: Callable[..., Any], *arrays: Any) -> float:
        """Seconds for one operation."""

        def turn(count: int) -> float:
            began = time.perf_counter()
            wait(operation(*arrays, count=count))
            return time.perf_counter() - began

        turn(FEW)
        count = FEW if turn(FEW) > SECONDS / 10 else MANY[device]
        tries, began = [turn(count)], time.perf_counter()
        while len(tries) < TRIES or time.perf_counter() - began < SECONDS:
            tries.append(turn(count))
        return min(tries) / count

    random, itemsize = np.random.RandomState(0), np.dtype(dtype).itemsize
    size = LARGE[dtype]
    steps = [
        (*shape, best(operations.products, tensor(random.standard_normal(shape[:2])), tensor(_turning(*shape[1:]))))
        for shape in shapes
    ]
    cached_values = IN_CACHE[device]
    cached, large = tensor(random.standard_normal(cached_values)), tensor(np.ones(IN_MEMORY))
    one = tensor(np.ones((1, 1)))
    square = best(operations.products, tensor(random.standard_normal((size, size))), tensor(_turning(size, size)))
    return Reached(
        product=2 * size**3 / square,
        function=cached_values / best(operations.functions, cached),
        cache=3 * itemsize * cached_values / best(operations.sums, cached, cached),
        memory=3 * itemsize * IN_MEMORY / best(operations.sums, large, large),
        issue=best(_issued, one),
        step=tuple(steps),
    )


def _issued(x: Any, *, count: int) -> Any:
    """An operation after the other, as a program issues them that is not compiled."""
    y = x
    for _ in range(count):
        y = y + x
    return y


def _turning(h: int, k: int) -> np.ndarray:
    """(h, k) whose first h columns turn a vector without making it longer or shorter, however often."""
    columns = np.random.RandomState(1).permutation(h)
    W = np.tile(np.eye(h)[:, columns], (1, -(-k // h)))[:, :k]
    return W.copy()
