"""Every implementation of the framework under test is equal to the cell that it claims, and to no other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from frameworks.harness.run import run
from frameworks.harness.subject import Subject
from frameworks.protocol import find, implementations
from isogru import judge
from isogru.judge import precision, reference
from shared_spec import cases, frameworks, language_model
from shared_spec.cells import cell, cells
from shared_spec.errors import UserError
from shared_spec.expression import names
from shared_spec.files.interchange import DTYPES, Result, TrainingCase
from shared_spec.race import workloads
from shared_spec.race.workloads import Size, Workload
from tests.equivalence import chosen

UNAVAILABLE = {("torch", "compiled"): "C++ compiler"}
# The tuned cells with a loop by hand, where not all have one.
BY_HAND = {"mxnet": ("gru",)}
PARALLEL = "jax"
"""The framework that has a lane over all steps at once."""
OTHER = {"gru": "gru_reset_after", "gru_reset_after": "gru"}


@pytest.fixture(autouse=True)
def _own_results(results):
    """References are shared, results are the test's own."""


def judged(framework, implementation, case, dtype, device):
    return judge.on(case, run(framework, implementation, case, dtype=dtype, device=device))


def assert_equal(verdict):
    worst = verdict.worst_finding
    assert verdict.verdict == "equal", worst.sentence(verdict.origin)
    assert worst.ratio <= 1


def test_what_there_is(framework):
    everything = implementations(framework)
    by_lane = {lane: {i.cell for i in everything if i.lane == lane} for lane in frameworks.LANES}
    assert by_lane["scratch"] == by_lane["compiled"] == set(cells())
    assert by_lane["native"] == set(frameworks.framework(framework.name).native)
    assert by_lane["tuned"] == set(frameworks.native_cells())
    assert by_lane["parallel"] == set(cells() if framework.name == PARALLEL else ())
    of_chapter = {way: {i.cell for i in everything if i.name == f"chapter-{way}"} for way in ("scratch", "concise")}
    assert of_chapter == {"scratch": set(frameworks.native_cells()), "concise": by_lane["native"]}
    for implementation in everything:
        if implementation.reason:
            assert UNAVAILABLE[framework.name, implementation.name] in implementation.reason
        elif implementation.lane != "native":
            assert implementation.dtypes == DTYPES


def test_the_chapters_own_way_is_proven_once_a_cell_where_none_is_named(framework):
    """Each way in turn, in both dtypes."""
    lane = [each for each in implementations(framework) if each.lane == "chapter"]
    trained = [(each.cell, each.name, dtype) for each in lane for dtype in each.default_dtypes]
    assert sorted(cell for cell, _, _ in trained) == sorted(frameworks.native_cells())
    assert {name for _, name, _ in trained} == {each.name for each in lane}
    assert {dtype for _, _, dtype in trained} == set(DTYPES)


def test_the_folder_imports_the_real_framework(framework):
    known = set(frameworks.framework(framework.name).imports)
    used = [each for each in vars(framework.cells).values() if isinstance(each, ModuleType)]
    real = [each for each in used if each.__name__.partition(".")[0] in known]
    assert real
    assert all("site-packages" in each.__file__ for each in real)
    assert Path(framework.cells.__file__).parts[-3:] == ("frameworks", framework.name, "cells.py")


@pytest.mark.runs(cases.cell_case_names())
def test_states_and_gradients(framework, implementation, name, dtype, device):
    assert_equal(judged(framework, implementation, cases.build(name), dtype, device))


@pytest.mark.runs(cases.training_case_names())
def test_short_training(framework, implementation, name, dtype, device, text, request):
    """Loss, gradients, weights after 1 and 20 steps, perplexities, and the text."""
    whole = (implementation.lane, name) == (chosen.TUNED, chosen.WHOLE) or request.config.getoption("--every-dtype")
    case = cases.build(name, text) if whole else chosen.training(name, text)
    assert_equal(judged(framework, implementation, case, dtype, device))


def test_every_implementation_runs_something_of_each_kind(available):
    """The rule of who runs what leaves nobody out."""
    for implementation in available:
        for dtype in implementation.dtypes:
            ran = [name for name in cases.names() if implementation.runs(name, dtype)]
            kinds = {entry[0].name if (entry := cases.entry_of(name)) else name.partition("-")[0] for name in ran}
            if implementation.only_trains:
                assert kinds == {"short", "full"}, implementation.name
                continue
            assert set(implementation.kinds or ("ordinary", "long", "full")) <= kinds, implementation.name
            if not implementation.brief and not implementation.kinds:
                assert set(ran) == {name for name in cases.names() if cases.cell_name_of(name) == implementation.cell}


def test_who_takes_turns_leaves_nothing_out(available):
    """Every two of lane, cell, kind of case and dtype that meet anywhere meet in what is run; every lane runs each of
    its cells on the ordinary case, in each dtype where that is cheap, and trains them all where it has its own way.
    What only trains does so with one of its cells.
    """
    trains = {each.name for each in available if each.only_trains}
    only = [each.name for each, _, _ in chosen.chosen(available, cases.training_case_names()) if each.only_trains]
    assert sorted(only) == sorted(trains)
    available = [each for each in available if not each.only_trains]
    names = [*cases.cell_case_names(), *cases.training_case_names()]

    def jobs(*, every_dtype):
        made = chosen.chosen(available, names, every_dtype=every_dtype)
        return [(each.name, each.cell, chosen.kind(name), dtype) for each, name, dtype in made]

    def kept(*, every_dtype):
        made = chosen.chosen(available, names, every_dtype=every_dtype)
        gates = [(each.name, each.cell) for each, name, _ in made if each.build_with_gates and cases.is_traced(name)]
        return [set(of) for of in zip(*gates, strict=True)]

    assert kept(every_dtype=False) == kept(every_dtype=True)
    ran, whole = jobs(every_dtype=False), jobs(every_dtype=True)
    assert set(ran) < set(whole)
    assert len(ran) == len(set(ran)) < 0.7 * len(whole)
    for one, other in itertools.combinations(range(4), 2):
        assert {(job[one], job[other]) for job in ran} == {(job[one], job[other]) for job in whole}, (one, other)
    for each in available:
        mine = [(kind, dtype) for lane, cell, kind, dtype in ran if (lane, cell) == (each.name, each.cell)]
        ordinary = [dtype for kind, dtype in mine if kind == chosen.IN_EACH]
        assert tuple(ordinary) == each.dtypes if chosen.runs_in_each(each, chosen.IN_EACH) else len(ordinary) == 1
        trained = [name for name in cases.training_case_names() if chosen.runs(each, name)]
        assert each.lane != chosen.TUNED or {chosen.kind(name) for name in trained} <= set(dict(mine))


def test_a_training_on_which_clipping_acts(framework, available, device, text, request):
    """Of each way to make a step: in one program, by the tuned lane, or neither. One function clips in all of them."""
    # Whole batches alone: a compiler has fewer shapes.
    sizes = {"num_hiddens": 8, "num_steps": 6, "num_train": 128, "num_val": 64, "batch_size": 64, "epochs": 2}
    recipe = language_model.recipe("rnn", start="uniform", clip_norm=0.25, **sizes)
    case = TrainingCase("short-training-rnn", language_model.problem(recipe, text))
    every = request.config.getoption("--every-dtype")
    for dtype in DTYPES if every else [chosen.trained_in("rnn")]:
        known = reference.get(case, dtype)
        assert 2 <= (known.oracle["norm"] > 0.25).sum() < len(known.oracle["norm"])
        there = [i for i in available if i.cell == "rnn" and dtype in i.dtypes and not i.kinds]
        ways = {(i.compiled, i.lane == chosen.TUNED): i for i in reversed(there)}
        assert len(ways) > 1
        for implementation in there if every else ways.values():
            assert_equal(judged(framework, implementation, case, dtype, device))


@pytest.mark.runs(["gru-ordinary", "gru_reset_after-ordinary"])
def test_the_other_reset_placement_is_different(framework, implementation, name, dtype, device):
    """Of each lane, compiled and native ones too."""
    case = cases.build(name)
    if name.startswith("gru_reset_after"):
        # The other cell has no inner bias to be put anywhere.
        case = replace(case, arrays={**case.arrays, "b_hh": np.zeros_like(case.arrays["b_hh"])})
    result = run(framework, implementation, case, dtype=dtype, device=device)
    verdict = judge.on(case, result, claim=cell(OTHER[implementation.cell]))
    assert verdict.verdict == "different"
    assert {f.quantity: f.ratio for f in verdict.findings}["H"] > 100


@pytest.mark.parametrize(("name", "left_out"), [(c, p) for c in cells() for p in cell(c).parameters])
def test_any_term_left_out_is_seen(framework, name, left_out, device):
    """One parameter taken for zero by the framework, and with it its own gradients: a term of the equations is gone. A
    step that leaves it out gives the same numbers, and is another program to compile for each parameter.
    """
    case = cases.build(f"{name}-zero_start")
    without = replace(case, arrays={**case.arrays, left_out: np.zeros_like(case.arrays[left_out])})
    ran = run(framework, find(framework, "scratch", name, "float64"), without, dtype="float64", device=device)
    none = {key: np.zeros_like(array) for key, array in ran.arrays.items() if key.endswith(f"grad.{left_out}")}
    assert set(none) == {f"grad.{left_out}", f"trace.grad.{left_out}"}
    verdict = judge.on(case, Result(replace(ran.origin, case_digest=case.digest), {**ran.arrays, **none}))
    assert verdict.verdict == "different"
    assert f"{framework.name}/scratch" in verdict.worst_finding.sentence(verdict.origin)
    # The equation that lost its term is the one that is wrong by itself, at the first step at which it had one.
    place = next(e.target for e in cell(name).equations if left_out in names(e.expression))
    first = verdict.divergence.first_forward
    assert (first.quantity, first.first_outside) == (f"trace.{place}", 0 if left_out.startswith(("W_x", "b")) else 1)


@pytest.fixture
def without_weight_gradients(framework, monkeypatch):
    """The tuned cells with the products over all rows, in their backward by hand, taken for zero."""
    tuned = framework.tuned
    constructors = [build for build, _ in tuned.TUNED.values() if hasattr(build, "cache_clear")]
    # Those of PyTorch and JAX have a module of their own.
    loops = getattr(tuned, "loops", tuned)
    right = loops._sum_of_products
    monkeypatch.setattr(loops, "_sum_of_products", lambda a, b: 0 * right(a, b))
    for build in constructors:
        build.cache_clear()
    yield
    for build in constructors:
        build.cache_clear()


@pytest.mark.parametrize("name", frameworks.native_cells())
def test_a_gradient_left_out_of_a_backward_by_hand_is_seen(framework, name, device, without_weight_gradients):
    # Of one sequence: there each framework that has a loop by hand takes it.
    case = workloads.case(Workload("gradient", Size("small", T=5, n=1, d=5, h=4), name), 0)
    verdict = judged(framework, find(framework, "tuned", name, "float32"), case, "float32", device)
    outside = {finding.quantity for finding in verdict.findings if finding.verdict == "different"}
    by_hand = name in BY_HAND.get(framework.name, frameworks.native_cells())
    recurrent = [parameter for parameter in case.cell.parameters if parameter.startswith("W_h")]
    assert outside == {f"grad.{parameter}" for parameter in recurrent if by_hand}


@pytest.mark.parametrize(
    ("kind", "T", "n"),
    [
        ("forward", 1, 2),
        ("forward", 5, 2),
        ("forward", 5, 6),
        *(("gradient", *s) for s in ((1, 2), (5, 1), (5, 2), (5, 6))),
    ],
)
@pytest.mark.parametrize("name", frameworks.native_cells())
def test_each_way_of_a_tuned_lane_is_equal(framework, name, device, kind, T, n, monkeypatch):
    """It may have one for a single step, for fewer or more sequences than units, and for gradients."""
    monkeypatch.setattr(framework.tuned, "MANY", 1, raising=False)
    case = workloads.case(Workload(kind, Size("small", T=T, n=n, d=5, h=4), name), 0)
    assert_equal(judged(framework, find(framework, "tuned", name, "float32"), case, "float32", device))


def test_the_precision_delivered_is_measured(framework, device):
    for name in ("gru", "rnn"):
        scratch = find(framework, "scratch", name, "float32")
        for dtype, u in (("float32", 2.0**-24), ("float64", 2.0**-53)):
            subject = Subject(framework, scratch, dtype=dtype, device=device)
            roundoff = precision.measure(subject.states, cell(name), dtype=dtype)
            assert set(roundoff) == {"product", "sum", "tanh", "cell"} | ({"sigmoid"} if name == "gru" else set())
            assert (roundoff["product"], roundoff["sum"]) == (u, u)
            # A function may be off by a few units; no format has fewer than three bits less than the next.
            assert all(u / 2 <= value <= 6 * u for value in roundoff.values()), roundoff


def test_a_float64_that_is_float32_is_a_lie(framework, device):
    where = {"dtype": "float64", "device": device}
    right = find(framework, "scratch", "gru", "float64").build()

    def lying(X, H0, parameters):
        low = [
            framework.runtime.tensor(framework.runtime.to_numpy(a), dtype="float32", device=device)
            for a in (X, H0, *parameters.values())
        ]
        H, final = right(low[0], low[1], dict(zip(parameters, low[2:], strict=True)))
        high = [
            framework.runtime.tensor(framework.runtime.to_numpy(a), dtype="float64", device=device) for a in (H, final)
        ]
        return tuple(high)

    scratch = replace(find(framework, "scratch", "gru", "float64"), build=lambda: lying)
    roundoff = precision.measure(Subject(framework, scratch, **where).states, cell("gru"), dtype="float64")
    assert {name: round(np.log2(u)) for name, u in roundoff.items() if name in ("product", "sum", "cell")} == {
        "product": -24,
        "sum": -24,
        "cell": -24,
    }
    honest = run(framework, find(framework, "scratch", "gru", "float64"), cases.build("gru-one_step"), **where).origin
    assert honest.lie == ""
    lie = replace(honest, unit_roundoff=precision.unit_roundoff(roundoff, "float64")).lie
    assert lie == "asked for float64, computed with unit roundoff 6.0e-08: the label lies"


def test_a_run_is_repeatable(framework, device):
    case = cases.build("gru-ordinary")
    scratch = find(framework, "scratch", "gru", "float32")
    one, two = (run(framework, scratch, case, dtype="float32", device=device) for _ in range(2))
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)
    assert one.origin == two.origin
    assert one.origin.versions
    assert "threads" in one.origin.switches


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cudnn", "gru", "float32"), "has no implementation 'cudnn' of gru; for this cell it has scratch, "),
        (("scratch", "gru", "float16"), "scratch of gru does not run in 'float16'; it runs in float32, float64"),
        (("scratch", "lstm", "float32"), "has no implementation 'scratch' of lstm"),
    ],
)
def test_what_is_not_there(framework, arguments, said):
    with pytest.raises(UserError, match=said):
        find(framework, *arguments)


def test_a_device_that_is_not_there(framework):
    with pytest.raises(UserError, match=f"{framework.name} has no device 'tpu' here; it has cpu"):
        framework.runtime.setup(device="tpu")
