"""Layers of Keras and functions of TensorFlow's arrays, judged in this process."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import isogru
from shared_spec.errors import UserError


@pytest.fixture(autouse=True)
def _own_results(results):
    keras.utils.set_random_seed(0)


FEW = ["ordinary", "drawn_weights"]


def built(layer, shape=(None, None, 5)):
    layer.build(shape)
    return layer


def gru(**settings):
    return built(keras.layers.GRU(4, return_sequences=True, **settings))


class Faulty(keras.layers.GRUCell):
    """Takes the gates z and r of the recurrent product the wrong way round."""

    def call(self, inputs, states, training=False):
        z, r, h = np.split(np.arange(12), 3)
        given = self.recurrent_kernel
        turned = keras.ops.take(keras.ops.convert_to_tensor(given), np.concatenate([r, z, h]), 1)
        x = keras.ops.matmul(inputs, self.kernel) + self.bias[0]
        inner = keras.ops.matmul(states[0], turned) + self.bias[1]
        (x_z, x_r, x_h), (h_z, h_r, h_h) = (keras.ops.split(each, 3, 1) for each in (x, inner))
        Z, R = keras.ops.sigmoid(x_z + h_z), keras.ops.sigmoid(x_r + h_r)
        H = Z * states[0] + (1 - Z) * keras.ops.tanh(x_h + R * h_h)
        return H, [H]


LAYERS = {
    "gru": (lambda: gru(), "gru_reset_after", 7),
    "reset before": (lambda: gru(reset_after=False), "gru", 2),
    "both outputs": (lambda: gru(return_state=True), "gru_reset_after", 2),
    "last state": (lambda: built(keras.layers.GRU(4)), "gru_reset_after", 2),
    "backwards": (lambda: gru(go_backwards=True), "gru_reset_after", 2),
    "cell": (lambda: built(keras.layers.GRUCell(4), (None, 5)), "gru_reset_after", 2),
    "rnn over a cell": (lambda: built(keras.layers.RNN(keras.layers.GRUCell(4), return_sequences=True)), None, 2),
    "simple": (lambda: built(keras.layers.SimpleRNN(4, return_sequences=True)), "rnn", 2),
    "mixed": (lambda: gru(dtype="mixed_bfloat16"), "gru_reset_after", 2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_right_layer_is_equal_and_is_left_as_it_was(name):
    make, cell, count = LAYERS[name]
    layer = make()
    before = layer.get_weights()
    # In bfloat16 some gradients cannot be told.
    verdict = isogru.check(layer, gradients=name != "mixed", cases=None if count > 2 else FEW)
    assert (verdict.verdict, verdict.cell, len(verdict.cases)) == ("equal", cell or "gru_reset_after", count), (
        verdict.report
    )
    assert verdict.dtype == ("bfloat16" if name == "mixed" else "float32")
    if name != "mixed":
        assert {"H", "grad.X", "grad.b_h"} <= {each.quantity for each in verdict.cases[0].findings}
    assert all(np.array_equal(one, other) for one, other in zip(before, layer.get_weights(), strict=True))


def test_a_planted_fault_is_named():
    with pytest.raises(AssertionError) as failure:
        isogru.assert_equal(built(Faulty(4), (None, 5)), cases=["drawn_weights"])
    assert "why: equal if the gates r and z are exchanged in W_h" in str(failure.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: keras.layers.GRU(4), "GRU of Keras has no weights yet: call it once, or build it"),
        (lambda: gru(recurrent_activation="hard_sigmoid"), "GRU has the functions gate hard_sigmoid(0.16666667, 0.5)"),
        (lambda: gru(activation="relu"), "GRU has the functions candidate relu"),
        (lambda: built(keras.layers.Bidirectional(keras.layers.GRU(4))), "check forward_layer and backward_layer"),
        (lambda: built(keras.layers.LSTM(4)), "LSTM is an LSTM, which is not judged"),
        (
            lambda: keras.Sequential(
                [keras.Input((None, 5)), keras.layers.GRU(4), keras.layers.Dense(2, name="out")], name="net"
            ),
            "holds more than a recurrent layer (net/out/kernel, net/out/bias); check the layer",
        ),
    ],
)
def test_layers_that_are_not_judged(make, words):
    with pytest.raises(UserError) as refused:
        isogru.check(make())
    assert words in str(refused.value)


def forward(X, H, p):
    states = []
    for x in tf.unstack(X):
        Z = tf.sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = tf.sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        H = Z * H + (1 - Z) * tf.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        states.append(H)
    return tf.stack(states), H


def test_a_function_with_the_gradients_of_a_tape():
    for function, asked in ((forward, {"arrays": "tensorflow"}), (tf.function(forward), {})):
        verdict = isogru.check(function, cell="gru", gradients="auto", cases=["gru-ordinary"], **asked)
        assert verdict.verdict == "equal", verdict.report
        assert "[gru · tensorflow/forward · " in verdict.worst.sentence(verdict.cases[0].evidence.result.origin)

    def cut(X, H, p):
        return forward(X, H, p | {name: tf.stop_gradient(p[name]) for name in ("W_xr",)})

    made = isogru.check(cut, cell="gru", arrays="tensorflow", gradients="auto", cases=["gru-ordinary"]).explain()
    assert "right; zero throughout: grad.W_xr" in made.sentence
    with pytest.raises(UserError, match="tensorflow has no device 'cuda'"):
        isogru.check(forward, cell="gru", arrays="tensorflow", device="cuda")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Of Keras, in saving.
def test_a_layer_and_a_file_are_the_same(tmp_path):
    layer = gru()
    keras.Sequential([keras.Input((None, 5)), layer]).save_weights(tmp_path / "model.weights.h5")
    assert isogru.same(layer, tmp_path / "model.weights.h5").verdict == "the same"
    made = isogru.convert(layer, to="torch")
    assert made.tensors["weight_ih_l0"].shape == (12, 5)
    with pytest.raises(UserError, match="say which of the 2 are meant"):
        isogru.same(keras.Sequential([keras.Input((None, 5)), gru(), keras.layers.GRU(4)]), layer)
