"""Trainings of the one cell, by the oracle's own functions: a stub is there to be driven, and proves nothing."""

from __future__ import annotations

from shared_spec.cells import cell
from shared_spec.language_model import training

CELL = cell("gru")


def loss_and_gradients(forward, parameters, inputs, targets):
    return training.loss_and_gradients(CELL, parameters, inputs, targets)


def training_step(forward, *, lr, clip_norm, compiled):
    def step(parameters, inputs, targets):
        value, gradients = loss_and_gradients(forward, parameters, inputs, targets)
        return training.sgd(parameters, gradients, lr=lr, clip_norm=clip_norm), value, training.norm(gradients)

    return step


def validation_loss(forward, *, compiled):
    return lambda parameters, inputs, targets: training.loss(CELL, parameters, inputs, targets)


def training_step_of_many(forward, *, clip_norm):
    return None


def validation_loss_of_many(forward):
    return None


def predict(forward, parameters, prefix, count):
    return training.predict(CELL, parameters, prefix, count)
