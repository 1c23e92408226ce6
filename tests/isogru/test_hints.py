"""Messages that end in something to do: it is done as they say, and helps. What can only be done outside is listed.

`follows` says which remedies a test follows, as they end the message, with {} for what is filled in.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import isogru
from shared_spec.errors import UserError
from tests.isogru import grus

ROOT = Path(__file__).parents[2]
FOLDERS = ("isogru/weight_files", "isogru/models", "shared_spec/weights")

# Another file is needed, or another copy of it: the program that made it is not here.
ANOTHER_FILE = """
copy all files of the model | copy both | copy it or save it again | copy it or save the model again | get it anew
copy or save it again | copy or save the checkpoint again | export it anew | export the model anew | save it again
it is truncated, get it anew | the file is damaged, get it anew | try again | save the model again
save the weights again | save the model without a password | save it with tf.train.Checkpoint or Saver
save the model again, into one file | save the model into one file | save it without | save the parameters alone
torch.load and torch.save it there again | save model.state_dict() alone | save the template with plain weights
export a model of plain tensors | export a model without shared weights | export the model with its weights as they are
rename it | rename one | rename one of them | save them under one name each | update isogru
pip install --upgrade torch
put a copy there, and save the model with its name | put it beside the model | put it there | put one there
"""
# Of functions that no command calls so, since it has looked before.
LOOKED_BEFORE = """
give a template of {} | give a template that has it | give it one axis | give {} | name one that it has
give narrower ones, or a template of that dtype | round them first | take a model of that size | it has {}
only a template of float32 and float64 is filled | use a template of the same layers in float32
use a template in float32 of which all tensors are their own | use another template | take less | {} has {}
fill the state dict of the model in float32 | write a .pt | {}
"""
# Nothing is to be done: the sentence says why.
REASONS = """
no GRU has one | the cells are {} | the cells have sigmoid and tanh alone, and no clip
weights are finite numbers | weights are floats | what can be read: {}
list it in `without` if the layer takes it for zero
"""


def remedies():
    """How messages end that are raised: what comes after the last semicolon."""
    endings = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for raised in ast.walk(ast.parse(path.read_text())):
            if isinstance(raised, ast.Raise):
                endings |= {text.rpartition("; ")[2] for text in texts(raised) if "; " in text}
    return endings


def texts(node):
    """The texts within a node, with {} for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        for part in node.values:
            yield from () if isinstance(part, ast.Constant) else texts(part)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for inner in ast.iter_child_nodes(node):
            yield from texts(inner)


def followed():
    """What the tests of this folder and of tests/models say that they follow."""
    endings = set()
    for path in (path for folder in ("isogru", "models") for path in (ROOT / "tests" / folder).glob("test_*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "follows":
                endings |= {each.value for each in call.args}
    return endings


def test_every_remedy_is_followed_or_lies_outside():
    listed = {each.strip() for text in (ANOTHER_FILE, LOOKED_BEFORE, REASONS) for each in re.split(r"[|\n]", text)}
    told = remedies()
    assert len(told) > 80
    assert sorted(told - listed - followed()) == []
    assert sorted((listed - {""} | followed()) - told) == []


def words(text):
    """A hint as options."""
    return shlex.split(text)


@pytest.mark.follows("--lossy writes that")
def test_a_cost_that_is_accepted(isogru, saved, tmp_path):
    given = ["convert", saved("one", grus.torch_layer()), "--to", "haiku", "-o", tmp_path / "out.safetensors"]
    refused = isogru(*given)
    option = re.search(r"; (--\w+) writes that$", refused.err.strip())[1]
    assert (isogru(*given, option).status, (tmp_path / "out.safetensors").exists()) == (0, True)


@pytest.mark.follows("lossy=True gives that")
def test_a_cost_that_is_accepted_in_python(saved):
    one = saved("one", grus.torch_layer())
    with pytest.raises(UserError) as error:
        isogru.convert(one, to="haiku")
    argument = re.search(r"; (\w+=True) gives that$", str(error.value))[1]
    assert eval(f"convert(one, to='haiku', {argument})", {"convert": isogru.convert, "one": one}).tensors


@pytest.mark.follows("choose layers with --layer and --to-layer, or --prefix and --to-prefix")
def test_opposite_directions_are_chosen_apart(isogru, saved, tmp_path):
    one = saved("one", {n: a for n, a in grus.torch_stack(layers=1, seed=1).items() if "reverse" not in n})
    both = saved("both", grus.torch_stack(layers=1))
    given = ["convert", both, "--into", one, "-o", tmp_path / "out.safetensors"]
    refused = isogru(*given, "--layer", "l0_reverse")
    assert refused.err.strip().endswith("choose layers with --layer and --to-layer, or --prefix and --to-prefix")
    assert isogru(*given, "--layer", "l0", "--to-layer", "l0").status == 0


@pytest.mark.follows("give the output an ending of its own, {}")
def test_the_ending_of_the_template(isogru, saved, tmp_path):
    np.savez(tmp_path / "template.npz", **grus.torch_layer(seed=1))
    given = ["convert", saved("one", grus.torch_layer()), "--into", tmp_path / "template.npz", "-o"]
    refused = isogru(*given, tmp_path / "out.safetensors")
    ending = refused.err.strip().rpartition("an ending of its own, ")[2].split(", ")[0]
    assert isogru(*given, tmp_path / f"out{ending}").status == 0


@pytest.mark.follows("into a file that is there: {}")
def test_every_ending_that_is_named_is_written(isogru, saved, tmp_path):
    one = saved("one", grus.torch_layer())
    refused = isogru("convert", one, "--to", "torch", "-o", tmp_path / "out.xyz").err
    endings = re.search(r"new files: (.*); into", refused)[1].split(", ")
    assert len(endings) > 8
    for ending in endings:
        if ending not in (".pt", ".pth", ".bin", ".ckpt"):  # They take PyTorch: tests/models.
            assert isogru("convert", one, "--to", "torch", "-o", tmp_path / f"out{ending}").status == 0, ending


@pytest.mark.follows("make the target with biases", "save the template in {}")
def test_a_template_that_holds_the_weights(isogru, saved, tmp_path):
    one = saved("one", grus.torch_layer(dtype="float64"))
    given = ["convert", one, "-o", tmp_path / "out.safetensors", "--into"]
    refused = isogru(*given, saved("narrow", grus.torch_layer(dtype="float32", seed=1))).err
    dtype = refused.strip().rpartition("save the template in ")[2]
    bare = saved("bare", grus.torch_layer(dtype=dtype, bias=False, seed=1))
    assert isogru(*given, bare).err.strip().endswith("make the target with biases")
    assert isogru(*given, saved("full", grus.torch_layer(dtype=dtype, bias=True, seed=1))).status == 0


@pytest.mark.follows("say of which with {}", "write TENSOR=NAME, such as W=onnx::GRU_30")
def test_names_are_told(isogru, saved):
    odd = saved("odd", {f"x.{i}": array for i, array in enumerate(grus.torch_layer().values())})
    hint = isogru("layers", odd).err
    options = words(re.search(r"by their shapes they could be (--from .*?)(?: \(or as|$)", hint)[1])
    assert options[:2] == ["--from", "torch"]
    assert isogru("layers", odd, *options).status == 0
    without = isogru("layers", odd, *options[2:]).err
    option = without.strip().rpartition("say of which with ")[2]
    assert isogru("layers", odd, option, "torch", *options[2:]).status == 0
    written = isogru("layers", odd, "--from", "torch", "--name", "weight_ih_l0").err
    own, _, name = written.strip().rpartition("such as ")[2].partition("=")
    onnx = saved("onnx", {name: np.zeros((1, 12, 3), "f"), "R": np.zeros((1, 12, 4), "f")})
    assert isogru("layers", onnx, "--from", "onnx", "--name", f"{own}={name}", "--name", "R=R").status == 0


def test_a_hint_by_shapes_says_what_it_cannot_tell(isogru, saved):
    """Of two biases of one shape the file does not say which is whose."""
    odd = saved("odd", {f"x.{i}": array for i, array in enumerate(grus.torch_layer(3, 4).values())})
    assert "where bias_ih_l0 is one of x.2, x.3; bias_hh_l0 is one of x.3, x.2" in isogru("layers", odd).err


@pytest.mark.follows("say which one with --prefix or --layer")
@pytest.mark.follows("save the one that is meant, as .npy")
def test_a_case_of_one_layer(isogru, saved, tmp_path):
    both, X = saved("both", grus.torch_stack(layers=1)), np.random.RandomState(0).standard_normal((5, 2, 3))
    np.savez(tmp_path / "two.npz", X=X, Y=X)
    given = ["--input", tmp_path / "X.npy", "-o", tmp_path / "case.safetensors"]
    np.save(tmp_path / "X.npy", X)
    no_stack = saved("no_stack", grus.torch_stack(layers=1, prefix="a.") | grus.torch_stack(layers=1, prefix="b."))
    for refused in ([no_stack], [both, "--reverse"]):
        assert "; say which one with --prefix or --layer" in isogru("case", "--weights", *refused, *given).err
    assert isogru("case", "--weights", no_stack, "--prefix", "b.", "--layer", "l0", *given).status == 0
    chosen = ["--weights", both, "--layer", "l0_reverse"]
    assert "as .npy" in isogru("case", *chosen, "--input", tmp_path / "two.npz", *given[2:]).err
    assert isogru("case", *chosen, *given).status == 0
    tensors = grus.torch_stack(layers=1)
    H = grus.states(X, *grus.of_torch(tensors, "_l0_reverse"), reverse=True)
    np.save(tmp_path / "H.npy", H.astype(np.float32))
    assert isogru("verdict", tmp_path / "case.safetensors", tmp_path / "H.npy").status == 0


@pytest.mark.follows("there are {}", "write --pair A=B, with both as isogru layers prints them", "give it one partner")
def test_layers_are_called_as_they_are_printed(isogru, saved):
    model = saved("model", grus.torch_stack(prefix="encoder."))
    for option in ("--layer", "--prefix"):
        told = isogru("same", model, model, option, "nothing").err.strip().rpartition("there are ")[2].split(", ")
        for each in told:
            assert isogru("same", model, model, option, each, f"--to-{option[2:]}", each).status == 0, each
    assert "write --pair A=B" in isogru("same", model, model, "--pair", "l0").err
    printed = [line.partition(":")[0].strip() for line in isogru("layers", model).out.splitlines()[1:]]
    assert len(printed) == 4
    told = isogru("same", model, model, "--pair", "no=no").err.strip().rpartition("there are ")[2].split(", ")
    assert told == printed
    pairs = [word for title in printed for word in ("--pair", f"{title}={title}")]
    assert isogru("same", model, model, *pairs).status == 0
    twice = isogru("same", model, model, *pairs, "--pair", f"{printed[0]}={printed[1]}").err
    assert "stands in two pairs; give it one partner" in twice


@pytest.mark.follows("write l0, l0_reverse, l1 and so on", "give it once for each layer")
@pytest.mark.follows("tell them apart with --to-layer")
def test_layers_to_write_are_numbered(isogru, saved, tmp_path):
    files = [saved(name, grus.torch_layer(seed=i)) for i, name in enumerate(("one", "two"))]
    given = ["convert", *files, "--to", "torch", "-o", tmp_path / "out.safetensors"]
    labels = [word for label in ("l0", "l0_reverse") for word in ("--to-layer", label)]
    assert "write l0, l0_reverse" in isogru(*given, "--to-layer", "first", "--to-layer", "second").err
    assert "give it once for each layer" in isogru(*given, "--to-layer", "l0").err
    assert "tell them apart with --to-layer" in isogru(*given, "--to-layer", "l0", "--to-layer", "l0").err
    assert isogru(*given, *labels).status == 0


@pytest.mark.follows("write to another file", "{}the layouts are {}")
def test_names_of_files_and_of_layouts(isogru, saved, tmp_path):
    one = saved("one", grus.torch_layer())
    assert "write to another file" in isogru("convert", one, "--to", "keras", "-o", one).err
    refused = isogru("convert", one, "--to", "kears", "-o", tmp_path / "out.safetensors").err
    near = re.search(r"do you mean ([\w-]+)\?", refused)[1]
    assert isogru("convert", one, "--to", near, "-o", tmp_path / "out.safetensors").status == 0
    for name in refused.strip().rpartition("the layouts are ")[2].split(", "):
        assert "no layout" not in isogru("layers", one, "--from", name).err, name


def test_turned_matrices_are_turned_back(isogru, saved, tmp_path):
    """Both remedies: of a file whose matrices are transposed, and of one that a transposed view has scrambled."""
    right = grus.torch_layer()
    one = saved("one", right)
    turned = saved("turned", {name: array.T for name, array in right.items()})
    code = re.search(r"\((numpy\.\w+\(a\.T\))\)", isogru("same", turned, one).err)[1]
    again = {n: eval(code, {"numpy": np, "a": a}) if a.ndim == 2 else a for n, a in load_file(turned).items()}
    save_file(again, turned)
    assert isogru("same", turned, one).status == 0
    matrix = right["weight_ih_l0"]
    scrambled = {**right, "weight_ih_l0": matrix.T.reshape(matrix.shape)}
    told = isogru("same", saved("scrambled", scrambled), one).out
    assert eval(
        re.search(r"save (numpy\.\w+\(a\.T\)) instead", told)[1], {"numpy": np, "a": matrix.T}
    ).flags.c_contiguous


def test_a_folder_names_a_file(isogru, tmp_path):
    np.savez(tmp_path / "gru.npz", **grus.torch_layer())
    file = isogru("layers", tmp_path).err.strip().rpartition("such as ")[2]
    assert isogru("layers", file).status == 0


def test_a_model_of_tensorflow_lite_is_known(isogru, tmp_path):
    (tmp_path / "gru.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(60))
    done = isogru("layers", tmp_path / "gru.tflite")
    assert (done.status, "; take the file that it was converted from; what can be read: " in done.err) == (2, True)
