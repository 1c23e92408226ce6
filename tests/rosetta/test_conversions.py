"""Layouts that run on a GPU alone, held against the packages' own conversions of weights into them and out of them."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec.weights import layouts
from shared_spec.weights.packing import pack, unpack
from tests.spec.drawn import drawn

D, H = 3, 4


@pytest.fixture
def given(package):
    if package != "keras":
        pytest.skip("Keras and TensorFlow have these conversions")
    return drawn(layouts.layout("keras"), d=D, h=H)


def test_weights_of_cudnn_gru(given):
    """TensorFlow still reads files of CuDNNGRU, by what the shape of the bias says."""
    from tensorflow.python.keras.saving.hdf5_format import _convert_rnn_weights

    keras, cudnn = layouts.layout("keras"), layouts.layout("keras-cudnn")

    class GRU:
        units, reset_after = H, True

        class cell:  # noqa: N801
            reset_after, recurrent_activation = True, None

    converted = _convert_rnn_weights(GRU(), list(pack(cudnn, given).values()))
    for name, array in zip(keras.tensors, converted, strict=True):
        np.testing.assert_array_equal(array, pack(keras, given)[name])
    assert all((unpack(cudnn, pack(cudnn, given))[name] == array).all() for name, array in given.items())


def test_one_vector_for_cudnn(given):
    """Keras makes cuDNN's weight space of its own kernels, gate by gate, in cuDNN's order r z h."""
    from keras.src.backend.tensorflow.rnn import _standardize_cudnn_weights

    packed = pack(layouts.layout("keras"), given)
    by_gate = [np.split(packed[name], 3, axis=1) for name in ("kernel", "recurrent_kernel")]
    weights = [each[gate] for each in by_gate for gate in (1, 0, 2)]
    biases = [row[gate] for row in (np.split(row, 3) for row in packed["bias"]) for gate in (1, 0, 2)]
    vector = _standardize_cudnn_weights(weights=weights, biases=biases, shape=[-1], transpose_weights=True)
    flat = layouts.layout("cudnn-flat")
    np.testing.assert_array_equal(np.asarray(vector), pack(flat, given)["opaque_kernel"])
