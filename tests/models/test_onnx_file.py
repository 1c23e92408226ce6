"""ONNX models: what is read of their recurrent nodes runs as ONNX Runtime runs them; copies have the weights given."""

import os
import random
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from isogru.weight_files import onnx as reader
from isogru.weight_files.onnx import graph
from isogru.weight_files.onnx import values as onnx_values
from shared_spec.errors import InterchangeError, UserError

T, N, D, H = 5, 2, 3, 4
FLOATS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16}
ACTIVATIONS = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "hard_sigmoid(0.2, 0.5)": lambda a: np.clip(0.2 * a + 0.5, 0, 1),
    "hard_sigmoid(0.25, 0.4)": lambda a: np.clip(0.25 * a + 0.4, 0, 1),
    "leakyrelu(0.3)": lambda a: np.where(a < 0, 0.3 * a, a),
    "softsign": lambda a: a / (1 + np.abs(a)),
}


def weights(gates=3, directions=1, bias=True, seed=0, dtype="float32"):
    numbers = np.random.default_rng(seed)
    shapes = {"W": (directions, gates * H, D), "R": (directions, gates * H, H), "B": (directions, 2 * gates * H)}
    return {k: numbers.normal(size=s).astype(dtype) for k, s in shapes.items() if bias or k != "B"}


def info(name, shape, dtype="float32"):
    return helper.make_tensor_value_info(name, FLOATS[dtype], shape)


def output(name, dtype="float32"):
    return info(name, {"Y": [None] * 4, "Z": [None] * 4, "W": [None] * 3, "R": [None] * 3}.get(name), dtype)


def stored(arrays):
    return [
        numpy_helper.from_array(np.ascontiguousarray(a), k) if isinstance(a, np.ndarray) else a
        for k, a in arrays.items()
    ]


def model(nodes, arrays, outputs=("Y",), inputs=(), functions=(), opset=22, dtype="float32"):
    domains = {"": opset} | {node.domain: 1 for node in nodes if node.domain}
    graph = helper.make_graph(
        nodes, "g", [info("X", [T, N, D], dtype), *inputs], [output(n, dtype) for n in outputs], stored(arrays)
    )
    imports = [helper.make_opsetid(*item) for item in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)


def node(kind="GRU", inputs=("X", "W", "R", "B"), outputs=("Y",), name="", hidden_size=H, **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), name=name, hidden_size=hidden_size, **attributes)


def saved(path, proto):
    path.write_bytes(proto.SerializeToString())
    return path


def one(contents):
    (layer,) = contents.described
    return layer


def refused(path):
    (foreigner,) = reader.read(path).foreign
    assert not reader.read(path).described
    assert "\n" not in foreigner.what
    return foreigner.what


def ran(proto_or_path, outputs=None, **inputs):
    given = proto_or_path if isinstance(proto_or_path, (str, Path)) else proto_or_path.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def states(contents, layer, X):
    """What the layer does, written down from the text of the operator."""
    tensors = {role: contents.tensors[name].load()[layer.row].astype(float) for role, name in layer.tensors.items()}
    of = {role: ACTIVATIONS[layer.settings[role]] for role in ("gate", "candidate") if role in layer.settings}
    limit = float(layer.settings.get("clip", "inf"))

    def clipped(a):
        return np.clip(a, -limit, limit)

    gates = 1 if layer.layout == "onnx-rnn" else 3
    W, R = (np.split(tensors[role], gates) for role in "WR")
    Wb, Rb = np.split(tensors.get("B", np.zeros(2 * gates * H)).reshape(2, -1), 2)
    Wb, Rb = np.split(Wb[0], gates), np.split(Rb[0], gates)
    state, rows = np.zeros((X.shape[1], H)), []
    for x in X[::-1] if layer.reverse else X:
        part = [x @ W[i].T + Wb[i] for i in range(gates)]
        if gates == 1:
            state = of["candidate"](clipped(part[0] + state @ R[0].T + Rb[0]))
        else:
            z = of["gate"](clipped(part[0] + state @ R[0].T + Rb[0]))
            r = of["gate"](clipped(part[1] + state @ R[1].T + Rb[1]))
            inner = r * (state @ R[2].T + Rb[2]) if layer.layout == "onnx" else (r * state) @ R[2].T + Rb[2]
            state = (1 - z) * of["candidate"](clipped(part[2] + inner)) + z * state
        rows.append(state)
    return np.array(rows[::-1] if layer.reverse else rows)


def off(values, right):
    """The largest difference, relative to the largest number where that is more than 1."""
    return np.abs(values - right).max() / max(1, np.abs(right).max())


def given_input(seed=9):
    return np.random.default_rng(seed).normal(size=(T, N, D)).astype("float32")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("GRU", {}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"direction": "reverse"}),
        ("GRU", {"direction": "bidirectional", "linear_before_reset": 1}),
        ("GRU", {"clip": 0.3}),
        ("GRU", {"activations": ["HardSigmoid", "Tanh"]}),
        (
            "GRU",
            {
                "direction": "bidirectional",
                "activations": ["Sigmoid", "LeakyRelu", "HardSigmoid", "Softsign"],
                "activation_alpha": [0.3, 0.25],
                "activation_beta": [0.4],
            },
        ),
        ("RNN", {}),
        ("RNN", {"direction": "bidirectional", "activations": ["Relu", "Tanh"]}),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_node_is_read_as_it_runs(tmp_path, kind, attributes, bias):
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    arrays = weights(3 if kind == "GRU" else 1, directions, bias)
    inputs = ("X", "W", "R", "B") if bias else ("X", "W", "R")
    proto = model([node(kind, inputs, name="/net/layer", **attributes)], arrays)
    contents = reader.read(saved(tmp_path / "m", proto))
    X = given_input()
    (Y,) = ran(proto, X=X)
    assert [layer.row for layer in contents.described] == list(range(directions))
    for layer in contents.described:
        assert layer.place == "/net/layer"
        assert list(layer.tensors.values()) == list(arrays)
        assert off(states(contents, layer, X), Y[:, layer.row]) < 1e-6
    assert not contents.foreign


def test_attributes_are_told(tmp_path):
    arrays = weights()

    def read(**attributes):
        return one(reader.read(saved(tmp_path / "m", model([node(**attributes)], arrays))))

    assert read().settings == {"gate": "sigmoid", "candidate": "tanh", "time": "first", "linear_before_reset": "0"}
    assert (read().layout, read().place, read().reverse, read().row) == ("onnx-reset-before", "GRU_0", False, 0)
    assert read(linear_before_reset=1).layout == "onnx"
    assert read(linear_before_reset=1).settings["linear_before_reset"] == "1"
    assert read(layout=1).settings["time"] == "second"
    assert read(clip=3.0).settings["clip"] == "3.0"
    # By default the numbers are those of the operators.
    settings = read(activations=["hardsigmoid", "Elu"]).settings
    assert (settings["gate"], settings["candidate"]) == ("hard_sigmoid(0.2, 0.5)", "elu(1.0)")
    assert read(activations=["Affine", "Relu"], activation_alpha=[2.0]).settings["gate"] == "affine(2.0)"
    rnn = one(reader.read(saved(tmp_path / "r", model([node("RNN")], weights(1)))))
    assert (rnn.layout, rnn.settings) == ("onnx-rnn", {"candidate": "tanh", "time": "first"})


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"])
def test_floats_of_other_widths_are_exact(tmp_path, dtype, raw):
    import ml_dtypes

    narrow = np.dtype(dtype if dtype in FLOATS else getattr(ml_dtypes, dtype))
    arrays = {name: array.astype(narrow) for name, array in weights().items()}
    tensors = {k: numpy_helper.from_array(a, k) for k, a in arrays.items()}
    if not raw:
        for tensor in tensors.values():
            bits = tensor.raw_data
            tensor.ClearField("raw_data")
            if dtype == "float64":
                tensor.double_data.extend(np.frombuffer(bits))
            else:
                tensor.int32_data.extend(np.frombuffer(bits, f"u{narrow.itemsize}"))
    contents = reader.read(saved(tmp_path / "m", model([node()], tensors)))
    for name, array in arrays.items():
        tensor = contents.tensors[name]
        assert (tensor.dtype, tensor.shape, tensor.note) == (dtype, array.shape, "")
        wide = "float64" if dtype == "float64" else "float32"
        assert tensor.load().dtype == wide
        assert np.array_equal(tensor.load(), array.astype(wide))


def test_floats_as_a_list_are_read(tmp_path):
    arrays = weights()
    tensors = {k: helper.make_tensor(k, TensorProto.FLOAT, a.shape, a.reshape(-1)) for k, a in arrays.items()}
    assert tensors["W"].float_data
    contents = reader.read(saved(tmp_path / "m", model([node()], tensors)))
    assert np.array_equal(contents.tensors["R"].load(), arrays["R"])
    reader.fill(tmp_path / "m", tmp_path / "out", {"R": -arrays["R"]})
    assert np.array_equal(reader.read(tmp_path / "out").tensors["R"].load(), -arrays["R"])


# What stands between weights and their node -> the nodes, and the tensors that they take.
BETWEEN = {
    "Identity": (["Identity a", "Identity a2"], {}),
    "Transpose": (["Transpose perm=2,0,1"], {}),
    "Transpose by default": (["Transpose"], {}),
    "Unsqueeze": (["Unsqueeze axes", "Squeeze axes2"], {"axes": [0, -1], "axes2": [0]}),
    "Squeeze all": (["Unsqueeze axes", "Squeeze"], {"axes": [0, 2]}),
    "Reshape": (["Reshape lengths"], {"lengths": [0, -1]}),
    "Slice": (
        ["Slice starts ends axes steps"],
        {"starts": [2, -1], "ends": [6, -99], "axes": [2, 1], "steps": [2, -1]},
    ),
    "Slice to the end": (["Slice starts ends axes"], {"starts": [-3], "ends": [2**63 - 1], "axes": [-1]}),
    "Gather": (["Gather rows axis=1"], {"rows": [3, 0, -1, 2]}),
    "Split": (["Split lengths axis=2 outputs=2"], {"lengths": [2, 5]}),
    "Split in equal parts": (["Split num_outputs=2 outputs=2 axis=2"], {}),
    "Cast": ([f"Cast to={TensorProto.DOUBLE}", f"Cast to={TensorProto.FLOAT}"], {}),
    "Cast to float16": ([f"Cast to={TensorProto.FLOAT16}", f"Cast to={TensorProto.FLOAT}"], {}),
    "Cast to bfloat16": ([f"Cast to={TensorProto.BFLOAT16}", f"Cast to={TensorProto.FLOAT}"], {}),
}


def chain(steps, arrays, W):
    nodes, last = [], "W"
    for number, step in enumerate(steps):
        op, *words = step.split()
        attributes = {
            k: [*map(int, v.split(","))] if "," in v else int(v) for k, v in (w.split("=") for w in words if "=" in w)
        }
        outputs = [f"{last}'{n or ''}" for n in range(attributes.pop("outputs", 1))]
        inputs = [word for word in words if word in arrays]
        nodes.append(helper.make_node(op, [last, *inputs], outputs, f"n{number}", **attributes))
        last = outputs[-1]
    return nodes, last


@pytest.mark.parametrize("case", BETWEEN)
def test_what_nodes_make_of_weights_is_what_they_make_when_run(tmp_path, case):
    steps, lists = BETWEEN[case]
    W = np.random.default_rng(3).normal(size=(2, 4, 7)).astype("float32")
    # Halfway between two of bfloat16, and between two of float16.
    W[0, 0, :4] = 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11
    arrays = {"W": W} | {k: np.array(v, "int64") for k, v in lists.items()}
    nodes, last = chain(steps, arrays, W)
    # The layer does not fit, whatever comes out; the value does.
    proto = model([*nodes, helper.make_node("Identity", [last], ["V"])], arrays, ("V",))
    (right,) = ran(proto, X=given_input())
    value = scope_of(saved(tmp_path / "m", proto)).find(last)
    assert value.shape == right.shape
    assert value.dtype == "float32"
    assert np.array_equal(value.load(), right)


def scope_of(path):
    from isogru.weight_files.onnx.graph import Model

    proto, _ = reader._opened(path)
    leaves = {}

    def leaf_of(tensor, name):
        return leaves.setdefault(tensor.doc_string, reader.leaf(path, tensor, name))

    return Model(proto, leaf_of, str(path)).graph


def cut_and_joined(arrays):
    """W, R and B as an exporter leaves them to the graph: torch's gates r, z, n, cut, joined and given an axis."""
    nodes = [
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
    ]
    tensors = {}
    for role, array in arrays.items():
        parts = 6 if role == "B" else 3
        z, r, n, *second = np.split(array[0], parts)
        order = [r, z, n] + ([second[1], second[0], second[2]] if second else [])
        tensors[f"of_torch.{role}"] = np.concatenate(order)
        length = len(z)
        names = []
        for number in (1, 0, 2, 4, 3, 5)[:parts]:
            tensors |= {f"at{n}": np.array([n * length]) for n in (number, number + 1)}
            names.append(f"{role}{number}")
            nodes.append(
                helper.make_node("Slice", [f"of_torch.{role}", f"at{number}", f"at{number + 1}", "zero"], names[-1:])
            )
        nodes.append(helper.make_node("Concat", names, [f"{role}joined"], axis=0))
        nodes.append(helper.make_node("Unsqueeze", [f"{role}joined", "zero"], [role]))
    return nodes, tensors


def test_weights_that_the_graph_cuts_and_joins(tmp_path):
    arrays = weights()
    nodes, tensors = cut_and_joined(arrays)
    path = saved(tmp_path / "m", model([*nodes, node(name="gru")], tensors))
    contents = reader.read(path)
    layer = one(contents)
    assert layer.tensors == {role: f"gru.{role}" for role in arrays}
    # What they are made of has names that torch's layers have too, and is not there twice.
    assert not [name for name in contents.tensors if name.startswith("of_torch")]
    for role, name in layer.tensors.items():
        assert np.array_equal(contents.tensors[name].load(), arrays[role])
        assert contents.tensors[name].note == f"Slice, Concat, Unsqueeze (of_torch.{role})"
    # They are put back to where they came from.
    other = weights(seed=5)
    reader.fill(path, tmp_path / "out", {layer.tensors[role]: array for role, array in other.items()})
    contents = reader.read(tmp_path / "out")
    for role, name in layer.tensors.items():
        assert np.array_equal(contents.tensors[name].load(), other[role])
    X = given_input()
    assert off(states(contents, layer, X), ran(tmp_path / "out", X=X)[0][:, 0]) < 1e-6


@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
def test_weights_that_were_rounded_are_the_same_but_for_that(isogru, tmp_path, narrow):
    """As a model in half precision keeps them, with a Cast before the node; what is further off is not that."""
    arrays = weights()
    tensors = {f"{role}0": numpy_helper.from_array(array, f"{role}0") for role, array in arrays.items()}
    nodes = [
        helper.make_node("Cast", [f"{role}0"], [f"{role}1"], to=getattr(TensorProto, narrow.upper())) for role in arrays
    ]
    nodes += [helper.make_node("Cast", [f"{role}1"], [role], to=TensorProto.FLOAT) for role in arrays]
    rounded = saved(tmp_path / "rounded.onnx", model([*nodes, node(name="gru")], tensors))
    np.savez(tmp_path / "right.npz", **arrays)
    np.savez(tmp_path / "off.npz", **{**arrays, "W": arrays["W"] * np.float32(1.01)})
    asked = ("--to", "onnx-reset-before")
    done = isogru("same", rounded, tmp_path / "right.npz", *asked)
    assert (done.status, f"but for one rounding of a parameter to {narrow}" in done.out) == (0, True), done
    assert isogru("same", rounded, tmp_path / "off.npz", *asked).status == 1
    # A cast of W says nothing of R and B.
    wide = {role: array for role, array in tensors.items() if role != "W0"}
    alone = [each for each in nodes if each.output[0] in ("W1", "W")]
    tensors = {"W0": tensors["W0"], **{role[0]: numpy_helper.from_array(arrays[role[0]], role[0]) for role in wide}}
    one = saved(tmp_path / "one.onnx", model([*alone, node(name="gru")], tensors))
    assert isogru("same", one, tmp_path / "right.npz", *asked).status == 0
    np.savez(tmp_path / "further.npz", **{**arrays, "R": arrays["R"] * np.float32(1 + 1e-5)})
    assert isogru("same", one, tmp_path / "further.npz", *asked).status == 1


@pytest.mark.parametrize("kind", ["tensor", "row", "column", "block"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantised_as_it_runs(tmp_path, kind, dtype):
    numbers = np.random.default_rng(1)
    arrays = weights()
    quantised = {}
    nodes = []
    for role in "WR":
        whole = numbers.integers(0, 100, arrays[role].shape).astype(dtype)
        attributes = {"axis": {"row": 1, "column": 2}.get(kind, 1)}
        shape = {"tensor": (), "row": whole.shape[1:2], "column": whole.shape[2:]}.get(kind, (1, 4, whole.shape[2]))
        attributes |= {"block_size": 3} if kind == "block" else {}
        quantised[f"{role}q"] = whole
        quantised[f"{role}s"] = np.array(numbers.random(shape) / 50 + 0.001, "float32")
        quantised[f"{role}z"] = np.array(numbers.integers(1, 50, shape), dtype)
        if kind == "tensor":
            attributes = {}
        nodes.append(helper.make_node("DequantizeLinear", [f"{role}q", f"{role}s", f"{role}z"], [role], **attributes))
    proto = model([*nodes, node()], quantised | {"B": arrays["B"]}, ("Y", "W", "R"))
    contents = reader.read(saved(tmp_path / "m", proto))
    layer = one(contents)
    Y, *right = ran(proto, X=given_input())
    for role, array in zip("WR", right, strict=True):
        tensor = contents.tensors[layer.tensors[role]]
        assert np.array_equal(tensor.load(), array)
        assert tensor.note == f"dequantised from {dtype} ({role}q, {role}s, {role}z)"
    assert off(states(contents, layer, given_input()), Y[:, 0]) < 1e-6
    with pytest.raises(InterchangeError, match=r"GRU_0\.W does not stand in the file.*dequantised from"):
        reader.fill(tmp_path / "m", tmp_path / "out", {"GRU_0.W": right[0]})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("each", [True, False])
def test_a_quantised_layer_with_scales_beside(tmp_path, turned, each):
    numbers = np.random.default_rng(1)
    arrays, right = {"B": weights()["B"]}, {}
    for role, columns in (("W", D), ("R", H)):
        whole = numbers.integers(-100, 100, (1, 3 * H, columns)).astype("int8")
        scale = numbers.random((1, 3 * H) if each else (1,)).astype("float32")
        zero = numbers.integers(-9, 9, scale.shape).astype("int8")
        zeros, scales = (a.astype("float32").reshape(1, -1, 1) for a in (zero, scale))
        right[role] = (whole - zeros) * scales
        arrays |= {role: whole.swapaxes(1, 2) if turned else whole, f"{role}s": scale, f"{role}z": zero}
    inputs = ["X", "W", "R", "B", "", "", "Ws", "Wz", "Rs", "Rz"]
    quantised = node("DynamicQuantizeGRU", inputs, domain="com.microsoft", linear_before_reset=1)
    contents = reader.read(saved(tmp_path / "m", model([quantised], arrays)))
    layer = one(contents)
    assert (layer.place, layer.layout) == ("DynamicQuantizeGRU_0", "onnx")
    for role, array in right.items():
        tensor = contents.tensors[layer.tensors[role]]
        assert np.array_equal(tensor.load(), array)
        assert tensor.note.startswith("dequantised from int8")


def in_if(place, arrays):
    def branch(nodes, arrays):
        return helper.make_graph(nodes, "b", [], [output("Y")], stored(arrays))

    then = branch([node(inputs=("X", "W", "R", "inner"), name=place)], {"inner": arrays["B"]})
    other = branch([helper.make_node("Unsqueeze", ["X", "one"], ["Y"])], {"one": np.array([1])})
    return helper.make_node("If", ["yes"], ["Y"], "choice", then_branch=then, else_branch=other)


def test_layers_inside_of_nodes(tmp_path):
    arrays = weights()
    outside = {"W": arrays["W"], "R": arrays["R"], "yes": np.array(True)}
    proto = model([in_if("gru", arrays)], outside)
    contents = reader.read(saved(tmp_path / "m", proto))
    layer = one(contents)
    assert (layer.place, layer.tensors) == ("choice/gru", {"W": "W", "R": "R", "B": "inner"})
    assert off(states(contents, layer, given_input()), ran(proto, X=given_input())[0][:, 0]) < 1e-6
    reader.fill(tmp_path / "m", tmp_path / "out", {"inner": 2 * arrays["B"]})
    assert np.array_equal(reader.read(tmp_path / "out").tensors["inner"].load(), 2 * arrays["B"])


def test_two_branches_may_use_the_same_name(tmp_path):
    branches = []
    for seed in (1, 2):
        arrays = weights(seed=seed)
        branches.append(helper.make_graph([node(name="gru")], "b", [], [output("Y")], stored(arrays)))
    choice = helper.make_node("If", ["yes"], ["Y"], "choice", then_branch=branches[0], else_branch=branches[1])
    contents = reader.read(saved(tmp_path / "m", model([choice], {"yes": np.array(True)})))
    assert [layer.place for layer in contents.described] == ["choice/gru", "choice/gru (2)"]
    # In the order of the file, where else_branch comes first.
    for layer, seed in zip(contents.described, (2, 1), strict=True):
        assert np.array_equal(contents.tensors[layer.tensors["R"]].load(), weights(seed=seed)["R"])


def test_weights_that_a_loop_carries_are_no_weights(tmp_path):
    arrays = weights()
    body = helper.make_graph(
        [node(inputs=("X", "w", "R", "B"), outputs=("", "h")), helper.make_node("Identity", ["c"], ["c2"])],
        "b",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            info("w", None),
        ],
        [helper.make_tensor_value_info("c2", TensorProto.BOOL, []), info("w2", None)],
    )
    body.node.append(helper.make_node("Identity", ["w"], ["w2"]))
    loop = helper.make_node("Loop", ["n", "", "W"], ["Y"], "loop", body=body)
    path = saved(tmp_path / "m", model([loop], arrays | {"n": np.array(3)}))
    assert refused(path) == "a GRU whose W is not in the file: it is given when the model runs"


def test_layers_inside_of_functions(tmp_path):
    inner = helper.make_node("GRU", ["x", "w", "r", "b"], ["y"], name="gru")
    for name, kind in (("hidden_size", onnx.AttributeProto.INT), ("linear_before_reset", onnx.AttributeProto.INT)):
        inner.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name, type=kind))
    function = helper.make_function(
        "own", "Layer", ["x", "w", "r", "b"], ["y"], [inner], [helper.make_opsetid("", 22)], attributes=["hidden_size"],
        attribute_protos=[helper.make_attribute("linear_before_reset", 1)],
    )  # fmt: skip
    arrays = weights() | {f"{k}2": a for k, a in weights(seed=2).items()}
    calls = [
        helper.make_node("Layer", ["X", "W", "R", "B"], ["Y"], "first", domain="own", hidden_size=H),
        helper.make_node(
            "Layer", ["X", "W2", "R2", "B2"], ["Z"], "second", domain="own", hidden_size=H, linear_before_reset=0
        ),
    ]
    proto = model(calls, arrays, ("Y", "Z"), functions=[function])
    contents = reader.read(saved(tmp_path / "m", proto))
    assert [layer.place for layer in contents.described] == ["first/gru", "second/gru"]
    assert [layer.layout for layer in contents.described] == ["onnx", "onnx-reset-before"]
    for layer, Y in zip(contents.described, ran(proto, X=given_input()), strict=True):
        assert off(states(contents, layer, given_input()), Y[:, 0]) < 1e-6


def test_constants_are_weights(tmp_path):
    arrays = weights()
    nodes = [
        helper.make_node("Constant", [], [k], value=numpy_helper.from_array(a)) for k, a in arrays.items() if k != "B"
    ]
    nodes.append(helper.make_node("ConstantOfShape", ["shape"], ["B"], value=numpy_helper.from_array(np.zeros(1, "f"))))
    path = saved(tmp_path / "m", model([*nodes, node()], {"shape": np.array([1, 6 * H])}))
    contents = reader.read(path)
    layer = one(contents)
    assert layer.tensors == {"W": "W", "R": "R", "B": "GRU_0.B"}
    assert np.array_equal(contents.tensors["R"].load(), arrays["R"])
    assert np.array_equal(contents.tensors["GRU_0.B"].load(), np.zeros((1, 6 * H)))
    reader.fill(path, tmp_path / "out", {"W": arrays["W"] + 1})
    assert np.array_equal(reader.read(tmp_path / "out").tensors["W"].load(), arrays["W"] + 1)


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


def test_what_no_layout_has_is_named(tmp_path):
    arrays = weights()

    def said(arrays, *nodes, **given):
        return refused(saved(tmp_path / "m", model([*nodes], arrays, **given)))

    entered = [info("W", [1, 3 * H, D])]
    assert said(without(arrays, "W"), node(), inputs=entered) == (
        "a GRU whose W is not in the file: it is given when the model runs"
    )
    add = helper.make_node("Add", ["W", "W"], ["V"])
    assert said(arrays, add, node(inputs=("X", "V", "R"))) == "a GRU whose W is computed by Add"
    assert said(arrays, node(inputs=("X", "W"))) == "a GRU without R"
    assert said(arrays, node(hidden_size=5)) == (
        "a GRU whose W is (1, 12, 3) and should be (1, 15, 3), by its attributes"
    )
    assert said(arrays, node(direction="bidirectional")).startswith("a GRU whose W is (1, 12, 3) and should be (2,")
    assert said(arrays, node(direction="up\n")) == "a GRU of the direction up\\n"
    assert said(arrays, node(activations=["Tanh"])) == "a GRU with 1 activations, which should be 2"
    assert said(arrays | {"W": arrays["W"].astype("int8")}, node()) == "a GRU whose W is int8"
    assert said(weights(4), node("LSTM")) == "an LSTM"
    assert said(weights(4), node("DynamicQuantizeLSTM", domain="com.microsoft")) == "an LSTM"
    assert said(weights(), node("MyGRU", domain="own")) == "a GRU of another kind, own.MyGRU"
    assert said(weights(), node("RNN")).startswith("an RNN whose W is (1, 12, 3)")
    circle = [helper.make_node("Identity", [a], [b]) for a, b in (("a", "b"), ("b", "a"))]
    assert said(arrays, *circle, node(inputs=("X", "a", "R"))) == "a GRU whose W is computed in more than 60 steps"
    empty = helper.make_node("Constant", [], ["V"])
    empty.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR))
    assert said(arrays, empty, node(inputs=("X", "V", "R"))) == "a GRU whose W is a constant without a value"
    other = helper.make_node("Squeeze", ["W", "R"], ["V"])
    assert "does not fit" in said(arrays, other, node(inputs=("X", "V", "R")))


def test_small_files_make_no_large_tensors(tmp_path):
    grown = [helper.make_node("ConstantOfShape", ["shape"], ["V"])]
    doubled = [helper.make_node("Concat", [f"d{n}"] * 2, [f"d{n + 1}"], axis=0) for n in range(30)]
    gathered = [helper.make_node("Gather", ["W", "rows"], ["V"], axis=1)]
    spread = [helper.make_node("DequantizeLinear", ["q", "s"], ["V"], axis=1, block_size=2**40)]
    arrays = weights() | {
        "shape": np.array([2**15, 2**15, 2**10]), "d0": np.zeros((1, 2), "f"), "rows": np.zeros(2**19, "int64"),
        "q": np.zeros((1, 3 * H, D), "int8"), "s": np.ones((1, 1, D), "f"),
    }  # fmt: skip
    cases = ((grown, "V", "not fit"), (doubled, "d30", "more than 1000 pieces"), (gathered, "V", "that makes"))
    for nodes, name, reason in cases:
        path = saved(tmp_path / "m", model([*nodes, node(inputs=("X", name, "R"))], arrays))
        tracemalloc.start()
        assert reason in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()
    contents = reader.read(saved(tmp_path / "m", model([*spread, node(inputs=("X", "V", "R"))], arrays)))
    tracemalloc.start()
    assert contents.tensors["GRU_0.W"].load().shape == (1, 3 * H, D)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_functions_that_call_themselves(tmp_path, monkeypatch):
    # So many as there may be take seconds.
    monkeypatch.setattr(graph, "MOST_UNROLLED", 2000)

    def calls(name, count):
        return [helper.make_node(name, ["x"], [f"y{n}"], domain="own") for n in range(count)]

    opsets = [helper.make_opsetid("own", 1)]
    own = helper.make_function("own", "F", ["x"], ["y0"], calls("F", 1), opsets)
    path = saved(tmp_path / "m", model(calls("F", 1), weights(), functions=[own]))
    with pytest.raises(InterchangeError, match="within each other without end"):
        reader.read(path)
    rows = [helper.make_function("own", f"F{n}", ["x"], ["y0"], calls(f"F{n + 1}", 9), opsets) for n in range(7)]
    path = saved(tmp_path / "m", model(calls("F0", 1), weights(), functions=rows))
    with pytest.raises(InterchangeError, match="too many to unroll"):
        reader.read(path)


def beside(folder, arrays, location="w.bin"):
    """A model whose data lie in another file."""
    tensors, data = {}, b""
    for name, array in arrays.items():
        tensor = numpy_helper.from_array(array, name)
        entries = {"location": location, "offset": str(len(data)), "length": str(array.nbytes)}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensors[name] = tensor
        data += array.tobytes()
    (folder / "w.bin").write_bytes(data)
    return saved(folder / "m.onnx", model([node()], tensors))


def test_data_beside_the_model(tmp_path):
    arrays = weights()
    path = beside(tmp_path, arrays)
    contents = reader.read(path)
    assert {name: contents.tensors[name].shape for name in arrays} == {name: a.shape for name, a in arrays.items()}
    for name, array in arrays.items():
        assert np.array_equal(contents.tensors[name].load(), array)
    (tmp_path / "elsewhere").mkdir()
    reader.fill(path, tmp_path / "elsewhere" / "out.onnx", {"R": -arrays["R"]})
    (tmp_path / "w.bin").unlink()
    filled = reader.read(tmp_path / "elsewhere" / "out.onnx")
    assert np.array_equal(filled.tensors["R"].load(), -arrays["R"])
    assert np.array_equal(filled.tensors["W"].load(), arrays["W"])
    assert off(states(filled, one(filled), given_input()), ran(filled.path, X=given_input())[0][:, 0]) < 1e-6


def test_data_beside_the_model_that_are_not_there(tmp_path):
    arrays = weights()
    contents = reader.read(beside(tmp_path, arrays))
    data = tmp_path / "w.bin"
    data.write_bytes(data.read_bytes()[:-1])
    assert contents.tensors["W"].load().shape == arrays["W"].shape
    with pytest.raises(InterchangeError, match=r"tensor B takes 96 bytes from byte 336 on of .*w\.bin, which has 431"):
        contents.tensors["B"].load()
    data.unlink()
    with pytest.raises(InterchangeError, match=r"tensor B has its data in .*w\.bin, which is missing"):
        contents.tensors["B"].load()
    os.mkfifo(data)
    with pytest.raises(InterchangeError, match="no regular file"):
        contents.tensors["B"].load()


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "link", "folder/../../w.bin", "C:\\w", "..\\w", "", "a\0b", "loop"]
)
def test_data_outside_of_the_folder(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    (folder / "link").symlink_to(tmp_path / "w.bin")
    (folder / "loop").symlink_to(folder / "loop")
    path = beside(folder, weights(), location)
    with pytest.raises(InterchangeError) as refusal:
        reader.read(path).tensors["W"].load()
    assert str(refusal.value).startswith(f"{path}: tensor W")
    assert "not in the model's folder" in str(refusal.value) or location in ("a\0b", "loop")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(("key", "value"), [("offset", "-1"), ("length", "3"), ("offset", "x"), ("length", "9" * 30)])
def test_data_beside_that_do_not_fit(tmp_path, key, value):
    path = beside(tmp_path, weights())
    proto = onnx.load(path, load_external_data=False)
    entry = next(entry for entry in proto.graph.initializer[0].external_data if entry.key == key)
    entry.value = value
    with pytest.raises(InterchangeError, match="tensor W"):
        reader.read(saved(path, proto)).tensors["W"].load()


def test_only_the_layer_is_read_of_a_large_model(tmp_path):
    arrays = weights() | {"large": np.zeros(2**24, "float32")}
    path = saved(tmp_path / "m", model([node()], arrays))
    tracemalloc.start()
    contents = reader.read(path)
    for name in one(contents).tensors.values():
        contents.tensors[name].load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert contents.tensors["large"].load().nbytes == 2**26


def test_initializers_are_replaced_and_nothing_else(tmp_path):
    arrays = {"onnx::GRU_30": weights()["W"], "onnx::GRU_31": weights()["R"], "onnx::GRU_32": weights()["B"]}
    proto = model([node(inputs=("X", *arrays), name="/gru/GRU")], arrays | {"fc.weight": np.ones((2, 4), "f")})
    proto.metadata_props.add(key="author", value="me")
    path = saved(tmp_path / "m.onnx", proto)
    before = path.read_bytes()
    contents = reader.read(path)
    assert contents.metadata == {"author": "me"}
    assert one(contents).tensors == dict(zip("WRB", arrays, strict=True))
    assert list(contents.tensors) == [*arrays, "fc.weight"]
    other = {name: array[::-1, ::-1] * 2 for name, array in arrays.items()}
    reader.fill(path, tmp_path / "out.onnx", other)
    assert path.read_bytes() == before
    right = onnx.ModelProto.FromString(before)
    for tensor in right.graph.initializer[:3]:
        tensor.raw_data = np.ascontiguousarray(other[tensor.name]).tobytes()
    assert onnx.load(tmp_path / "out.onnx") == right
    onnx.checker.check_model(str(tmp_path / "out.onnx"))
    filled = reader.read(tmp_path / "out.onnx")
    Y = ran(tmp_path / "out.onnx", X=given_input())[0]
    assert off(states(filled, one(filled), given_input()), Y[:, 0]) < 1e-6


def test_what_cannot_be_filled(tmp_path):
    arrays = weights()
    path = saved(tmp_path / "m", model([node()], arrays))

    def says(template, **tensors):
        with pytest.raises(InterchangeError) as refusal:
            reader.fill(template, tmp_path / "out", tensors)
        assert not (tmp_path / "out").exists()
        assert str(refusal.value).startswith(f"{template}: ")
        return str(refusal.value)

    assert "has no tensor V" in says(path, V=arrays["W"])
    assert "W is (1, 12, 3) and would be filled with (12, 3)" in says(path, W=arrays["W"][0])
    assert "W cannot be filled: float32 does not hold the values" in says(path, W=arrays["W"].astype("float64") + 1e-12)
    # float64 that are float32 do fit.
    reader.fill(path, tmp_path / "out", {"W": arrays["W"].astype("float64")})
    (tmp_path / "out").unlink()
    half = {name: array.astype("float16") for name, array in arrays.items()}
    narrow = saved(tmp_path / "half", model([node()], half))
    assert "float16 does not hold" in says(narrow, W=arrays["W"])
    assert "float16 does not hold" in says(narrow, W=np.full_like(arrays["W"], 1e6))
    reader.fill(narrow, tmp_path / "out", {"W": -half["W"].astype("float32")})
    assert np.array_equal(reader.read(tmp_path / "out").tensors["W"].load(), -half["W"])
    (tmp_path / "out").unlink()
    nodes = [helper.make_node("Concat", ["half", "half"], ["W"], axis=1)]
    path = saved(
        tmp_path / "twice", model([*nodes, node(name="g")], without(arrays, "W") | {"half": arrays["W"][:, :6]})
    )
    assert "g.W shares elements" in says(path, **{"g.W": arrays["W"]})
    reader.fill(path, tmp_path / "out", {"g.W": np.concatenate([arrays["W"][:, :6]] * 2, 1)})
    (tmp_path / "out").unlink()
    wrong = model([node(), node()], arrays)
    assert "onnx.checker does not pass it" in says(saved(tmp_path / "wrong", wrong), W=arrays["W"])


def test_bfloat16_is_filled(tmp_path):
    import ml_dtypes

    arrays = {name: array.astype(ml_dtypes.bfloat16) for name, array in weights().items()}
    path = saved(tmp_path / "m", model([node()], arrays))
    other = (arrays["W"] * 2).astype("float32")
    reader.fill(path, tmp_path / "out", {"W": other})
    (W, *_) = onnx.load(tmp_path / "out").graph.initializer
    assert np.array_equal(numpy_helper.to_array(W).astype("float32"), other)


def test_a_model_is_known_by_its_content(tmp_path):
    proto = model([node()], weights())
    proto.producer_name = "pytorch"
    head = proto.SerializeToString()[:4096]
    assert reader.recognises(head, tmp_path / "whatever")
    assert reader.recognises(head[:100], tmp_path / "truncated")
    # A SavedModel of TensorFlow, CoreML, text, pickles, archives, nothing much.
    for other in (
        b"\x08\x01\x12\x80\x20\x0a\x10\x12\x0e" + bytes(50), b"\x08\x04\x12\x20\x0a\x05input" + bytes(50),
        b"\x08\x07", b"\x08", b"\x08\x00\x12\x00", b"\x80\x04\x95", b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF", b"text",
        bytes(100), b"\x08" * 100,
    ):  # fmt: skip
        assert not reader.recognises(other, tmp_path / "other")


def test_two_initializers_of_one_name(tmp_path):
    proto = model([node()], weights())
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "W"))
    with pytest.raises(InterchangeError, match="two initializers have the name W"):
        reader.read(saved(tmp_path / "m", proto))


def test_names_with_lines_and_escape_codes_stay_in_their_line(tmp_path):
    name = "W\n\x1b[31m"
    tensor = numpy_helper.from_array(weights()["W"], name)
    tensor.raw_data = tensor.raw_data[:-1]
    with pytest.raises(InterchangeError) as refusal:
        reader.read(saved(tmp_path / "m", model([node()], {name: tensor})))
    assert str(refusal.value).isprintable()
    assert "143 bytes" in str(refusal.value)


def test_an_empty_model(tmp_path):
    path = saved(tmp_path / "m", onnx.ModelProto(ir_version=8, producer_name="nobody"))
    with pytest.raises(InterchangeError, match="without a graph"):
        reader.read(path)


@pytest.mark.parametrize("kind", ["cut", "beside", "inside"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, kind):
    arrays = weights()
    if kind == "cut":
        nodes, tensors = cut_and_joined(arrays)
        path = saved(tmp_path / "m", model([*nodes, node(activations=["HardSigmoid", "Tanh"])], tensors))
    elif kind == "beside":
        path = beside(tmp_path, arrays)
    else:
        outside = {"W": arrays["W"], "R": arrays["R"], "yes": np.array(True)}
        path = saved(tmp_path / "m", model([in_if("gru", arrays)], outside))
    whole = path.read_bytes()
    numbers = random.Random(1)
    damaged = [whole[: len(whole) * n // 20] for n in range(1, 20)]
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[numbers.randrange(len(whole))] ^= 1 << numbers.randrange(8)
        damaged.append(bytes(flipped))
    refusals = []
    for content in damaged:
        path.write_bytes(content)
        reader.recognises(content[:4096], path)
        try:
            contents = reader.read(path)
            for tensor in contents.tensors.values():
                assert tensor.load().shape == tensor.shape
        except UserError as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 20
    assert all(said.startswith(f"{path}: ") and said.isprintable() for said in refusals)


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    path = saved(tmp_path / "m", model([node()], weights()))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"pip install onnx$"):
        reader.read(path)


@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}, {"bias": False}, {"batch_first": True}]
)
def test_what_torch_exports(tmp_path, folding, options):
    import torch

    torch.manual_seed(0)
    layer = torch.nn.GRU(D, H, **options).eval()
    X = torch.from_numpy(given_input())
    path = tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = X.swapaxes(0, 1) if options.get("batch_first") else X
        torch.onnx.export(layer, (given,), str(path), dynamo=False, do_constant_folding=folding)
    contents = reader.read(path)
    directions = 2 if options.get("bidirectional") else 1
    assert [entry.place for entry in contents.described] == [
        place for place in ["/GRU", "/GRU_1"][: options.get("num_layers", 1)] for _ in range(directions)
    ]
    sequence = X.numpy()
    for first in range(0, len(contents.described), directions):
        assert all(entry.layout == "onnx" for entry in contents.described)
        both = contents.described[first : first + directions]
        sequence = np.concatenate([states(contents, entry, sequence) for entry in both], -1)
    with torch.no_grad():
        right = layer(given)[0].numpy()
    assert off(sequence, (right.swapaxes(0, 1) if options.get("batch_first") else right)) < 1e-6
    # A copy with twice the weights is that GRU, however the exporter left them.
    twice = {name: 2 * contents.tensors[name].load() for entry in contents.described for name in entry.tensors.values()}
    reader.fill(path, tmp_path / "out.onnx", twice)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter *= 2
        right = layer(given)[0].numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: given.numpy()})[0]
    assert off(got, right) < 1e-6


def test_a_note_names_each_piece_once():
    leaf = reader.Leaf(0, "a", (2,), "float32", bytes, lambda: np.zeros(2, "float32"), False)
    value = onnx_values.of_leaf(leaf)
    joined = onnx_values.applied("Concat", onnx_values.Call([value] * 3, {"axis": helper.make_attribute("axis", 0)}))
    assert (joined.shape, joined.note) == ((6,), "Concat (a)")
