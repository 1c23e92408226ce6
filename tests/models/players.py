"""A model of each framework, as its users build it: saved in the framework's own formats, and loaded by its own loader.

Three kinds: "stack" is two layers one after the other, "both" is two in both directions, "bare" one without bias. All
take X (T, n, d) and give H (T, n, h), or (T, n, 2h).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from shared_spec.files import store

D, H, T, N = 3, 4, 6, 2
KINDS = ("stack", "both", "bare")


def problem():
    """X (T, n, d)."""
    return np.random.RandomState(7).standard_normal((T, N, D)).astype(np.float32)


def mxnet_files():
    """Where files for MXNet lie, whose environment is another one."""
    return store.folder() / "models"


MXNET = Path(__file__).parent / "files" / "mxnet"
"""Files that MXNet itself has saved."""


class Quiet:
    """A player whose framework may warn: of ways to save that are deprecated, and of its own parts."""

    def __init__(self, player):
        self.kinds, self.template, self._player = player.kinds, player.template, player

    def __getattr__(self, name):
        method = getattr(self._player, name)

        def call(*arguments):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return method(*arguments)

        return call


class Torch:
    """torch.nn.GRU inside a module."""

    kinds = KINDS
    template = ".pt"

    def build(self, kind, seed):
        import torch

        torch.manual_seed(seed)
        gru = torch.nn.GRU(D, H, num_layers=1 + (kind != "bare"), bidirectional=kind == "both", bias=kind != "bare")
        return torch.nn.ModuleDict({"rnn": gru, "head": torch.nn.Linear(H, 2)})

    def save(self, model, folder):
        import torch
        from safetensors.torch import save_file

        state = model.state_dict()
        torch.save(state, folder / "state.pt")
        torch.save({"epoch": 3, "model": state, "optimizer": {"state": {}, "param_groups": []}}, folder / "whole.pth")
        save_file(state, folder / "state.safetensors")
        torch.jit.script(model["rnn"]).save(folder / "script.pt")
        torch.export.save(torch.export.export(model["rnn"], (torch.zeros(T, N, D),)), folder / "export.pt2")
        return {name: [] for name in ("state.pt", "whole.pth", "state.safetensors", "script.pt", "export.pt2")}

    def load(self, model, file):
        import torch

        model.load_state_dict(torch.load(file, weights_only=True))

    def run(self, model, X):
        import torch

        with torch.no_grad():
            return model["rnn"](torch.from_numpy(X))[0].numpy()


class Onnx:
    """What PyTorch's exporter makes of torch.nn.GRU, run by ONNX Runtime."""

    kinds = KINDS
    template = ".onnx"

    def build(self, kind, seed):
        return {"torch": Torch().build(kind, seed)["rnn"]}

    def save(self, model, folder):
        import torch

        torch.onnx.export(
            model["torch"].eval(),
            (torch.zeros(T, N, D),),
            str(folder / "model.onnx"),
            dynamo=False,
            input_names=["X"],
            dynamic_axes={"X": {0: "T", 1: "n"}},
        )
        model["file"] = folder / "model.onnx"
        return {"model.onnx": []}

    def load(self, model, file):
        model["file"] = file

    def run(self, model, X):
        import onnxruntime

        return onnxruntime.InferenceSession(str(model["file"])).run(None, {"X": X})[0]


class Keras:
    """keras.layers.GRU, and Bidirectional, in a Sequential model."""

    kinds = KINDS
    template = ".weights.h5"

    def build(self, kind, seed):
        import keras

        keras.utils.set_random_seed(seed)

        def gru():
            return keras.layers.GRU(H, return_sequences=True, use_bias=kind != "bare", bias_initializer="random_normal")

        layers = [gru() for _ in range(1 + (kind != "bare"))]
        if kind == "both":
            layers = [keras.layers.Bidirectional(layer) for layer in layers]
        return keras.Sequential([keras.Input((None, D)), *layers])

    def save(self, model, folder):
        import tensorflow

        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        model.save(folder / "model.h5")
        tensorflow.train.Checkpoint(model).write(str(folder / "checkpoint"))
        bare = model.layers[0].get_config().get("use_bias") is False
        unsaid = ["--from", "keras"] if bare else []
        return {"model.keras": [], "model.weights.h5": unsaid, "model.h5": [], "checkpoint.index": unsaid}

    def load(self, model, file):
        model.load_weights(file)

    def run(self, model, X):
        return np.asarray(model(X.transpose(1, 0, 2))).transpose(1, 0, 2)


class Flax:
    """flax.linen.RNN over GRUCell, and Bidirectional."""

    kinds = ("stack", "both")
    template = ".msgpack"

    def build(self, kind, seed):
        import flax.linen as nn
        import jax

        def rnn(**options):
            return nn.RNN(nn.GRUCell(H, bias_init=nn.initializers.normal()), time_major=True, **options)

        both = kind == "both"
        layers = [nn.Bidirectional(rnn(), rnn(), time_major=True) if both else rnn() for _ in range(2)]
        module = nn.Sequential(layers)
        # Outside jit, each call would be compiled anew.
        return [jax.jit(module.apply), jax.jit(module.init)(jax.random.key(seed), np.zeros((T, N, D), np.float32))]

    def save(self, model, folder):
        import flax
        from safetensors.numpy import save_file

        (folder / "params.msgpack").write_bytes(flax.serialization.to_bytes(model[1]))
        for separator, name in (("/", "slash"), (".", "dot")):
            flat = flax.traverse_util.flatten_dict(model[1], sep=separator)
            save_file({key: np.ascontiguousarray(array) for key, array in flat.items()}, folder / f"{name}.safetensors")
        return {name: [] for name in ("params.msgpack", "slash.safetensors", "dot.safetensors")}

    def load(self, model, file):
        import flax

        model[1] = flax.serialization.from_bytes(model[1], file.read_bytes())

    def run(self, model, X):
        return np.asarray(model[0](model[1], X))


class Equinox:
    """equinox.nn.GRUCell, each with a loop of one's own."""

    kinds = ("stack", "bare")
    template = ".eqx"

    def build(self, kind, seed):
        import equinox
        import jax

        keys = jax.random.split(jax.random.key(seed), 2)
        sizes = [D, H] if kind == "stack" else [D]
        return [
            [equinox.nn.GRUCell(d, H, use_bias=kind != "bare", key=key) for d, key in zip(sizes, keys, strict=False)]
        ]

    def save(self, model, folder):
        import equinox

        equinox.tree_serialise_leaves(folder / "leaves.eqx", model[0])
        return {"leaves.eqx": []}

    def load(self, model, file):
        import equinox

        model[0] = equinox.tree_deserialise_leaves(file, model[0])

    def run(self, model, X):
        import jax

        for cell in model[0]:
            step = jax.vmap(cell)
            H_t, states = np.zeros((N, H), np.float32), []
            for x in X:
                H_t = step(x, H_t)
                states.append(np.asarray(H_t))
            X = np.stack(states)
        return X


class Mlx:
    """mlx.nn.GRU in a Sequential."""

    kinds = ("stack", "bare")
    template = ".safetensors"

    def build(self, kind, seed):
        import mlx.core as mx
        from mlx import nn

        mx.random.seed(seed)
        return nn.Sequential(*(nn.GRU(d, H, bias=kind != "bare") for d in ([D, H] if kind == "stack" else [D])))

    def save(self, model, folder):
        for name in ("weights.npz", "weights.safetensors"):
            model.save_weights(str(folder / name))
        return {"weights.npz": [], "weights.safetensors": []}

    def load(self, model, file):
        model.load_weights(str(file))

    def run(self, model, X):
        import mlx.core as mx

        return np.array(model(mx.array(X.transpose(1, 0, 2)))).transpose(1, 0, 2)


PLAYERS = {
    name: Quiet(player)
    for name, player in {
        "torch": Torch(), "onnx": Onnx(), "keras": Keras(), "flax": Flax(), "equinox": Equinox(), "mlx": Mlx(),
    }.items()
}  # fmt: skip
