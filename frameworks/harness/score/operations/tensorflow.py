"""What mutants are made of in TensorFlow."""

from __future__ import annotations

import tensorflow as tf

CASTS = {8: tf.bfloat16, 11: tf.float16, 24: tf.float32}
FUNCTIONS = {"relu": tf.nn.relu, "sigmoid": tf.sigmoid, "tanh": tf.tanh}


def constant(x):
    return tf.stop_gradient(x)


def concatenate(arrays, axis):
    return tf.concat(arrays, axis)


def turned(x):
    return tf.reverse(x, [0])


def exchanged(x):
    return tf.transpose(x, (1, 0, 2))


def reshaped(x, shape):
    return tf.reshape(x, shape)


def zeros(like, shape):
    return tf.zeros(shape, like.dtype)


def clipped(x, low, high):
    return tf.clip_by_value(x, low, high)


def function(name):
    return FUNCTIONS.get(name)


def narrowed(x, bits):
    return tf.cast(tf.cast(x, CASTS[bits]), x.dtype) if bits in CASTS else None


def forget():
    pass
