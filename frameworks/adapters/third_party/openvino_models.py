"""OpenVINO's GRUSequence in float32, as the Rosetta table proves it, and as it comes, without a hint."""

from __future__ import annotations

import functools
from dataclasses import replace

from frameworks.adapters import openvino as adapter
from frameworks.adapters.third_party import Implementation, of_adapter

NARROW = "without one it computes in bfloat16 on processors that have it"

versions = adapter.versions


def implementations() -> list[Implementation]:
    every = of_adapter(adapter)
    bare = functools.partial(adapter.run, hints={})
    settings = {"run": bare, "not_run": {}, "expected": NARROW}
    return [*every, *(replace(each, name=f"{each.name}, no precision hint", **settings) for each in every)]
