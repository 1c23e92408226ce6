"""Layers of MXNet's Gluon, judged in this process."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import isogru
from shared_spec.errors import UserError

with warnings.catch_warnings():
    # It uses what Python and NumPy have deprecated.
    warnings.simplefilter("ignore")
    import mxnet
    from mxnet.gluon import rnn


@pytest.fixture(autouse=True)
def _own_results(results):
    mxnet.random.seed(0)


def started(layer):
    layer.initialize(mxnet.init.Uniform(0.5))
    return layer


LAYERS = {
    "gru": lambda: rnn.GRU(4, input_size=5),
    "batch first": lambda: rnn.GRU(4, input_size=5, layout="NTC"),
    "cell": lambda: rnn.GRUCell(4, input_size=5),
    "rnn": lambda: rnn.RNN(4, activation="tanh", input_size=5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_right_layer_is_equal_and_is_left_as_it_was(name):
    layer = started(LAYERS[name]())
    before = {key: each.data().asnumpy() for key, each in layer.collect_params().items()}
    verdict = isogru.check(layer)
    cell = "rnn" if name == "rnn" else "gru_reset_after"
    assert (verdict.verdict, verdict.cell, len(verdict.cases)) == ("equal", cell, 7), verdict.report
    assert {"H", "final", "grad.X", "grad.H0", "grad.b_h"} <= {each.quantity for each in verdict.cases[0].findings}
    assert all(np.array_equal(each.data().asnumpy(), before[key]) for key, each in layer.collect_params().items())


class Turned(rnn.GRUCell):
    """Its update gate is turned round."""

    def hybrid_forward(self, F, inputs, states, **parameters):
        _, [after] = super().hybrid_forward(F, inputs, states, **parameters)
        gates = {name: each[4:8] for name, each in parameters.items()}
        pre = F.FullyConnected(inputs, gates["i2h_weight"], gates["i2h_bias"], num_hidden=4)
        Z = F.sigmoid(pre + F.FullyConnected(states[0], gates["h2h_weight"], gates["h2h_bias"], num_hidden=4))
        C = (after - Z * states[0]) / (1 - Z)
        after = Z * C + (1 - Z) * states[0]
        return after, [after]


def test_a_planted_fault_is_named():
    with pytest.raises(AssertionError, match="why: equal if the update gate is turned round"):
        isogru.assert_equal(started(Turned(4, input_size=5)), gradients=False, cases=["ordinary"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rnn.GRU(4), "GRU of Gluon has no weights yet: initialize it, and say its input_size"),
        (lambda: started(rnn.RNN(4, input_size=5)), "RNN has the activation rnn_relu; the cells have tanh alone"),
        (lambda: started(rnn.GRU(4, 2, input_size=5)), "holds 2 recurrent layers"),
        (lambda: started(rnn.LSTM(4, input_size=5)), "LSTM is an LSTM, which is not judged"),
    ],
)
def test_layers_that_are_not_judged(make, words):
    with pytest.raises(UserError) as refused:
        isogru.check(make())
    assert words in str(refused.value)
