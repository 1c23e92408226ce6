"""The oracle's language model in NumPy: loss, gradients, SGD steps, whole training, prediction, and its twins.

Cross-entropy and its gradient: Goodfellow et al. 2016, Deep Learning, section 6.2.2. Clipping: Pascanu et al. 2013,
arXiv:1211.5063, over the joint L2 norm of all gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared_spec import oracle
from shared_spec.cells import Cell, cell
from shared_spec.language_model import Problem, shapes, specification
from shared_spec.language_model.corpus import Tokens, Vocabulary
from shared_spec.readings.arithmetic import PLAIN, Array, OneHot, Plain, Unlike, length
from shared_spec.readings.gradient import Tape
from shared_spec.readings.value import evaluate

Parameters = Mapping[str, Array]


def one_hot(tokens: Tokens, num_tokens: int, dtype: np.dtype[Any]) -> Array:
    """Tokens (n, T) -> X (T, n, v)."""
    return np.eye(num_tokens, dtype=dtype)[tokens.T]


def loss(cell: Cell, parameters: Parameters, inputs: Tokens, targets: Tokens, *, arithmetic: Plain = PLAIN) -> Array:
    """Mean cross-entropy, a scalar, of inputs and targets (n, T)."""
    X, H0 = _inputs(parameters, inputs)
    H = oracle.states(cell, X, H0, parameters, arithmetic=arithmetic)
    logits = evaluate(specification().output.expression, {**parameters, "H": H}, H.dtype, arithmetic)
    return cross_entropy(logits, targets, arithmetic)[0]


def loss_and_gradients(
    cell: Cell, parameters: Parameters, inputs: Tokens, targets: Tokens, *, arithmetic: Plain = PLAIN
) -> tuple[Array, dict[str, Array]]:
    """The loss, a scalar, and its gradient with respect to every parameter, each of that parameter's shape."""
    dtype = parameters["W_hq"].dtype
    X, H0 = _inputs(parameters, inputs)
    unrolled = oracle.Unrolled(cell, X, H0, parameters, cell.parameters, arithmetic=arithmetic)
    T, n, h = unrolled.H.shape
    values = {**parameters, "H": unrolled.H.reshape(T * n, h)}
    output = Tape([specification().output], values, ("H", "W_hq", "b_q"), arithmetic=arithmetic)
    logits, pull = output.forward(values, dtype)
    value, dlogits = cross_entropy(logits.reshape(T, n, -1), targets, arithmetic)
    gradients = pull(dlogits.reshape(T * n, -1))
    dH = gradients.pop("H").reshape(T, n, h)
    of_cell = unrolled.backward(dH)
    return value, {name: gradients.get(name, of_cell.get(name)) for name in parameters}  # type: ignore[misc]


def norm(gradients: Mapping[str, Array]) -> Array:
    """The joint L2 norm of all gradients, a scalar."""
    return length(np.concatenate([g.ravel() for g in gradients.values()]), (0,))


def sgd(parameters: Parameters, gradients: Mapping[str, Array], *, lr: float, clip_norm: float) -> dict[str, Array]:
    """One step: all gradients scaled by clip_norm / norm where their joint norm exceeds clip_norm, then p - lr g."""
    length = norm(gradients)
    of = length.dtype.type
    scale = of(lr) * (of(clip_norm) / length if length > clip_norm else of(1))
    return {name: p - scale * gradients[name] for name, p in parameters.items()}


def predict(cell: Cell, parameters: Parameters, prefix: Tokens, count: int) -> Tokens:
    """The `count` characters after the prefix: always the most probable next one, the lowest index of equals."""
    dtype = parameters["W_hq"].dtype
    v, H = len(parameters["b_q"]), np.zeros((1, parameters["W_hq"].shape[0]), dtype)
    output = specification().output.expression
    predicted: list[int] = []
    for i in range(len(prefix) + count - 1):
        token = int(prefix[i]) if i < len(prefix) else predicted[-1]
        X = OneHot(np.array([[token]], np.int32), v, dtype)
        H = oracle.states(cell, X, H, parameters)[-1]
        if i >= len(prefix) - 1:
            predicted.append(int(np.argmax(evaluate(output, {**parameters, "H": H}, dtype)[0])))
    return np.array(predicted, np.int32)


Update = Callable[[Parameters, Mapping[str, Array], tuple[int, int]], tuple[dict[str, Array], Array]]
"""(parameters, gradients, shape (n, T) of the batch) -> (parameters, the joint norm of the gradients)."""
GradientsOf = Callable[..., tuple[Array, dict[str, Array]]]
"""(cell, parameters, inputs, targets, arithmetic=) -> (loss, gradients)."""


def updated(
    parameters: Parameters, gradients: Mapping[str, Array], *, lr: float, clip_norm: float
) -> tuple[dict[str, Array], Array]:
    """`sgd`, and the norm of the gradients."""
    return sgd(parameters, gradients, lr=lr, clip_norm=clip_norm), norm(gradients)


def train(
    problem: Problem,
    *,
    dtype: str = "float64",
    arithmetic: Plain = PLAIN,
    shuffle_rows: int | None = None,
    update: Update | None = None,
    gradients_of: GradientsOf | None = None,
) -> dict[str, Array]:
    """The whole recipe; with `shuffle_rows`, a seed, the rows of each batch in another order; with `update`, another
    optimiser than SGD; with `gradients_of`, other gradients than `loss_and_gradients`.

    Returns what a language-model result holds: "loss" (steps,), "norm" (steps,),
    "perplexity.train" and "perplexity.val" (epochs,), "grad.…" at the start, "step1.…" and "end.…" weights,
    and "text" (num_predictions,).
    """
    recipe = problem.recipe
    the_cell = cell(recipe.cell)
    # Not in the order in which they are given: a file has one of its own, in which their norm would be another sum.
    parameters: dict[str, Array] = {name: problem.parameters[name].astype(dtype) for name in shapes(the_cell)}
    result: dict[str, Array] = {}
    losses: list[Array] = []
    norms: list[Array] = []
    train_perplexity: list[float] = []
    val_perplexity: list[float] = []
    random = None if shuffle_rows is None else np.random.RandomState(shuffle_rows)
    for epoch in range(recipe.epochs):
        meter = Meter()
        for inputs, targets in problem.training_batches(epoch):
            if random is not None:
                rows = random.permutation(len(inputs))
                inputs, targets = inputs[rows], targets[rows]
            of = gradients_of or loss_and_gradients
            value, gradients = of(the_cell, parameters, inputs, targets, arithmetic=arithmetic)
            if update is None:
                parameters, joint = updated(parameters, gradients, lr=recipe.lr, clip_norm=recipe.clip_norm)
            else:
                parameters, joint = update(parameters, gradients, (len(inputs), inputs.shape[1]))
            if not losses:
                result |= {f"grad.{name}": g for name, g in gradients.items()}
                result |= {f"step1.{name}": p for name, p in parameters.items()}
            losses.append(value)
            norms.append(joint)
            meter.add(float(value), targets.size)
        train_perplexity.append(meter.perplexity)
        meter = Meter()
        for inputs, targets in problem.validation_batches():
            meter.add(float(loss(the_cell, parameters, inputs, targets, arithmetic=arithmetic)), targets.size)
        val_perplexity.append(meter.perplexity)
    result |= {f"end.{name}": p for name, p in parameters.items()}
    result |= {"loss": np.array(losses), "norm": np.array(norms)}
    result |= {"perplexity.train": np.array(train_perplexity), "perplexity.val": np.array(val_perplexity)}
    result["text"] = predict(the_cell, parameters, problem.prefix(), recipe.num_predictions)
    return result


def perplexity(losses: Iterable[Any], sizes: Iterable[int]) -> float:
    """exp(mean loss over all tokens), from the mean losses of batches and their numbers of tokens."""
    meter = Meter()
    for value, size in zip(losses, sizes, strict=True):
        meter.add(float(value), size)
    return meter.perplexity


@dataclass
class Meter:
    """exp(mean loss over all tokens) of an epoch, from the mean losses of its batches."""

    total: float = 0.0
    tokens: int = 0

    def add(self, mean_loss: float, tokens: int) -> None:
        self.total += mean_loss * tokens
        self.tokens += tokens

    @property
    def perplexity(self) -> float:
        """exp, with infinity for a mean loss that has overflowed it."""
        with np.errstate(over="ignore"):
            return float(np.exp(np.float64(self.total) / self.tokens))


def twin(problem: Problem, *, dtype: str, seed: int) -> dict[str, Array]:
    """`train`, by unlike arithmetic, with hidden units, characters and rows of each batch permuted; permuted back."""
    recipe, v = problem.recipe, len(problem.vocabulary)
    permutation = oracle.Permutation({"h": recipe.num_hiddens, "v": v}, seed)
    of_parameters = shapes(cell(recipe.cell))
    characters = permutation.of["v"]
    # Character `characters[i]` is called i in the permuted problem.
    renamed = np.argsort(characters).astype(np.int32)
    tokens = tuple(problem.vocabulary.tokens[int(c)] for c in characters)
    other = replace(
        problem,
        vocabulary=Vocabulary(tokens, problem.vocabulary.unknown),
        tokens=renamed[problem.tokens],
        parameters={name: permutation.apply(p, of_parameters[name]) for name, p in problem.parameters.items()},
    )
    # What the sums over all rows and steps of a batch err by is what the twins stray by: an eighth of it adds nothing.
    faintest = math.sqrt(recipe.batch_size * recipe.num_steps / 2) / 8
    with np.errstate(over="ignore", invalid="ignore"):
        result = train(other, dtype=dtype, arithmetic=Unlike(dtype, seed, faintest=faintest), shuffle_rows=seed)
    for key, array in result.items():
        part, _, name = key.partition(".")
        if part in ("grad", "step1", "end"):
            result[key] = permutation.undo(array, of_parameters[name])
    return {**result, "text": characters[result["text"]].astype(np.int32)}


def _inputs(parameters: Parameters, inputs: Tokens) -> tuple[OneHot, Array]:
    dtype = parameters["W_hq"].dtype
    h, v = parameters["W_hq"].shape
    return OneHot(inputs.T, v, dtype), np.zeros((len(inputs), h), dtype)


def cross_entropy(logits: Array, targets: Tokens, arithmetic: Plain = PLAIN) -> tuple[Array, Array]:
    """Mean of -log softmax at the targets (n, T) over logits (T, n, v), and its derivative by the logits."""
    # Characters first, a row for each: NumPy is quick along a long last axis and slow along a short one.
    T, n, v = logits.shape
    shifted = np.ascontiguousarray(logits.reshape(T * n, v).T)
    shifted -= shifted.max(axis=0)
    index = targets.T.reshape(1, T * n)
    picked = np.take_along_axis(shifted, index, 0)[0]
    e = np.exp(shifted, out=shifted)
    total = e.sum(axis=0)
    count = logits.dtype.type(targets.size)
    value: Array = arithmetic.total(np.log(total) - picked, (0,)) / count
    e /= total
    np.put_along_axis(e, index, np.take_along_axis(e, index, 0) - logits.dtype.type(1), 0)
    e /= count
    # In C's order NumPy adds rows up one after another, and rows that are alike then err together, as they may in any
    # library; in the other order it adds in pairs.
    return value, np.ascontiguousarray(e.T).reshape(T, n, v)
