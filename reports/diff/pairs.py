"""Implementation against implementation: how far apart any two are on the same problem, and which agree to the bit."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET

from isogru.judge import code, distance
from isogru.judge.comparison import four
from isogru.judge.distance import distances
from isogru.judge.verdict_cache import bits_of
from reports.diff.collect import Collection, Row
from reports.diff.quantities import NOT_COMPARED, PAIRED, Difference, group_of
from reports.diff.records import Distances, Furthest, Pairs
from reports.pages.parts import number
from reports.pages.schema import size
from shared_spec.files import kept, store
from shared_spec.files.interchange import TRACE
from shared_spec.readings.arithmetic import Array

MOST = 40
"""Of the implementations of a cell in a dtype, that are compared each against each: it takes time that grows with their
square, and who reads a larger table?
"""
HELD = 2**28
"""Bytes of results that are held in memory at once, about: of some megabytes each, all that are compared are more."""
KINDS = ("absolute", "relative", "ulp")
Measured = dict[str, tuple[float, float, float]]
"""The largest differences of two results in each quantity: absolute, relative, in units in the last place."""


def matrices(collection: Collection, most: int = MOST) -> Iterator[Pairs]:
    """For each cell and dtype: who is compared, `most` of them, the largest differences over all cases, and who agrees
    to the bit.
    """
    by_problem: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in collection.rows:
        if row.bits:
            by_problem[row.cell, row.job.dtype][row.job.case].append(row)
    for (cell, dtype), by_case in by_problem.items():
        every = list(dict.fromkeys((row.job.framework, row.label) for rows in by_case.values() for row in rows))
        chosen = _chosen(every, most)
        labels = [label for _, label in every if label in chosen]
        compared = {case: [row for row in rows if row.label in chosen] for case, rows in by_case.items()}
        matrix = _Matrices(labels)
        for case, rows in compared.items():
            if len(rows) > 1:
                matrix.add(case, *zip(*_measured(case, dtype, rows), strict=True))
        yield Pairs(
            cell=cell,
            dtype=dtype,
            labels=labels,
            quantities=matrix.records(),
            same_bits=_same_bits(labels, compared),
            left_out=[label for _, label in every if label not in chosen] or UNSET,
        )


def _chosen(every: Sequence[tuple[str, str]], most: int) -> set[str]:
    """Of (framework, label) so many labels: the first of each framework, then the second of each."""
    of_frameworks: dict[str, list[str]] = defaultdict(list)
    for framework, label in every:
        of_frameworks[framework].append(label)
    in_turns = itertools.chain.from_iterable(itertools.zip_longest(*of_frameworks.values()))
    return set(itertools.islice((label for label in in_turns if label is not None), most))


def _order(quantity: str) -> tuple[int, str]:
    return PAIRED.index(group_of(quantity)), quantity


class _Matrices:
    """The largest differences of every two labels in each quantity; of each two once, below the diagonal."""

    def __init__(self, labels: list[str]) -> None:
        self._at = {label: i for i, label in enumerate(labels)}
        self._values: dict[str, Array] = {}
        """Of each quantity (kinds, labels, labels); NaN where two share no case."""
        self._worst: dict[str, Furthest] = {}

    def add(self, case: str, labels: Sequence[tuple[str, str]], measured: Sequence[Measured]) -> None:
        """Every two of a case, and what was measured of them, in the same quantities."""
        at = np.array([sorted((self._at[a], self._at[b])) for a, b in labels])
        names = list(measured[0])
        values = np.array([[of[name] for name in names] for of in measured])
        count = len(self._at)
        for name, of_pairs in zip(names, values.swapaxes(0, 1), strict=True):
            there = self._values.setdefault(name, np.full((len(KINDS), count, count), np.nan))
            j, i = at.T
            there[:, i, j] = np.fmax(there[:, i, j], of_pairs.T)
            top = int(of_pairs[:, 0].argmax())
            absolute, before = float(of_pairs[top, 0]), self._worst.get(name)
            if before is None or absolute > size(before.absolute):
                a, b = labels[top]
                self._worst[name] = Furthest(a=a, b=b, absolute=number(absolute), case=case)

    def records(self) -> list[Distances]:
        """By quantity."""
        return [
            Distances(quantity=name, worst=self._worst[name], **dict(zip(KINDS, map(_rows, values), strict=True)))
            for name, values in sorted(self._values.items(), key=lambda item: _order(item[0]))
        ]


def _rows(matrix: Array) -> list[list[Difference]]:
    """Below the diagonal."""
    return [
        [NOT_COMPARED if value != value else number(value) for value in row[:i]]
        for i, row in enumerate(matrix.tolist())
    ]


def _measured(case: str, dtype: str, rows: list[Row]) -> Iterator[tuple[tuple[str, str], Measured]]:
    """Every two results of a case; what was measured before is kept, under the digests of both."""
    file = store.folder() / "pairs" / f"{case}.{dtype}.msgpack"
    known = kept.read(file, dict[str, Measured]) or {}
    fresh: dict[str, Measured] = {}
    changed = False
    of_label = {row.label: row for row in rows}
    together = max(HELD // max(1, *map(_bytes, rows)) // 2, 1)

    @functools.lru_cache(maxsize=2 * together)
    def flat(label: str) -> list[_Flat]:
        nonlocal changed
        arrays = of_label[label].arrays()
        # A run that goes on meanwhile may have put another result there.
        changed = changed or bits_of(arrays) != of_label[label].bits
        return _flattened(arrays)

    digests, made_by = {row.label: _digest(row) for row in rows}, _code()
    for a, b in _in_tiles(list(of_label), together):
        # Whichever comes first: the difference of two is that of the other two.
        key = " ".join([*sorted((digests[a], digests[b])), made_by])
        measured = fresh.get(key) or known.get(key)
        if measured is None:
            measured = {}
            for one, other in zip(flat(a), flat(b), strict=True):
                measured |= one.against(other)
        fresh[key] = measured
        yield (a, b), measured
    if fresh.keys() != known.keys() and not changed:
        kept.keep(file, fresh)


def _bytes(row: Row) -> int:
    try:
        return row.job.result_file.stat().st_size
    except OSError:  # Taken away meanwhile, of which whoever reads it is told.
        return 0


def _in_tiles(labels: Sequence[str], size: int) -> Iterator[tuple[str, str]]:
    """Every two of them, in such an order that no more than twice `size` of them are needed again and again."""
    tiles = [labels[i : i + size] for i in range(0, len(labels), size)]
    for i, tile in enumerate(tiles):
        yield from itertools.combinations(tile, 2)
        for other in tiles[i + 1 :]:
            yield from itertools.product(tile, other)


class _Flat:
    """Quantities of one dtype as one long array."""

    def __init__(self, members: Mapping[str, Array]) -> None:
        self._names = list(members)
        self._starts = np.cumsum([0, *(array.size for array in members.values())])[:-1].tolist()
        self._values = np.concatenate([array.ravel() for array in members.values()])

    def against(self, other: _Flat) -> Measured:
        differences = distances(self._values, other._values, self._starts)
        return {
            name: (four(one.absolute), four(one.relative), four(one.ulp))
            for name, one in zip(self._names, differences, strict=True)
        }


def _flattened(arrays: Mapping[str, Array]) -> list[_Flat]:
    by_dtype: dict[str, dict[str, Array]] = defaultdict(dict)
    for name, array in sorted(arrays.items()):
        if not name.startswith(TRACE):
            by_dtype[array.dtype.name][name] = array
    return [_Flat(by_dtype[dtype]) for dtype in sorted(by_dtype)]


def _code() -> str:
    """Identifies the code that makes a measurement."""
    return code.digest([*code.files(Path(distance.__file__).parent), Path(__file__)])


def _digest(row: Row) -> str:
    return hashlib.sha1(msgspec.json.encode(sorted(row.bits.items()))).hexdigest()[:12]


def _same_bits(labels: list[str], by_case: Mapping[str, list[Row]]) -> list[list[str]]:
    """The labels in groups of two and more that have the same bits in every quantity of every case they share."""
    bits: dict[str, dict[str, Mapping[str, str]]] = {label: {} for label in labels}
    for case, rows in by_case.items():
        for row in rows:
            bits[row.label][case] = {name: digest for name, digest in row.bits.items() if not name.startswith(TRACE)}
    classes: list[list[str]] = []
    for label in labels:
        for members in classes:
            # With every one of them: by cases that not all have run, two could agree through a third.
            if all(_agree(bits[label], bits[member]) for member in members):
                members.append(label)
                break
        else:
            classes.append([label])
    return [members for members in classes if len(members) > 1]


def _agree(a: Mapping[str, Mapping[str, str]], b: Mapping[str, Mapping[str, str]]) -> bool:
    shared = a.keys() & b.keys()
    return bool(shared) and all(a[case] == b[case] for case in shared)
