"""python -m frameworks.adapters.third_party.worker PACKAGE: in this process, what waits in the package's file.

The file says what runs before it runs: where this process dies, the one that started it knows of what.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import msgspec

from frameworks.adapters.third_party import PACKAGES, Implementation, of_adapter
from frameworks.adapters.third_party.judging import judged
from shared_spec import machine, processes, third_party
from shared_spec.files import store
from shared_spec.third_party import FAILED, RUNNING, UNAVAILABLE, WAITING, Package, Record
from shared_spec.weights import layouts


def records(of: Implementation) -> list[Record]:
    """What is to be run of an implementation, and what is not, with the reason."""
    one = Record(
        of.name,
        of.called,
        of.layout,
        layouts.layout(of.layout).cell,
        dtype="",
        expected=of.expected,
        without_gradients="" if of.gradients else of.without_gradients,
    )
    absent = {dtype: reason for dtype, reason in of.not_run.items() if dtype not in of.dtypes}
    return [
        *(msgspec.structs.replace(one, dtype=dtype) for dtype in of.dtypes),
        *(msgspec.structs.replace(one, dtype=d, status=UNAVAILABLE, reason=why) for d, why in absent.items()),
    ]


def work(name: str) -> None:
    """Run what waits; where nothing is planned yet, plan all."""
    module = importlib.import_module(PACKAGES[name].module)
    versions = {name: str(version) for name, version in module.versions().items()}
    offered = module.implementations() if hasattr(module, "implementations") else of_adapter(module)
    every = {each.name: each for each in offered}
    file = third_party.file_of(name)
    if file.exists():
        kept = third_party.read(file)
    else:
        planned = [record for of in every.values() for record in records(of)]
        kept = Package(name, versions, machine.describe(), planned)
        third_party.write(kept)
    for i, record in enumerate(kept.records):
        if record.status != WAITING:
            continue
        kept = _with(kept, i, msgspec.structs.replace(record, status=RUNNING))
        try:
            judgement = judged(record, every[record.implementation], package=name, versions=versions)
        except Exception as error:  # A fault of the judging is a row too.
            judgement = msgspec.structs.replace(record, status=FAILED, reason=f"not judged: {store.words_of(error)}")
        kept = _with(kept, i, judgement)


def _with(kept: Package, i: int, record: Record) -> Package:
    package = msgspec.structs.replace(kept, records=[*kept.records[:i], record, *kept.records[i + 1 :]])
    third_party.write(package)
    return package


if __name__ == "__main__":
    processes.end_with_parent()
    work(sys.argv[1])
