"""Which jobs a worker sets out to do; no framework is needed to plan."""

from __future__ import annotations

import pytest

from frameworks.harness.worker import Choice, plan
from frameworks.protocol import Implementation
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES

AVAILABLE = [
    Implementation("scratch", "gru", "scratch", DTYPES, lambda: None),
    Implementation("scratch", "rnn", "scratch", DTYPES, lambda: None),
    Implementation("compiled", "gru", "compiled", DTYPES, lambda: None, compiled=True, brief=True),
    Implementation(
        "compiled-xla", "gru", "compiled", DTYPES, lambda: None, compiled=True, brief=True, reason="there is no XLA"
    ),
    Implementation("native", "rnn", "native", ("float32",), lambda: None),
]
CASES = ("gru-ordinary", "gru-wide", "rnn-ordinary")


def stems(**choice):
    return [job.stem.removesuffix(".cpu") for job, _ in plan("torch", AVAILABLE, Choice(CASES, **choice))]


def test_everything_that_is_available_on_the_cases_of_its_cell():
    assert stems(dtypes=("float32",)) == [
        "gru-ordinary.scratch.float32",
        "gru-wide.scratch.float32",
        "rnn-ordinary.scratch.float32",
        "gru-ordinary.compiled.float32",
        "rnn-ordinary.native.float32",
    ]
    assert len(stems()) == 9
    assert stems(implementations=("native",)) == ["rnn-ordinary.native.float32"]


def test_what_only_trains_runs_trainings_and_in_each_dtype_where_it_is_named():
    trains = {"only_trains": True, "default_dtypes": ("float64",)}
    available = [Implementation("chapter-scratch", "gru", "chapter", DTYPES, lambda: None, **trains)]

    def trained(**choice):
        cases = ("gru-ordinary", "short-training-gru", "short-training-rnn")
        return [(job.case, job.dtype) for job, _ in plan("torch", available, Choice(cases, **choice))]

    assert trained() == [("short-training-gru", "float64")]
    assert trained(dtypes=("float32",)) == []
    assert trained(implementations=("chapter-scratch",)) == [("short-training-gru", dtype) for dtype in DTYPES]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {"implementations": ("cudnn",)},
            "torch has no implementation 'cudnn'; it has scratch, compiled, compiled-xla",
        ),
        ({"implementations": ("compiled-xla",)}, "torch/compiled-xla is not available here: there is no XLA"),
        ({"dtypes": ("float16",)}, "no dtype 'float16'; the dtypes are float32, float64"),
    ],
)
def test_what_cannot_be_done_is_said(choice, said):
    with pytest.raises(UserError, match=said):
        stems(**choice)
