"""What the readers' messages say to do, done with the package that they speak of."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import isogru
from isogru import weight_files
from shared_spec.errors import UserError
from tests.isogru import grus

LAYER = (3, 4)


def quietly(run):
    """Does what a framework warns of: Keras of a model that is not built, and NumPy of how Keras asks for copies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run()


def refused(path):
    with pytest.raises(UserError) as error:
        [tensor.load() for tensor in weight_files.read(path).tensors.values()]
    return str(error.value)


def keras_gru(*, built=True):
    keras = importlib.import_module("keras")
    model = keras.Sequential([keras.layers.GRU(LAYER[1])])
    if built:
        model.build((1, None, LAYER[0]))
    return model


@pytest.mark.follows("pip install {}")
@pytest.mark.parametrize("module", ["torch", "onnx", "h5py"])
def test_the_package_is_called_so(module, tmp_path, monkeypatch):
    """What pip is told to install is here under that name, and gives the module that is needed."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as error:
        weight_files.needs(module, tmp_path / "a", "a file")
    package = str(error.value).rpartition("pip install ")[2]
    assert module in {name for name, of in importlib.metadata.packages_distributions().items() if package in of}


def test_a_state_dict_is_saved(tmp_path, isogru):
    torch = importlib.import_module("torch")
    model = torch.nn.Sequential(torch.nn.GRU(*LAYER))
    torch.save(model, tmp_path / "model.pt")
    code = re.search(r"torch\.save\(.*\)", refused(tmp_path / "model.pt"))[0]
    exec(code, {"torch": torch, "model": model, "FILE": tmp_path / "state.pt"})
    assert isogru("layers", tmp_path / "state.pt").status == 0


@pytest.mark.follows("leave output out, and load .tensors")
def test_a_module_is_given_its_tensors(tmp_path):
    torch = importlib.import_module("torch")
    module = torch.nn.GRU(*LAYER)
    np.savez(tmp_path / "gru.npz", **grus.torch_layer(*LAYER))
    with pytest.raises(UserError, match=r"leave output out, and load \.tensors"):
        isogru.convert(tmp_path / "gru.npz", tmp_path / "out.pt", into=module)
    made = isogru.convert(tmp_path / "gru.npz", into=module).tensors
    module.load_state_dict({name: torch.from_numpy(array) for name, array in made.items()})
    assert isogru.same(tmp_path / "gru.npz", module).verdict == "the same"


@pytest.mark.follows("save it dense", "save it dense, on the cpu")
def test_a_tensor_is_saved_dense(tmp_path):
    torch = importlib.import_module("torch")
    sparse = quietly(lambda: torch.eye(3).to_sparse_csr())
    torch.save({"weight": sparse}, tmp_path / "sparse.pt")
    assert refused(tmp_path / "sparse.pt").endswith("save it dense, on the cpu")
    torch.save({"weight": sparse.to_dense().cpu()}, tmp_path / "dense.pt")
    (tensor,) = weight_files.read(tmp_path / "dense.pt").tensors.values()
    np.testing.assert_array_equal(tensor.load(), np.eye(3))


@pytest.mark.follows("what is written: {}")
def test_what_is_written_is(tmp_path, isogru):
    np.savez(tmp_path / "gru.npz", **grus.torch_layer(*LAYER))
    given = ["convert", tmp_path / "gru.npz", "--to", "torch", "-o"]
    endings = isogru(*given, tmp_path / "out.index").err.strip().rpartition("what is written: ")[2].split(", ")
    assert ".pt" in endings
    for ending in endings:
        assert isogru(*given, tmp_path / f"out{ending}").status == 0, ending


@pytest.mark.follows("build the model before it is saved")
def test_a_keras_model_is_built_first(tmp_path, isogru):
    model = keras_gru(built=False)
    quietly(lambda: model.save(tmp_path / "bare.keras"))
    told = isogru("same", tmp_path / "bare.keras", tmp_path / "bare.keras").err
    assert "build the model before it is saved" in told
    model.build((1, None, LAYER[0]))
    quietly(lambda: model.save(tmp_path / "built.keras"))
    assert isogru("same", tmp_path / "built.keras", tmp_path / "built.keras").status == 0


@pytest.mark.follows(
    'let the model save its weights into one, with model.save_weights("model.weights.h5")',
    "name such a one",
    "name the output as {} ends",
)
def test_keras_files_to_fill(tmp_path, isogru, monkeypatch):
    model = keras_gru()
    np.savez(tmp_path / "gru.npz", **grus.torch_layer(*LAYER))
    given = ["convert", tmp_path / "gru.npz", "-o", tmp_path / "out.weights.h5", "--into"]
    quietly(lambda: model.save_weights(tmp_path / "parts.weights.json", max_shard_size=1e-6))
    code = re.search(r"with (model\.save_weights\(.*\))", isogru(*given, tmp_path / "parts.weights.json").err)[1]
    monkeypatch.chdir(tmp_path)
    quietly(lambda: exec(code, {"model": model}))
    assert isogru(*given, tmp_path / "model.weights.h5").status == 0
    # Of a template of either kind, the ending that the message names.
    out = ["convert", tmp_path / "gru.npz", "--into", tmp_path / "model.weights.h5", "-o"]
    told = isogru(*out, tmp_path / "out.keras").err
    ending = re.search(r"a file that ends in (\.[\w.]+)", told)[1]
    assert isogru(*out, tmp_path / f"named{ending}").status == 0
    told = isogru(*out, tmp_path / "out.h5").err
    assert "name the output as model.weights.h5 ends" in told.replace(f"{tmp_path}/", "")
    assert isogru(*out, tmp_path / "as.weights.h5").status == 0


@pytest.mark.follows("there is {}")
def test_a_checkpoint_is_named_by_its_index(tmp_path, isogru):
    tf = importlib.import_module("tensorflow")
    layer = grus.torch_layer(*LAYER)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "gru"), tensor_names=list(layer), shape_and_slices=[""] * 4, tensors=list(layer.values())
    )
    file = isogru("layers", tmp_path / "gru").err.strip().rpartition("there is ")[2]
    assert isogru("layers", file).status == 0


@pytest.mark.follows("save the parameters with flax.serialization.to_bytes")
def test_parameters_of_flax_are_saved(tmp_path, isogru):
    serialization = importlib.import_module("flax.serialization")
    cell = {"params": {"cell": {}}}
    (tmp_path / "none.msgpack").write_bytes(serialization.to_bytes({"step": 3}))
    name = refused(tmp_path / "none.msgpack").rpartition("with ")[2]
    assert name == f"{serialization.__name__}.to_bytes"
    np.savez(tmp_path / "gru.npz", **grus.torch_layer(*LAYER))
    linen = importlib.import_module("flax.linen")
    jax = importlib.import_module("jax")
    cell = linen.GRUCell(LAYER[1]).init(jax.random.PRNGKey(0), np.zeros((1, LAYER[1])), np.zeros((1, LAYER[0])))
    (tmp_path / "cell.msgpack").write_bytes(getattr(serialization, name.rpartition(".")[2])(cell))
    assert isogru("layers", tmp_path / "cell.msgpack").status == 0


# The program leaves its file to Python to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("where", ["tree", "steps", "part of it"])
def test_arrays_of_orbax_are_written_anew(where, tmp_path, isogru, monkeypatch):
    """By the command that is named: one is run as it stands, of the others the program, here."""
    orbax = importlib.import_module("orbax.checkpoint")
    names = ("kernel", "recurrent_kernel", "bias")
    tree = {"gru": {name: grus.to_keras(grus.torch_layer(*LAYER))[name] for name in names}}
    if where == "steps":
        with orbax.CheckpointManager(tmp_path / "saved") as manager:
            for step in (9, 10):
                manager.save(step, args=orbax.args.StandardSave(tree))
            manager.wait_until_finished()
    else:
        with orbax.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "saved", tree)
    named = tmp_path / "saved" / "manifest.ocdbt" if where == "part of it" else tmp_path / "saved"
    told = isogru("layers", named).err.strip()
    command = shlex.split(told[told.index("python -c ") :])
    assert ("/10/" in command[-1]) == (where == "steps")
    if where == "part of it":
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, env=environment, capture_output=True, check=True)
    else:
        monkeypatch.chdir(tmp_path)
        exec(command[2], {})
    tensors = weight_files.read(tmp_path / "model.msgpack").tensors
    for name, array in tree["gru"].items():
        np.testing.assert_array_equal(tensors[f"gru/{name}"].load(), array)
    assert isogru("layers", tmp_path / "model.msgpack").status == 0


@pytest.mark.follows("copy what it gives into one, and name that")
def test_a_pipe_is_copied(tmp_path, isogru):
    np.savez(tmp_path / "gru.npz", **grus.torch_layer(*LAYER))
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe").endswith("copy what it gives into one, and name that")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "gru.npz").read_bytes()))
    thread.start()
    (tmp_path / "copy.npz").write_bytes((tmp_path / "pipe").read_bytes())
    thread.join()
    assert isogru("layers", tmp_path / "copy.npz").status == 0
