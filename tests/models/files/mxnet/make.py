"""Makes the files of this folder, by MXNet 1.9.1 itself: python tests/models/files/mxnet/make.py.

NAME.save_parameters.params and NAME.collect_params.params are one network saved in two ways. outputs.npz has X
(T, n, d) and, under NAME, what the network made of X, from a start of zeros: (T, n, h), or 2 h both ways.
"""

from __future__ import annotations

from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon, nd

FOLDER = Path(__file__).parent
T, n, d, h = 5, 2, 3, 4
random = np.random.RandomState(0)
X = random.uniform(-1, 1, (T, n, d)).astype("float32")


def cells(*made: gluon.rnn.RecurrentCell) -> gluon.rnn.SequentialRNNCell:
    stack = gluon.rnn.SequentialRNNCell()
    for cell in made:
        stack.add(cell)
    return stack


def model() -> gluon.nn.HybridSequential:
    net = gluon.nn.HybridSequential(prefix="model_")
    with net.name_scope():
        net.add(gluon.rnn.GRU(h, num_layers=2, bidirectional=True, input_size=d))
        net.add(gluon.nn.Dense(2, flatten=False, in_units=2 * h))
    return net


NETWORKS = {
    "gru": gluon.rnn.GRU(h, input_size=d, prefix="gru0_"),
    "gru_stack": gluon.rnn.GRU(h, num_layers=2, input_size=d, prefix="gru0_"),
    "gru_both_ways": gluon.rnn.GRU(h, num_layers=2, bidirectional=True, input_size=d, prefix="gru0_"),
    "rnn_both_ways": gluon.rnn.RNN(
        h, num_layers=2, activation="tanh", bidirectional=True, input_size=d, prefix="rnn0_"
    ),
    "gru_cell": gluon.rnn.GRUCell(h, input_size=d, prefix="gru0_"),
    "gru_cells": cells(
        gluon.rnn.GRUCell(h, input_size=d, prefix="gru0_"), gluon.rnn.GRUCell(h, input_size=h, prefix="gru1_")
    ),
    "gru_cells_both_ways": gluon.rnn.BidirectionalCell(
        gluon.rnn.GRUCell(h, input_size=d, prefix="gru0_"), gluon.rnn.GRUCell(h, input_size=d, prefix="gru1_")
    ),
    "model": model(),
}


def main() -> None:
    outputs = {"X": X}
    for name, network in NETWORKS.items():
        network.initialize()
        for parameter in network.collect_params().values():
            parameter.set_data(nd.array(random.uniform(-0.8, 0.8, parameter.shape).astype("float32")))
        if isinstance(network, gluon.rnn.RecurrentCell):
            made, _ = network.unroll(T, nd.array(X), layout="TNC", merge_outputs=True)
        else:
            made = network(nd.array(X))
        outputs[name] = made.asnumpy()
        network.save_parameters(str(FOLDER / f"{name}.save_parameters.params"))
        network.collect_params().save(str(FOLDER / f"{name}.collect_params.params"))
    exported = NETWORKS["model"]
    exported.hybridize()
    exported(nd.array(X))
    exported.export(str(FOLDER / "export"))
    (FOLDER / "export-symbol.json").unlink()
    np.savez(FOLDER / "outputs.npz", **outputs)

    kinds = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
    mx.nd.save(str(FOLDER / "dtypes.params"), {kind: nd.array([[1, 0, 3]], dtype=kind) for kind in kinds})
    mx.nd.save(str(FOLDER / "no_names.params"), [nd.array([1, 2]), nd.array([[3]])])
    dense = nd.array([[0, 0], [1, 2], [0, 3]])
    sparse = {"rows": dense.tostype("row_sparse"), "csr": dense.tostype("csr"), "dense": dense}
    mx.nd.save(str(FOLDER / "sparse.params"), sparse)
    mx.npx.set_np()
    arrays = {"scalar": mx.np.array(3.5), "none": mx.np.ones((0, 3)), "vector": mx.np.array([1.0, 2.0])}
    mx.npx.save(str(FOLDER / "numpy_semantics.params"), arrays)


main()
