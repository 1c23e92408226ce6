"""A fault put in the place of what is right in a framework's folder, for as long as a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frameworks import Framework
from frameworks.harness.score import loops, steps
from frameworks.harness.score.operations import Operations
from isogru import training_faults
from isogru.conventions import GRADIENT, SEQUENCE, Convention
from isogru.training_faults import OF_STATES, Setting
from shared_spec.cells import Cell
from shared_spec.language_model import Recipe


@contextlib.contextmanager
def planted(
    framework: Framework, right: Cell, wrong: Cell, conventions: Sequence[Convention], operations: Operations
) -> Iterator[None]:
    """A framework whose step of a cell computes the equations of `wrong`, and whose loop has these edits of the
    sequence and cuts of the gradient. What is edited in neither stays as it is.
    """
    cells: Any = framework.cells
    held = tuple(each.held for each in conventions if each.held)
    of_loop = [each for each in conventions if each.kind in (SEQUENCE, GRADIENT)]
    step, unroll = cells.CELLS[right.name], cells.unroll
    if wrong.equations != right.equations or held:
        step = steps.edited(step, right, wrong, operations, held=held)
    if of_loop:
        unroll = loops.faulty(unroll, of_loop, operations)
    with _instead(cells, unroll=unroll), _in_table(cells.CELLS, right.name, step):
        yield


@contextlib.contextmanager
def trained(framework: Framework, setting: Setting, recipe: Recipe, mask: Any) -> Iterator[None]:
    """A framework whose training step has a fault: another rule of the optimiser, or units dropped by a mask (h,)."""
    cells: Any = framework.cells
    model: Any = framework.language_model
    gradients_of, update = model.loss_and_gradients, training_faults.Update(setting, model.sgd, recipe)
    shape = (0, 0)

    def seen(forward: Any, parameters: Any, inputs: Any, targets: Any) -> Any:
        nonlocal shape
        shape = tuple(inputs.shape)
        return gradients_of(forward, parameters, inputs, targets)

    def sgd(parameters: Any, gradients: Any, *, lr: float, clip_norm: float) -> Any:
        return update(parameters, gradients, shape)

    unroll = cells.unroll

    def dropping(step: Any) -> Any:
        forward = unroll(step)

        def dropped(X: Any, H0: Any, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
            H, final = forward(X, H0, parameters)
            return H * mask, final

        return dropped

    with contextlib.ExitStack() as stack:
        stack.enter_context(_instead(model, sgd=sgd, loss_and_gradients=seen))
        if setting.name in OF_STATES:
            stack.enter_context(_instead(cells, unroll=dropping))
        yield


@contextlib.contextmanager
def _instead(module: Any, **others: Any) -> Iterator[None]:
    """Other values of a module's names, and at the end those that there were."""
    before = {name: getattr(module, name) for name in others}
    try:
        for name, value in others.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


@contextlib.contextmanager
def _in_table(table: Any, key: str, value: Any) -> Iterator[None]:
    before = table[key]
    try:
        table[key] = value
        yield
    finally:
        table[key] = before
