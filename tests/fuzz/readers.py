"""Every reader of files, each with small files that are right: what is mutated, and who reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from isogru import answers, conventions, weight_files
from isogru.judge import code
from isogru.judge.verdict_cache import Kept
from isogru.pack import checking, files
from isogru.score import records as scores
from isogru.score import run as score
from isogru.stacks import answer as stack_answers
from isogru.stacks import problem as stacks
from isogru.suites import reading as suites
from isogru.suites import records as suite_results
from reports.diff import build
from reports.diff.collect import Collection
from reports.pages import schema
from shared_spec import cases, cells, frameworks, language_model, oracle, third_party
from shared_spec.errata import records, texts
from shared_spec.expression import Place, parse
from shared_spec.files import door, interchange, kept, store
from shared_spec.files.interchange import Origin, Result
from shared_spec.language_model import corpus
from shared_spec.race import blocks, definition, rows
from shared_spec.sweeps import stored, trials

HERE = Path(__file__).parent
MODELS = HERE.parent / "models" / "files" / "mxnet"
ROOT = HERE.parents[1]
PLACE = Place("fuzz", 1, 1, "fuzz")
PACKED = "gru-ordinary"
PLAN = score.Plan("float32", 0, "isogru score", (), ("gru-one_step",))
SUITE = b"""\
format = "isogru-suites/1"

[tiny]
title = "no"
sources = ["a: b"]
cell = "gru"
compares = ["H", "final"]
tolerance = { atol = 1e-7, rtol = 1e-3 }
left_out = ""

[[tiny.problems]]
name = "one"
sizes = [1, 1, 2, 1]
X = [[[1, 2]]]
W_x = "normal(1/sqrt(d))"
W_h = 0.1
first = "uniform(1)"
functions = { sigmoid = "relu", tanh = "relu" }
published = [[0.5]]
decimals = 2

[[tiny.problems]]
name = "two"
sizes = [2, 1, 3, 1]
X = "count"
W_x = "block"
W_h = 0
compares = ["gradients"]
tolerance = { ulp = 1 }
"""


@dataclass(frozen=True)
class Reader:
    """Who reads, and what is right for it."""

    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    name: str = "file"
    """Of the file, where that matters."""


def readers(folder: Path) -> Mapping[str, Reader]:
    """By name; right files are made in that folder, which is that of results too."""
    case, origin = cases.build("gru-one_step"), _origin()
    interchange.write_case(folder / "case", case)
    text = language_model.corpus.built_in(language_model.specification().corpus, "")
    small = {"num_train": 2, "num_val": 2, "num_steps": 2, "num_hiddens": 1, "batch_size": 2, "epochs": 1}
    problem = language_model.problem(language_model.recipe("gru", **small), text)
    interchange.write_case(folder / "training", interchange.TrainingCase("training", problem))
    interchange.write_result(folder / "result", Result(origin, oracle.run(case.cell, case.arrays)))
    result = (folder / "result").read_bytes()
    trial = trials.Trial("torch", "tuned", "float32", "cpu", "text", problem.recipe).to_json().encode()
    kept.keep(folder / "kept", Kept("", (), None, None, {"H": "0"}))
    race = definition.Race("race", ["torch"], ["chapter"])
    definition.begin(race)
    manifest = {"format": store.MANIFEST_FORMAT, **asdict(store.Manifest("torch", [store.Job("torch", *"abcd")]))}
    failure = json.dumps({"format": store.FAILURE_FORMAT, "last_words": "no"}).encode()
    record = records.Record("turned-gate", "torch", "float32", {}, {}, {}, records.Wirings([], []), [], {})
    package = third_party.Package("onnx", {}, {}, [third_party.Record("a", "b", "torch", "gru", "float32")])
    board = (ROOT / "reports" / "published" / "2-cores" / "leaderboard.json").read_bytes()
    row = rows.Row("forward-chapter-gru-float32", "tuned", "tuned")
    header = rows.Header(
        framework="torch", device="cpu", threads=1, tf32=False, number=1, plan=(row,), import_=1.0, versions={},
        switches={}, machine={}, corpus="",
    )  # fmt: skip
    end = rows.End(row, rows.Outcome(verdict="equal", seconds=(1.0, 2.0)))
    passed = b"".join(map(rows.encode, (header, rows.Begin(row), end, rows.Done())))
    block = blocks.Block(start=1, workload=row.workload, number=1, seconds={"torch/tuned": 1.0}, calibration=0.01)
    blocks.Writer(folder / "blocks.jsonl").write(block)
    turns = (folder / "blocks.jsonl").read_bytes()
    report = msgspec.json.encode(build.build(Collection()))
    mutants, pack, stack = _mutants(folder), _pack(folder), _stack(folder)
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.zeros((1, 3, 4), np.float32))
    np.savez(npz, weight_ih_l0=np.zeros((3, 2)), weight_hh_l0=np.zeros((3, 1)))
    packed = msgspec.msgpack.encode(
        {"params": {"a": msgspec.msgpack.Ext(1, msgspec.msgpack.encode([[1], "float32", bytes(4)]))}}
    )
    weights = {name: (HERE / "corpus" / name).read_bytes() for name in ("gru.pt", "old.pt", "gru.onnx")} | {
        name: (MODELS / f"{name}.params").read_bytes() for name in ("gru_cell.save_parameters", "sparse")
    }
    models = (*weights.values(), result, npy.getvalue(), npz.getvalue(), packed)
    return {
        "cases": Reader(interchange.read_case, ((folder / "case").read_bytes(), (folder / "training").read_bytes())),
        "results": Reader(interchange.read_result, (result,)),
        "answers": Reader(lambda path: answers.read(path, case), (result, npy.getvalue(), npz.getvalue())),
        "weights": Reader(_weights, models),
        "reports": Reader(schema.read, (report,)),
        "leaderboards": Reader(schema.read_leaderboard, (board,)),
        "races": Reader(definition.read, ((race.folder / "race.json").read_bytes(),), "race/race.json"),
        "passes": Reader(rows.read, (passed,)),
        "blocks": Reader(blocks.read, (turns,)),
        "manifests": Reader(
            lambda path: store.read_manifest("torch"), (json.dumps(manifest).encode(),), "torch/manifest.json"
        ),
        "failures": Reader(store.last_words, (failure,)),
        "errata": Reader(
            lambda path: records.read("turned-gate", "torch"),
            (msgspec.json.encode(record),),
            "errata/turned-gate.torch.json",
        ),
        "third parties": Reader(third_party.read, (msgspec.json.encode(package),)),
        "kept verdicts": Reader(lambda path: kept.read(path, Kept), ((folder / "kept").read_bytes(),)),
        "trials": Reader(lambda path: trials.from_json(door.text(path)), (trial,)),
        "sweeps": Reader(
            lambda path: stored.asked(door.text(path)),
            (b'{"framework": "torch", "grid": {"lr": [1.0]}, "cells": ["gru"]}',),
        ),
        "recipes": Reader(
            lambda path: language_model.recipe_from_json(door.text(path)),
            (language_model.recipe_to_json(problem.recipe).encode(),),
        ),
        "cells": Reader(cells.cells.__wrapped__, (cells.FILE.read_bytes(),)),
        "frameworks": Reader(frameworks.frameworks.__wrapped__, (frameworks.FILE.read_bytes(),)),
        "texts of errata": Reader(texts.entries.__wrapped__, (texts.FILE.read_bytes(),)),
        "conventions": Reader(conventions.every.__wrapped__, (conventions.FILE.read_bytes(),)),
        "scores": Reader(scores.read, (mutants,)),
        "scores begun": Reader(
            lambda path: score._begun(path, PLAN, resume=True), ((folder / "begun.jsonl").read_bytes(),)
        ),
        "suites": Reader(suites.suites.__wrapped__, (SUITE,)),
        "results of suites": Reader(suite_results.read, (_accepted(),)),
        "packs": Reader(lambda path: checking.check(path.parent), (pack,), "pack/pack.json"),
        "arrays of packs": Reader(
            lambda path: checking._checked(path, PACKED, "again"),
            ((ROOT / f"examples/pack/golden/{PACKED}.safetensors").read_bytes(),),
        ),
        "stacks": Reader(stacks.read, ((folder / "stack").read_bytes(),)),
        "answers to stacks": Reader(lambda path: stack_answers.read(path, stack), (npy.getvalue(), npz.getvalue())),
        "equations": Reader(
            lambda path: parse(door.text(path), PLACE),
            (b"Z = sigmoid(X @ W_xz + H @ W_hz + b_z)", b"H = Z * H + (1 - Z) * C"),
        ),
        "corpora": Reader(
            lambda path: corpus.find(language_model.specification().corpus, path=path, sha1="0"),
            (b"the time traveller",),
        ),
    }


def _origin() -> Origin:
    case = cases.build("gru-one_step")
    told = {"framework": "torch", "implementation": "scratch", "lane": "scratch", "dtype": "float64", "device": "cpu"}
    return Origin(case.name, case.digest, "gru", case.cell.digest, **told, unit_roundoff=2.0**-53)


def _weights(path: Path) -> None:
    for tensor in weight_files.read(path).tensors.values():
        tensor.load()


def _mutants(folder: Path) -> bytes:
    """A matrix; and the same while it is being made, in begun.jsonl."""
    tried = scores.Trial("reset_after", "equations", "gru", "gru-one_step", scores.KILLED, "H", 2.0)
    control = scores.Control("gru-one_step", "equal", "H", 0.5)
    mutant = scores.TriedMutant("reset_after", "equations", "no")
    lines = (score.Line(control=control), *[score.Line(trial=tried)] * 8)
    header = score.Header(scores.FORMAT, code.judge(), PLAN.command, [], list(PLAN.cases))
    (folder / "begun.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in (header, *lines)))
    return msgspec.json.encode(
        scores.Matrix("torch", "float32", 0, "isogru score", "0", {"numpy": "1"}, [mutant], [control], [tried])
    )


def _accepted() -> bytes:
    judged = suite_results.Judged("onnx", "no", "gru", "ulp 1", 1, {"a": "b"}, ["c"], 3, 1, ["d"], "")
    off = suite_results.Off("c", 0.5, [0.5, None], caught=True)
    tolerances = suite_results.Tolerances("gru", ["a", "b"], [off], [off], [(0.1, 0.2)])
    mutant = suite_results.ListedMutant("c", "equations", "no")
    return msgspec.json.encode(suite_results.Suites({"gru": [mutant]}, [judged], [tolerances]))


def _pack(folder: Path) -> bytes:
    """The index of a pack that has no case."""
    (folder / "pack").mkdir()
    (folder / "pack" / files.README).write_bytes(b"no")
    digests = {files.README: files.digest(b"no")}
    return files.encoded(files.Index(files.FORMAT, {"gru": ["H = X"]}, {}, [], digests))


def _stack(folder: Path) -> stacks.Stack:
    """Of two layers, as the first array of the answers has it, in the file "stack"."""
    random, layers = np.random.RandomState(0), []
    the_cell = cells.cell("gru")
    for level, d in enumerate((2, 4)):
        sizes = {"n": 3, "d": d, "h": 4}
        shapes = {"H0": ("n", "h"), **the_cell.parameters}
        arrays = {name: random.standard_normal([sizes[s] for s in shape]) for name, shape in shapes.items()}
        layers.append(interchange.Case(f"l{level}", the_cell, {"X": np.zeros((1, 3, 0)), **arrays}))
    stack = stacks.Stack("stack", random.standard_normal((1, 3, 2)), tuple(layers), (0, 1))
    stacks.write(folder / "stack", stack)
    return stack
