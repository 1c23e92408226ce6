"""GRUs in plain NumPy, in the conventions of several packages: what a conversion has to give, said independently."""

from __future__ import annotations

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def states(X, W_x, W_h, b_x, b_h, *, after=True, gate=sigmoid, candidate=np.tanh, reverse=False):
    """The states (T, n, h) from a zero start; every argument by gate, "z", "r" and "n", W_x["z"] (d, h)."""
    H = np.zeros((X.shape[1], W_h["z"].shape[0]))
    made = []
    for x in X[::-1] if reverse else X:
        z = gate(x @ W_x["z"] + b_x["z"] + H @ W_h["z"] + b_h["z"])
        r = gate(x @ W_x["r"] + b_x["r"] + H @ W_h["r"] + b_h["r"])
        inner = r * (H @ W_h["n"] + b_h["n"]) if after else (r * H) @ W_h["n"] + b_h["n"]
        H = z * H + (1 - z) * candidate(x @ W_x["n"] + b_x["n"] + inner)
        made.append(H)
    return np.stack(made[::-1] if reverse else made)


def cut(array, order, axis=0):
    """Three blocks of one array, by gate."""
    return dict(zip(order, np.split(np.asarray(array, float), 3, axis), strict=True))


def of_torch(tensors, suffix="_l0", prefix=""):
    """The arguments of `states` from torch's tensors; a bias that is not there is zero."""
    W_x = {gate: block.T for gate, block in cut(tensors[f"{prefix}weight_ih{suffix}"], "rzn").items()}
    W_h = {gate: block.T for gate, block in cut(tensors[f"{prefix}weight_hh{suffix}"], "rzn").items()}
    zero = np.zeros(3 * W_h["z"].shape[0])
    biases = (cut(tensors.get(f"{prefix}bias_{kind}{suffix}", zero), "rzn") for kind in ("ih", "hh"))
    return W_x, W_h, *biases


def of_keras(kernel, recurrent_kernel, bias):
    """The arguments of `states` from Keras' tensors, with two rows of biases or one."""
    rows = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    return cut(kernel, "zrn", 1), cut(recurrent_kernel, "zrn", 1), cut(rows[0], "zrn"), cut(rows[1], "zrn")


def to_keras(tensors, suffix="_l0", prefix=""):
    """Keras' tensors from torch's."""

    def turned(name):
        r, z, n = np.split(tensors[f"{prefix}{name}{suffix}"], 3)
        return np.concatenate([z, r, n])

    return {
        "kernel": np.ascontiguousarray(turned("weight_ih").T),
        "recurrent_kernel": np.ascontiguousarray(turned("weight_hh").T),
        "bias": np.stack([turned("bias_ih"), turned("bias_hh")]),
    }


def torch_layer(d=3, h=4, suffix="_l0", prefix="", seed=0, bias=True, dtype="float32"):
    """Weights under torch's names."""
    random = np.random.RandomState(seed)
    shapes = {"weight_ih": (3 * h, d), "weight_hh": (3 * h, h)}
    shapes |= {"bias_ih": (3 * h,), "bias_hh": (3 * h,)} if bias else {}
    return {f"{prefix}{name}{suffix}": random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def torch_stack(d=3, h=4, layers=2, prefix="", seed=0, directions=("", "_reverse")):
    """Weights of torch.nn.GRU(num_layers=layers, bidirectional=True) under its names."""
    weights = {}
    for number in range(layers):
        for i, reverse in enumerate(directions):
            inputs = d if number == 0 else len(directions) * h
            weights |= torch_layer(inputs, h, f"_l{number}{reverse}", prefix, seed + 10 * number + i)
    return weights
