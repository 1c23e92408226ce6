"""The reference that results are held against: the float64 oracle and how far its twins stray, kept between runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from isogru.judge import code
from shared_spec import oracle
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door, store, temporary, tensors
from shared_spec.files.interchange import AnyCase, Case, read_case, write_case
from shared_spec.files.whole import replaced
from shared_spec.language_model import training
from shared_spec.processes import deaf_to_ctrl_c, end_with
from shared_spec.quantities import is_trajectory
from shared_spec.readings import brittle, floats
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array

DIGEST = "digest"
"""In the metadata of a reference: of its arrays, and of what it is one. With another it is damaged, or of another,
and made anew.
"""


@dataclass(frozen=True)
class Reference:
    """What a case should give, and the scale of rounding in one dtype."""

    oracle: Mapping[str, Array]
    """Every quantity of a result, in float64."""
    stray: Mapping[str, Array]
    """For each quantity how far the twins stray from the oracle, an array that broadcasts against it: a value for
    each time step where it has time steps, the running maximum along a trajectory, else one value.
    """
    texts: frozenset[tuple[int, ...]]
    """The predictions of the oracle and of its twins; empty for a cell over a sequence."""
    reach: Mapping[str, Array] = field(default_factory=dict)
    """Where some order of a sum may overflow on the way to a gradient, though the twins' did not: what is infinite or
    no number there is no fault. Only of quantities that have such places.
    """


def get(case: AnyCase, dtype: str, *, kept: bool = True) -> Reference:
    """The reference of a case, from the folder of results where it has been made before. Where it is not to be `kept`,
    it is made here and forgotten: nobody will ask for it again.
    """
    if not kept:
        return _read(_made(case, dtype))
    if known := _known(case, dtype):
        return known
    _make_once(case, dtype)
    return _known(case, dtype) or _read(_made(case, dtype))


def _known(case: AnyCase, dtype: str) -> Reference | None:
    """The reference of a case where it has been made; None where it has not, or its file is damaged."""
    file = _file(case, dtype)
    try:
        door.check(file)
        with safetensors.safe_open(file, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            digest = (opened.metadata() or {}).get(DIGEST)
        return _read(arrays) if tensors.digest(arrays, key(case, dtype)) == digest else None
    except (InterchangeError, safetensors.SafetensorError, OSError, KeyError, TypeError, AttributeError, ValueError):
        return None


def prepare(wanted: Iterable[tuple[AnyCase, str]], *, processes: int) -> None:
    """Make those references that are not there yet, several at a time: trainings and their twins take seconds each."""
    # Whether or not there is something to make: a run that was killed meanwhile left its cases.
    temporary.clean()
    missing = [(case, dtype) for case, dtype in wanted if not _file(case, dtype).exists()]
    if len(missing) < 2 or processes < 2:
        for case, dtype in missing:
            _make_once(case, dtype)
        return
    trainings_first = sorted(missing, key=lambda item: isinstance(item[0], Case))
    with temporary.folder() as folder, pool(processes) as workers:
        files = []
        for number, (case, dtype) in enumerate(trainings_first):
            file = folder / f"{number}.safetensors"
            write_case(file, case)
            files.append((file, dtype))
        list(workers.map(_make_from_file, *zip(*files, strict=True)))


@contextlib.contextmanager
def pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for NumPy's work, with one thread each: the cores are taken by processes. Spawned, not forked: NumPy's
    threads do not survive a fork. What breaks off the block ends them at once, whatever they are at.
    """
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    how: dict[str, Any] = {"mp_context": get_context("spawn"), "initializer": end_with, "initargs": (os.getpid(),)}
    before = {*active_children()}
    with _environment(**single), ProcessPoolExecutor(processes, **how) as workers:
        with deaf_to_ctrl_c():
            # One is started for each that finds none idle, and none is before it has been started.
            for _ in range(processes):
                workers.submit(os.getpid)
        try:
            yield workers
        except BaseException:
            for each in {*active_children()} - before:
                each.kill()
            raise


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make_from_file(file: Path, dtype: str) -> None:
    _make_once(read_case(file), dtype)


def _make_once(case: AnyCase, dtype: str) -> None:
    """Make a reference, unless another process is at it: then wait for that one, and take over where it died."""
    file = _file(case, dtype)
    try:
        lock = store.lock_file(file.with_name(f".{file.name}.lock"))
    except UserError:
        return  # Nothing can be kept there.
    with lock:
        if _known(case, dtype) is None:
            _make(case, dtype)


def _make(case: AnyCase, dtype: str) -> None:
    contiguous = {name: np.ascontiguousarray(array) for name, array in _made(case, dtype).items()}
    raw = safetensors.numpy.save(contiguous, {DIGEST: tensors.digest(contiguous, key(case, dtype))})
    # Where it cannot be kept, on a full disk for one, whoever asks for it makes it anew.
    with contextlib.suppress(UserError), replaced(_file(case, dtype)) as beside:
        beside.write_bytes(raw)


def _made(case: AnyCase, dtype: str) -> dict[str, Array]:
    case = case.held_in(dtype)
    # What a precision cannot hold overflows in twins: nothing is said of it then, and no warning given.
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(case, Case):
            truth = _truth(case) or oracle.run(case.cell, case.arrays)
            twins = [oracle.twin(case.cell, case.arrays, dtype=dtype, seed=seed) for seed in range(oracle.TWINS)]
            twins, reach = _settled(truth, twins)
        else:
            truth = _truth(case) or training.train(case.problem)
            twins = [training.twin(case.problem, dtype=dtype, seed=seed) for seed in range(oracle.TWINS)]
            reach = {}
    arrays = {f"oracle.{name}": array for name, array in truth.items()}
    for name, array in truth.items():
        if name == "text":
            arrays["texts"] = np.stack([array, *(twin["text"] for twin in twins)])
        else:
            arrays[f"stray.{name}"] = pooled_stray(name, array, [twin[name] for twin in twins], dtype)
    return arrays | {f"reach.{name}": array for name, array in reach.items()}


def _settled(
    truth: Mapping[str, Array], twins: list[dict[str, Array]]
) -> tuple[list[dict[str, Array]], dict[str, Array]]:
    """The twins, and where a gradient may overflow. What brittle ones could not go on with on the way back says nothing
    of finite numbers, so that the truth stands there; where their states were none, whatever comes of these is unknown.
    """
    fragile = [twin for seed, twin in enumerate(twins) if brittle.is_brittle(seed)]
    rows = np.any([np.isnan(twin["H"]).any(axis=(0, 2)) for twin in fragile], axis=0)[:, None]
    reach = {}
    for name, array in truth.items():
        # By rows of the batch; a parameter's gradient is a sum over all of them.
        unknown = rows if name in ("H", "final", "grad.X", "grad.H0") else rows.any()
        may = np.zeros(array.shape, np.bool_)
        for twin in fragile:
            here = np.isnan(twin[name]) & ~unknown
            twin[name] = np.where(here, array, twin[name])
            may |= here
        if may.any():
            reach[name] = may
    return twins, reach


def _truth(case: AnyCase) -> Mapping[str, Array] | None:
    """The oracle's own float64, from the reference of any dtype: it is the same in all that are of these numbers."""
    rounded = ("float32",) if isinstance(case, Case) and case.wide else ()
    there = (_known(case, dtype) for dtype in UNIT_ROUNDOFF if dtype not in rounded)
    return next((known.oracle for known in there if known), None)


def pooled_stray(name: str, truth: Array, twins: list[Array], dtype: str) -> Array:
    """How far twins stray from the truth, at least one rounding of the largest value, and what the last operation may
    lose to underflow; pooled so that luck in one element does not count: over all elements of a time step, or of a
    tensor; along a trajectory, up to each step. Where a twin is no finite number the stray is infinite, at that element
    alone, unless the dtype has no other number for it than that infinity.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        held = floats.rounded(truth, dtype)
        beyond = np.isinf(held)
        apart = [np.where(beyond & (twin == held), 0.0, np.abs(twin.astype(np.float64) - truth)) for twin in twins]
        distances = np.max(apart, axis=0)
        floor = np.maximum(UNIT_ROUNDOFF[dtype] * np.abs(truth), np.where(truth, floats.smallest_normal(dtype), 0.0))
    distances = np.where(np.isnan(distances), np.inf, distances)
    own = np.maximum(distances, floor)
    if is_trajectory(name):
        return np.maximum.accumulate(own)
    axes = (1, 2) if truth.ndim == 3 else None
    # What the dtype cannot hold is no measure of what it holds.
    alone = beyond | np.isinf(distances)
    pooled = np.asarray(np.where(alone, 0.0, own).max(axis=axes, keepdims=True))
    return np.where(alone, own, pooled) if alone.any() else pooled


def forget(of: str) -> None:
    """Remove the reference of that key: it is made again where it is needed."""
    _kept(of).unlink(missing_ok=True)


def _read(arrays: Mapping[str, Array]) -> Reference:
    part = {
        prefix: {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in ("oracle.", "stray.", "reach.")
    }
    texts = frozenset(tuple(map(int, row)) for row in arrays.get("texts", np.zeros((0, 0))))
    return Reference(part["oracle."], part["stray."], texts, part["reach."])


def key(case: AnyCase, dtype: str) -> str:
    """Identifies a reference: of which case, in which dtype, made by which code."""
    return f"{case.held_in(dtype).digest}-{code.judge()}.{dtype}"


def _file(case: AnyCase, dtype: str) -> Path:
    return _kept(key(case, dtype))


def _kept(of: str) -> Path:
    return store.reference_folder() / f"{of}.safetensors"
