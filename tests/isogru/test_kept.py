"""What is kept between runs rests on digests: a flipped bit, or another's file in its place, is nothing."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from isogru.judge import reference, verdict_cache
from shared_spec import cases, oracle
from shared_spec.files.interchange import Origin, Result, write_result
from shared_spec.readings.floats import UNIT_ROUNDOFF


def case():
    return cases.build("rnn-one_unit")


def result(of, dtype="float32", **changes):
    u = UNIT_ROUNDOFF[dtype]
    origin = Origin(of.name, of.digest, of.cell.name, of.cell.digest, "numpy", "m", "scratch", dtype, "cpu", u)
    return Result(origin, {**oracle.run(of.cell, of.arrays, dtype=dtype), **changes})


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """References of this test's own."""
    monkeypatch.setenv("ISOGRU_REFERENCE", str(tmp_path))
    return tmp_path


def flips(content):
    """Single bits flipped, from the first byte to the last."""
    for at in np.linspace(0, len(content) - 1, 25).astype(int):
        yield content[:at] + bytes([content[at] ^ (1 << (at % 8))]) + content[at + 1 :]


def test_a_reference_with_a_flipped_bit_is_made_again(apart):
    first = reference.get(case(), "float32")
    (file,) = apart.glob("*.safetensors")
    whole = file.read_bytes()
    for content in [*flips(whole), whole[:-1], whole + b"\0", b"", whole[32:]]:
        file.write_bytes(content)
        again = reference.get(case(), "float32")
        assert all(np.array_equal(again.oracle[name], array) for name, array in first.oracle.items())
        assert all(np.array_equal(again.stray[name], array) for name, array in first.stray.items())


def test_the_reference_of_another_case_is_none_of_this_one(apart):
    reference.get(cases.build("rnn-one_step"), "float32")
    (other,) = apart.glob("*.safetensors")
    first = reference.get(case(), "float32")
    (file,) = (each for each in apart.glob("*.safetensors") if each != other)
    file.write_bytes(other.read_bytes())
    assert reference.get(case(), "float32").oracle["H"].shape == first.oracle["H"].shape


def test_a_result_that_was_exchanged_is_judged_anew(apart):
    """Of the same size, at the same time."""
    of, file = case(), apart / "it.safetensors"
    right = result(of)
    write_result(file, right)
    before = file.stat()
    assert {f.verdict for f in verdict_cache.verdict_on(file, of, "float32").findings} == {"equal"}
    assert verdict_cache.is_kept(file, of, "float32")
    write_result(file, replace(right, arrays={**right.arrays, "H": -right.arrays["H"]}))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert not verdict_cache.is_kept(file, of, "float32")
    assert "different" in {f.verdict for f in verdict_cache.verdict_on(file, of, "float32").findings}


def test_a_kept_verdict_with_a_flipped_bit_is_made_again(apart):
    of, file = case(), apart / "it.safetensors"
    write_result(file, result(of, H=np.zeros_like(result(of).arrays["H"])))
    first = verdict_cache.verdict_on(file, of, "float32")
    kept = file.with_suffix(".verdict")
    for content in flips(kept.read_bytes()):
        kept.write_bytes(content)
        assert not verdict_cache.is_kept(file, of, "float32")
        again = verdict_cache.verdict_on(file, of, "float32")
        assert {f.quantity: f for f in again.findings} == {f.quantity: f for f in first.findings}


def test_the_verdict_on_another_result_is_none_on_this_one(apart):
    of, right, wrong = case(), apart / "right.safetensors", apart / "wrong.safetensors"
    write_result(right, result(of))
    write_result(wrong, result(of, H=np.zeros_like(result(of).arrays["H"])))
    verdict_cache.verdict_on(right, of, "float32")
    wrong.with_suffix(".verdict").write_bytes(right.with_suffix(".verdict").read_bytes())
    assert "different" in {f.verdict for f in verdict_cache.verdict_on(wrong, of, "float32").findings}
