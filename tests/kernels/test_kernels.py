"""The kernels of PyTorch's tuned cells on a GPU, run by Triton's interpreter on a CPU: tox -e kernels."""

from __future__ import annotations

import contextlib
import os
from unittest import mock

import pytest
import torch

import frameworks
from frameworks import protocol
from frameworks.harness.run import run
from frameworks.torch import cells, few, kernels, language_model, loops, pieces, tuned
from frameworks.torch import graph as graph_of_torch
from isogru import judge
from shared_spec import cases
from tests.kernels import __main__ as table

KINDS = {"narrow": kernels.NARROW, "wide": 0}
"""By the name of each of the two kernels: up to how many units the narrow one is used."""
CELLS = {"gru": "Gru", "gru_reset_after": "ResetAfter"}
NAMES = [
    name
    for name in cases.cell_case_names()
    if cases.cell_name_of(name) in CELLS
    # Of the first three the interpreter needs minutes; gates has 300 rows, and the others differ in values alone.
    and not name.endswith(("-chapter", "-long", "-wide", "-gates"))
    and not name.endswith(("-zero_start", "-tiny_weights", "-no_inner_bias", "-float64_values"))
]
OF_CELL = {cell: [name for name in NAMES if cases.cell_name_of(name) == cell] for cell in CELLS}
EVERY = bool(os.environ.get("ISOGRU_KERNELS"))
# Each case by one of the two kernels, and by the other one of the other cell; the ordinary one by both.
RUN = [
    (name, kind)
    for number, names in enumerate(OF_CELL.values())
    for place, name in enumerate(names)
    for turn, kind in enumerate(KINDS)
    if EVERY or name.endswith("-ordinary") or (number + place + turn) % 2
]
SIZES = [(1, 1), (1, 256), (3, 20), (64, 256), (1024, 32), (64, 512), (5000, 64), (7, 513), (4096, 128)]


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """Which of the two kernels is used, at any size."""
    monkeypatch.setattr(kernels, "NARROW", KINDS[request.param])


@pytest.fixture(scope="module")
def framework():
    loaded = frameworks.load("torch")
    loaded.runtime.setup()
    return loaded


def test_there_are_cases_of_both_cells():
    assert {cases.cell_name_of(name) for name in NAMES} == set(CELLS)
    assert len(NAMES) >= 10
    for one, other in ((0, 1), (0, 2), (1, 2)):
        met = [(cases.cell_name_of(name), name.partition("-")[2], kind) for name, kind in RUN]
        every = [(cell, name.partition("-")[2], kind) for cell in CELLS for name in OF_CELL[cell] for kind in KINDS]
        assert {(job[one], job[other]) for job in met} == {(job[one], job[other]) for job in every}


@pytest.mark.usefixtures("kind", "results")
@pytest.mark.parametrize(("name", "kind"), RUN, indirect=["kind"])
def test_states_and_gradients_are_equal(framework, name, monkeypatch):
    used, start = [], kernels._run

    def noted(kernel, *arguments, **kinds):
        used.append(kernel)
        start(kernel, *arguments, **kinds)

    monkeypatch.setattr(kernels, "_run", noted)
    implementation = protocol.find(framework, "tuned", cases.cell_name_of(name), "float32")
    case = cases.build(name)
    verdict = judge.on(case, run(framework, implementation, case, dtype="float32", device="cpu"))
    assert verdict.verdict == "equal", verdict.worst_finding.sentence(verdict.origin)
    assert {"forward", "backward"} <= set(used)


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("name", CELLS.values())
def test_tokens_are_rows_of_the_table(name):
    """The same loop with the rows themselves: its states, and, as one-hot products, its gradients."""
    torch.manual_seed(0)
    T, n, h, v = 4, 5, 9, 6
    tokens = torch.randint(0, v, (T, n))
    tables = [torch.randn(v, k * h) for k in (2, 1)]
    rest = [torch.randn(n, h), torch.randn(h, 2 * h), torch.randn(h, h)]
    rest += [torch.randn(h)] if name == "ResetAfter" else []
    dH = torch.randn(T, n, h)

    def states_and_gradients(tokens, A):
        leaves = [array.clone().requires_grad_() for array in (*A, *rest)]
        H = getattr(kernels, name).apply(tokens, *leaves)
        return H.detach(), torch.autograd.grad(H, leaves, dH)

    H, gradients = states_and_gradients(tokens, tables)
    H_of_rows, gradients_of_rows = states_and_gradients(None, [table[tokens] for table in tables])
    assert torch.equal(H, H_of_rows)
    one_hot = torch.nn.functional.one_hot(tokens.flatten(), v).to(H.dtype).T
    expected = [*(one_hot @ rows.flatten(0, 1) for rows in gradients_of_rows[:2]), *gradients_of_rows[2:]]
    assert all(torch.equal(*pair) for pair in zip(gradients, expected, strict=True))


def drawn(cell, v, h, spread=0.5):
    torch.manual_seed(0)
    gates = {
        f"{kind}{gate}": shape for gate in "zrh" for kind, shape in (("W_x", (v, h)), ("W_h", (h, h)), ("b_", (h,)))
    }
    more = {"b_hh": (h,)} if cell == "gru_reset_after" else {}
    shapes = gates | more | {"W_hq": (h, v), "b_q": (v,)}
    return {name: torch.randn(shape) * spread for name, shape in shapes.items()}


def of_scratch(cell, parameters, inputs, targets):
    """Loss and gradients of the scratch cell in float64."""
    double = {name: array.double() for name, array in parameters.items()}
    return language_model.loss_and_gradients(cells.unroll(cells.CELLS[cell]), double, inputs, targets)


SMALL = [(4, 5, 9, 6), (3, 50, 20, 17)]
"""T, n, h and v of language models, the second of which has more rows than a strip."""


@pytest.mark.parametrize(("T", "n", "h", "v"), SMALL)
@pytest.mark.parametrize("cell", CELLS)
def test_a_loss_and_its_gradients_by_strips(cell, T, n, h, v, monkeypatch):
    """Of a language model, held against the scratch cell in float64; some rows are in the second strip of a program."""
    monkeypatch.setattr(few, "STRIPS", 1)
    assert few.suits(v, h)
    parameters = drawn(cell, v, h)
    inputs, targets = torch.randint(0, v, (2, n, T))
    value, gradients = language_model.loss_and_gradients(tuned.TUNED[cell][0](), parameters, inputs, targets)
    expected, expected_gradients = of_scratch(cell, parameters, inputs, targets)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in gradients.items():
        scale = expected_gradients[key].abs().max().item()
        torch.testing.assert_close(gradient.double(), expected_gradients[key], rtol=0, atol=2e-6 * scale, msg=key)


@pytest.mark.parametrize("clip_norm", [0.01, 100.0])
@pytest.mark.parametrize(("T", "n", "h", "v"), SMALL)
@pytest.mark.parametrize("cell", CELLS)
def test_a_whole_step(cell, T, n, h, v, clip_norm, monkeypatch):
    """Of gradients that are clipped and of others, held against the scratch cell in float64; several programs sum up
    several strips each.
    """
    monkeypatch.setattr(few, "OF_LOSS", (16, 4))
    monkeypatch.setattr(few, "STRIPS", 1)
    monkeypatch.setattr(few, "ROWS", 2)
    parameters = drawn(cell, v, h)
    inputs, targets = torch.randint(0, v, (2, n, T))
    step = language_model.training_step(tuned.TUNED[cell][0](), lr=0.5, clip_norm=clip_norm, compiled=False)
    monkeypatch.setattr(torch.autograd, "grad", lambda *given, **kinds: pytest.fail("autograd has no part in it"))
    after, value, norm = step(parameters, inputs, targets)
    monkeypatch.undo()
    loss, gradients = of_scratch(cell, parameters, inputs, targets)
    double = {name: array.double() for name, array in parameters.items()}
    expected, expected_norm = language_model.sgd(double, gradients, lr=0.5, clip_norm=clip_norm)
    assert (expected_norm > clip_norm) == (clip_norm < 1)
    torch.testing.assert_close(value.double(), loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.double(), expected_norm, rtol=1e-6, atol=0)
    assert list(after) == list(parameters)
    for name, array in after.items():
        torch.testing.assert_close(array.double(), expected[name], rtol=0, atol=1e-6, msg=name)
        assert not torch.equal(array, parameters[name])


def test_a_step_of_what_is_no_number():
    """The norm tells it, and no parameter looks as if it were one."""
    parameters = drawn("gru", 6, 9)
    parameters["b_q"][0] = float("nan")
    step = language_model.training_step(tuned.TUNED["gru"][0](), lr=0.5, clip_norm=1.0, compiled=False)
    after, value, norm = step(parameters, *torch.randint(0, 6, (2, 5, 4)))
    assert torch.stack([value, norm]).isnan().all()
    assert all(array.isnan().all() for array in after.values())


def test_parameters_in_one_piece_of_memory_are_taken_as_they_are():
    whole = torch.arange(12.0)
    first, second = whole[:4].view(2, 2), whole[4:].view(4, 2)
    assert pieces.joined([first, second]) is whole
    others = [[second, first], [first], [first.T, second], [first, second.clone()], [first.clone(), second.clone()]]
    for arrays in others:
        joined = pieces.joined(arrays)
        assert joined is not whole
        assert torch.equal(joined, torch.cat([array.flatten() for array in arrays]))


def test_gradients_of_a_loss_that_is_multiplied():
    torch.manual_seed(0)
    H, W, b = torch.randn(3, 4, 5), torch.randn(5, 6), torch.randn(6)
    labels = torch.randint(0, 6, (4, 3)).T
    leaves = [array.requires_grad_() for array in (H, W, b)]
    once = torch.autograd.grad(few.CrossEntropy.apply(*leaves, labels), leaves)
    thrice = torch.autograd.grad(3 * few.CrossEntropy.apply(*leaves, labels), leaves)
    expected = torch.autograd.grad(
        torch.nn.functional.cross_entropy((H @ W + b).flatten(0, 1), labels.flatten()), leaves
    )
    for a, three, right in zip(once, thrice, expected, strict=True):
        assert torch.equal(3 * a, three)
        torch.testing.assert_close(a, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("in_one_piece", [True, False])
def test_a_captured_graph(monkeypatch, in_one_piece):
    """Of a device that is none: what is replayed is what was captured, on places of its own, and what a call has given
    stays as it is. The same shapes under names in another order are another graph.
    """
    captured, joined = [], []

    def function(parameters, tokens):
        whole = torch.cat([(2 * parameters["a"]).flatten(), parameters["b"] + tokens.sum()])
        parts = whole[4:], whole[:4].view(2, 2)
        captured.append((parameters, tokens))
        b, a = parts if in_one_piece else [part.clone() for part in parts]
        return {"b": b, "a": a}, b[0]

    class Graph:
        def replay(self):
            parameters, tokens = self.given
            views, first = function(parameters, tokens)
            after = views["a"]._base if in_one_piece else cat([views["b"], views["a"].flatten(), first[None]])
            self.whole.copy_(after)

    @contextlib.contextmanager
    def capturing(graph):
        del joined[:]
        yield
        graph.given, graph.whole = captured[-1], joined[-1]

    cat = torch.cat
    monkeypatch.setattr(graph_of_torch, "SMALL", 3)
    monkeypatch.setattr(torch, "cat", lambda arrays: joined.append(cat(arrays)) or joined[-1])
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: mock.Mock())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", mock.Mock())
    as_graph, given = graph_of_torch.as_cuda_graph(function), []
    for number in range(1, 7):
        parameters = {"a": torch.full((2, 2), float(number)), "b": torch.arange(3.0) * number}
        if number > 3:
            parameters = {name: parameters[name] for name in "ba"}
        given.append((parameters, as_graph(parameters, torch.tensor([number, number]))))
        # Three times before it is captured, and once then.
        assert len(captured) == number + (4 if number <= 3 else 8)
    for number, (parameters, (after, first)) in enumerate(given, 1):
        assert torch.equal(after["a"], 2 * parameters["a"])
        assert torch.equal(after["b"], parameters["b"] + 2 * number)
        assert first == after["b"][0]
        assert (parameters["a"] == number).all()


def test_same_shapes_in_another_order_are_other_parameters():
    """A step gives its parameters in the order in which it was given them."""
    parameters = drawn("gru", 6, 9)
    inputs, targets = torch.randint(0, 6, (2, 5, 4))
    step = language_model.training_step(tuned.TUNED["gru"][0](), lr=0.5, clip_norm=1.0, compiled=False)
    other = {name: parameters[name] for name in sorted(parameters)}
    (after, *_), (after_other, *_) = (step(each, inputs, targets) for each in (parameters, other))
    assert list(after) == list(parameters)
    assert list(after_other) == list(other)
    assert all(torch.equal(after[name], after_other[name]) for name in parameters)


def test_more_tokens_than_strips_have(monkeypatch):
    """Then the output layer, and the loop over tokens, are those of other sizes."""
    used = []
    monkeypatch.setattr(few, "_programs", lambda N: used.append(N))
    v, h = kernels.NARROW + 1, 3
    parameters = drawn("gru", v, h)
    step = language_model.training_step(tuned.TUNED["gru"][0](), lr=0.5, clip_norm=1.0, compiled=False)
    inputs, targets = torch.randint(0, v, (2, 4, 2))
    _, value, _ = step(parameters, inputs, targets)
    expected, _ = of_scratch("gru", parameters, inputs, targets)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    assert not used


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("gates", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_products_one_after_another(gates, count):
    """Of small whole numbers, which no order of sums rounds."""
    torch.manual_seed(0)
    H = torch.randint(-2, 3, (3, 6)).float()
    W = torch.randint(-1, 2, (6, gates * 6)).float()
    expected = H
    for _ in range(count):
        expected = expected @ W[:, :6]
    assert expected.abs().max() < 2**24
    assert torch.equal(kernels.products(H, W, count), expected)


@pytest.mark.parametrize(("n", "h"), SIZES)
def test_a_plan_covers_all_and_no_program_waits_for_one_that_cannot_run(n, h):
    plan = kernels.plan(n, h, processors=132)
    if plan is None:
        assert h > kernels.NARROW
        return
    of_rows, of_units = plan.grid(n, h)
    assert of_rows * plan.rows >= n
    assert of_units * plan.mine >= h
    assert of_units == 1 or of_rows * of_units <= 132
    units = plan.constants["UNITS"] * plan.constants.get("PARTS", 1)
    assert units >= h
    assert units & (units - 1) == 0


def test_what_no_plan_fits_is_left_to_the_loops():
    assert kernels.plan(1, kernels.WIDE + 1, processors=132) is None
    # So many rows that programs would wait for some that are not running yet.
    assert kernels.plan(4096, 128, processors=132) is None
    assert kernels.plan(64, 256, processors=8) is None


def test_who_runs_a_loop():
    H0 = torch.zeros(2, 3)
    assert loops.gpu_kernels(H0) is kernels
    assert loops.gpu_kernels(H0.double()) is None
    assert loops.gpu_kernels(torch.zeros(2, kernels.WIDE + 1)) is None
    assert {"Gru", "ResetAfter"} <= set(vars(kernels)) & set(vars(loops))


def test_they_compile_for_a_gpu(process, tmp_path):
    done = process("tests.kernels.compiled", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path / "cache"))
    assert done.stdout == "compiled 16 kernels\n", done.stderr


def test_how_long_they_take(capsys):
    """The table for whoever has a card, at next to no size."""
    table.main(["torch", "--device", "cpu", "--tiny"])
    printed = capsys.readouterr().out
    rows = printed.splitlines()[1:]
    assert len(rows) == 11
    assert all(row.endswith(" us") for row in rows), printed
