"""A GRU as an ONNX model, run by ONNX Runtime, as a program: python gru.py CASE.npz RESULT.npz"""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(p, linear_before_reset=1):
    """The parameters of a case -> an ONNX model of one node: X (T, n, d), initial_h (1, n, h) -> Y (T, 1, n, h)."""
    h = p["b_h"].size
    # The operator wants its gates as z, r, h, its matrices transposed, and two biases, of which only the hidden gate
    # tells the second from the first.
    weights = {
        "W": np.concatenate([p["W_xz"].T, p["W_xr"].T, p["W_xh"].T])[None],
        "R": np.concatenate([p["W_hz"].T, p["W_hr"].T, p["W_hh"].T])[None],
        "B": np.concatenate([p["b_z"], p["b_r"], p["b_h"], np.zeros(2 * h, np.float32), p["b_hh"]])[None],
    }
    node = helper.make_node(
        "GRU",
        ["X", "W", "R", "B", "", "initial_h"],
        ["Y"],
        hidden_size=h,
        # 0, the default, is the reset gate before the product: another function, and no GRU of PyTorch or Keras.
        linear_before_reset=linear_before_reset,
    )
    graph = helper.make_graph(
        [node],
        "gru",
        [
            helper.make_tensor_value_info("X", TensorProto.FLOAT, ["T", "n", len(p["W_xz"])]),
            helper.make_tensor_value_info("initial_h", TensorProto.FLOAT, [1, "n", h]),
        ],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "n", h])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    # The oldest format of files that has this operator set: a runtime may lag behind the package onnx.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def main(case_file, result_file):
    p = dict(np.load(case_file))
    X, H0 = p.pop("X"), p.pop("H0")
    made = model(p).SerializeToString()
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    (Y,) = session.run(["Y"], {"X": X, "initial_h": H0[None]})
    np.savez(result_file, H=Y[:, 0])


if __name__ == "__main__":
    main(*sys.argv[1:])
