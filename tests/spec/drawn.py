"""Random weights for any layout, for the tests of layouts and of conversions."""

from __future__ import annotations

import numpy as np

from shared_spec.cells import cell
from shared_spec.weights import layouts

ALL = [*layouts.layouts(), *layouts.own()]
D, H = 3, 4


def sized(name, h=H):
    """The layout of that name, for layers of h units, where its shapes do not tell how many they are."""
    layout = layouts.layout(name)
    return layout.of_units(h) if any(tensor.flat for tensor in layout.tensors.values()) else layout


def drawn(layout, dtype="float32", seed=0, d=D, h=H):
    """Random values for everything that a layout holds."""
    random = np.random.RandomState(seed)
    lengths = {"d": d, "h": h}
    parameters = cell(layout.cell).parameters
    return {
        name: random.standard_normal([lengths[s] for s in parameters[layout.second.get(name, name)]]).astype(dtype)
        for name in layout.holds
    }


def same_bits(one, two):
    return set(one) == set(two) and all(
        one[k].dtype == two[k].dtype and one[k].shape == two[k].shape and one[k].tobytes() == two[k].tobytes()
        for k in one
    )
