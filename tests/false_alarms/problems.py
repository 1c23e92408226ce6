"""Random problems: ordinary ones, and those at the ends of a precision."""

from __future__ import annotations

import numpy as np

from shared_spec.cells import cell, cells
from shared_spec.files.interchange import Case
from shared_spec.oracle import shapes_of_case

CELLS = tuple(cells())
LARGEST = float(np.finfo("float32").max)


def between(random, least, most):
    """A whole number, small ones as often as large ones."""
    return int(np.exp(random.uniform(np.log(least), np.log(most + 1))))


def sizes_of(random):
    """T, n, d and h: nine in ten small, some medium, a few long or wide."""
    luck = random.uniform()
    if luck < 0.94:
        most = (24, 4, 6, 12)
    elif luck < 0.985:
        most = (200, 6, 24, 40)
    elif luck < 0.9925:
        most = (2000, 2, 8, 16)
    else:
        most = (10, 3, 64, 512)
    return dict(zip("Tndh", (between(random, 1, each) for each in most), strict=True))


def drawn(random, name, sizes, *, sigma=None):
    """Arrays of a case: everything normal, weights N(0, sigma²/h)."""
    sigma = 10 ** random.uniform(-1, 0.5) if sigma is None else sigma
    arrays = {}
    for key, symbols in shapes_of_case(cell(name)).items():
        values = random.standard_normal([sizes[s] for s in symbols])
        if key.startswith("W"):
            values *= sigma / np.sqrt(sizes["h"])
        arrays[key] = np.tanh(values) if key == "H0" else values
    return arrays


def ordinary(random, name, sizes):
    return drawn(random, name, sizes)


def one_row(random, name, sizes):
    sizes = {**sizes, "n": 1, ("T", "d", "h")[random.randint(3)]: 1}
    return drawn(random, name, sizes)


def zero(random, name, sizes):
    arrays = drawn(random, name, sizes)
    return {key: array * (random.uniform() < 0.6) for key, array in arrays.items()}


def saturated(random, name, sizes):
    """Weights up to 10, biases up to 30."""
    arrays = drawn(random, name, sizes)
    for key in arrays:
        if key.startswith(("W", "b")):
            arrays[key] = random.uniform(-1, 1, arrays[key].shape) * (10 if key.startswith("W") else 30)
    return arrays


def cancelling(random, name, sizes):
    """Inputs in pairs whose weights all but cancel."""
    sizes = {**sizes, "d": 2 * sizes["d"], "h": 2 * ((sizes["h"] + 1) // 2)}
    arrays = drawn(random, name, sizes)
    near = 1 + 10 ** random.uniform(-7, -1)
    large = 10 ** random.uniform(0, 4)
    for key, array in arrays.items():
        if key.startswith("W"):
            array[1::2] = -near * array[: array.shape[0] // 2 * 2 : 2]
            arrays[key] = array * (large if "x" in key else 1)
    arrays["X"][..., 1::2] = arrays["X"][..., ::2]
    return arrays


def equal_rows(random, name, sizes):
    arrays = drawn(random, name, sizes)
    for key in ("X", "H0", "dH"):
        arrays[key][...] = arrays[key][..., :1, :]
    for key in arrays:
        if key.startswith("W") and random.uniform() < 0.5:
            arrays[key][...] = arrays[key][:, :1]
    return arrays


def start_at_one(random, name, sizes):
    arrays = drawn(random, name, sizes)
    arrays["H0"] = np.where(random.uniform(size=arrays["H0"].shape) < 0.7, 1.0, -1.0)
    for key in arrays:
        if key.startswith("b"):
            arrays[key] += random.uniform(-12, 12)
    return arrays


def denormal(random, name, sizes):
    """Some tensors next to the smallest normal number, or below it."""
    arrays = drawn(random, name, sizes)
    for key in arrays:
        if random.uniform() < 0.4:
            arrays[key] *= 10 ** random.uniform(-45, -34)
    return arrays


def vanishing(random, name, sizes):
    """Gradients that die away, of the last states alone."""
    sizes = {**sizes, "T": between(random, 30, 250), "h": min(sizes["h"], 16)}
    arrays = drawn(random, name, sizes, sigma=10 ** random.uniform(-1.5, -0.3))
    arrays["dH"][:-2] = 0
    for key in arrays:
        if key == "b_z":
            arrays[key] -= random.uniform(0, 4)
    return arrays


def exploding(random, name, sizes):
    """Gradients that grow from step to step."""
    sizes = {**sizes, "T": between(random, 4, 60), "h": max(4, min(sizes["h"], 40))}
    arrays = drawn(random, name, sizes, sigma=random.uniform(1.5, 5))
    arrays["dH"] *= 10 ** random.uniform(0, 38)
    return arrays


def overflowing(random, name, sizes):
    """Cotangents, and inputs at times, next to the largest number."""
    arrays = drawn(random, name, sizes)
    arrays["dH"] *= 10 ** random.uniform(18, 38.5)
    if random.uniform() < 0.4:
        key = ("X", "H0", "W_xh", "b_h")[random.randint(4)]
        arrays[key] *= 10 ** random.uniform(18, 38.5)
    return arrays


def chaotic(random, name, sizes):
    """States that part from step to step by a rounding error."""
    sizes = {**sizes, "T": between(random, 20, 400), "h": max(4, min(sizes["h"], 40))}
    arrays = drawn(random, name, sizes, sigma=random.uniform(2, 9))
    arrays["X"] *= random.uniform(0, 0.5)
    for key in arrays:
        if key.startswith("b"):
            arrays[key] *= 0.2
    return arrays


def adversarial(random, name, sizes):
    """Every tensor of a size of its own, from 1e-30 to 1e30."""
    arrays = drawn(random, name, sizes)
    wide = random.uniform(0, 30)
    return {key: array * 10 ** random.uniform(-wide, wide) for key, array in arrays.items()}


KINDS = {
    made.__name__.replace("_", " "): made
    for made in (
        ordinary,
        one_row,
        zero,
        saturated,
        cancelling,
        equal_rows,
        start_at_one,
        denormal,
        vanishing,
        exploding,
        overflowing,
        chaotic,
        adversarial,
    )
}


def problem(seed, number, kind=""):
    """The problem of that number, of kinds in turn, or of one kind: the kind, and the case."""
    random = np.random.RandomState([seed, number])
    kind = kind or tuple(KINDS)[number % len(KINDS)]
    name = CELLS[random.randint(len(CELLS))]
    arrays = KINDS[kind](random, name, sizes_of(random))
    arrays = {key: np.clip(a, -LARGEST, LARGEST).astype(np.float32).astype(np.float64) for key, a in arrays.items()}
    return kind, Case(f"{kind} {number}", cell(name), arrays)
