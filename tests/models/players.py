"""A model of each framework, as its users build it: saved in the framework's own formats, and loaded by its own loader.

Three kinds: "stack" is two layers one after the other, "both" is two in both directions, "bare" one without bias. All
take X (T, n, d) and give H (T, n, h), or (T, n, 2h). What each is saved in is by the name of the file what writes it:
the whole of it is written once, and of what is only filled the `template` alone.
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

    def save(self, model, folder):
        """All files of a model, each with the options that say what it leaves open."""
        return {self._save(model, folder, name): self._options(model, name) for name in self.files(model)}

    def save_template(self, model, folder):
        """The one that --into takes, and its options, which are about what is filled."""
        options = [word.replace("--from", "--to") for word in self._options(model, self.template)]
        return [self._save(model, folder, self.template), *options]

    def _save(self, model, folder, name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._player.files(model)[name](folder / name)
        return folder / name

    def _options(self, model, name):
        return self._player.options(model, name) if hasattr(self._player, "options") else []


class Torch:
    """torch.nn.GRU inside a module."""

    kinds = KINDS
    template = "state.pt"

    def build(self, kind, seed):
        import torch

        torch.manual_seed(seed)
        gru = torch.nn.GRU(D, H, num_layers=1 + (kind != "bare"), bidirectional=kind == "both", bias=kind != "bare")
        return torch.nn.ModuleDict({"rnn": gru, "head": torch.nn.Linear(H, 2)})

    def files(self, model):
        import torch
        from safetensors.torch import save_file

        state, rnn = model.state_dict(), model["rnn"]
        whole = {"epoch": 3, "model": state, "optimizer": {"state": {}, "param_groups": []}}
        return {
            "state.pt": lambda file: torch.save(state, file),
            "whole.pth": lambda file: torch.save(whole, file),
            "state.safetensors": lambda file: save_file(state, file),
            "script.pt": lambda file: torch.jit.script(rnn).save(file),
            "export.pt2": lambda file: torch.export.save(torch.export.export(rnn, (torch.zeros(T, N, D),)), file),
        }

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
    template = "model.onnx"

    def build(self, kind, seed):
        return {"torch": Torch().build(kind, seed)["rnn"]}

    def files(self, model):
        import torch

        def export(file):
            torch.onnx.export(
                model["torch"].eval(),
                (torch.zeros(T, N, D),),
                str(file),
                dynamo=False,
                input_names=["X"],
                dynamic_axes={"X": {0: "T", 1: "n"}},
            )
            model["file"] = file

        return {"model.onnx": export}

    def load(self, model, file):
        model["file"] = file

    def run(self, model, X):
        import onnxruntime

        return onnxruntime.InferenceSession(str(model["file"])).run(None, {"X": X})[0]


class Keras:
    """keras.layers.GRU, and Bidirectional, in a Sequential model."""

    kinds = KINDS
    template = "model.weights.h5"

    def build(self, kind, seed):
        import keras

        keras.utils.set_random_seed(seed)

        def gru():
            return keras.layers.GRU(H, return_sequences=True, use_bias=kind != "bare", bias_initializer="random_normal")

        layers = [gru() for _ in range(1 + (kind != "bare"))]
        if kind == "both":
            layers = [keras.layers.Bidirectional(layer) for layer in layers]
        return keras.Sequential([keras.Input((None, D)), *layers])

    def files(self, model):
        import tensorflow

        return {
            "model.keras": model.save,
            "model.weights.h5": model.save_weights,
            "model.h5": model.save,
            "checkpoint.index": lambda file: tensorflow.train.Checkpoint(model).write(str(file.with_suffix(""))),
        }

    def options(self, model, name):
        bare = model.layers[0].get_config().get("use_bias") is False
        return ["--from", "keras"] if bare and name in ("model.weights.h5", "checkpoint.index") else []

    def load(self, model, file):
        model.load_weights(file)

    def run(self, model, X):
        return np.asarray(model(X.transpose(1, 0, 2))).transpose(1, 0, 2)


class Flax:
    """flax.linen.RNN over GRUCell, and Bidirectional."""

    kinds = ("stack", "both")
    template = "params.msgpack"

    def build(self, kind, seed):
        import flax.linen as nn
        import jax

        from tests.models.flax_weights import variables_of

        def rnn(**options):
            return nn.RNN(nn.GRUCell(H), time_major=True, **options)

        both = kind == "both"
        layers = [nn.Bidirectional(rnn(), rnn(), time_major=True) if both else rnn() for _ in range(2)]
        module = nn.Sequential(layers)
        # Outside jit, each call would be compiled anew.
        return [jax.jit(module.apply), variables_of(module, np.zeros((T, N, D), np.float32), seed=seed)]

    def files(self, model):
        import flax
        from safetensors.numpy import save_file

        def flat(separator):
            leaves = flax.traverse_util.flatten_dict(model[1], sep=separator)
            return {key: np.ascontiguousarray(array) for key, array in leaves.items()}

        return {
            "params.msgpack": lambda file: file.write_bytes(flax.serialization.to_bytes(model[1])),
            "slash.safetensors": lambda file: save_file(flat("/"), file),
            "dot.safetensors": lambda file: save_file(flat("."), file),
        }

    def load(self, model, file):
        import flax

        model[1] = flax.serialization.from_bytes(model[1], file.read_bytes())

    def run(self, model, X):
        return np.asarray(model[0](model[1], X))


class Equinox:
    """equinox.nn.GRUCell, each with a loop of one's own."""

    kinds = ("stack", "bare")
    template = "leaves.eqx"

    def build(self, kind, seed):
        import equinox
        import jax

        keys = jax.random.split(jax.random.key(seed), 2)
        sizes = [D, H] if kind == "stack" else [D]
        return [
            [equinox.nn.GRUCell(d, H, use_bias=kind != "bare", key=key) for d, key in zip(sizes, keys, strict=False)]
        ]

    def files(self, model):
        import equinox

        return {"leaves.eqx": lambda file: equinox.tree_serialise_leaves(file, model[0])}

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
    template = "weights.safetensors"

    def build(self, kind, seed):
        import mlx.core as mx
        from mlx import nn

        mx.random.seed(seed)
        return nn.Sequential(*(nn.GRU(d, H, bias=kind != "bare") for d in ([D, H] if kind == "stack" else [D])))

    def files(self, model):
        return {name: lambda file: model.save_weights(str(file)) for name in ("weights.npz", "weights.safetensors")}

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
