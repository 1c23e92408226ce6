"""The golden pack: it kills every mutant with as few cases as there can be, and what is kept of it is what is made."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from isogru.pack import checking, files, protobuf
from isogru.pack.candidates import CELLS, Golden, alive, named, upwards
from isogru.pack.cover import alone, cover
from isogru.pack.files import INDEX, Index
from isogru.weight_files.onnx import wire
from shared_spec import oracle
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import tensors
from shared_spec.files.interchange import DTYPES

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "examples/pack/golden"
USE = ROOT / "examples/pack/use.py"
GRU = ROOT / "examples/numpy/gru.py"


@pytest.fixture(scope="module")
def index():
    return msgspec.json.decode((KEPT / INDEX).read_bytes(), type=Index)


@pytest.fixture(scope="module")
def kept(index):
    """The cases as their files have them."""
    goldens = []
    for member in index.cases:
        held, _ = tensors.read(KEPT / f"{member.name}.safetensors", files.FORMAT, "pack")
        case = named(member.name).case
        expected = {name.removeprefix("expected."): a for name, a in held.items() if name.startswith("expected.")}
        bounds = {dtype: {name: held[f"bound.{dtype}.{name}"] for name in expected} for dtype in DTYPES}
        goldens.append(Golden(case, expected, bounds))
    return goldens


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(KEPT, tmp_path / "pack"))


def test_what_is_kept_is_a_pack(index):
    assert checking.check(KEPT) == index


def test_what_is_kept_is_what_is_made_but_for_the_last_digits(index):
    made = msgspec.json.decode(files.made()[INDEX], type=Index)
    assert (made.cases, made.mutants, made.equations) == (index.cases, index.mutants, index.equations)
    assert sorted(made.files) == sorted(index.files)
    # What is given rests on no exp and no tanh.
    given = [name for name in index.files if name == "README.md" or "input_" in name or name.endswith(".onnx")]
    assert {name: made.files[name] for name in given} == {name: index.files[name] for name in given}


@pytest.mark.parametrize(("cell", "dtype"), [*itertools.product(CELLS, DTYPES)])
def test_the_files_kill_every_mutant_and_no_right_result(kept, index, cell, dtype):
    assert index.mutants[cell][dtype] > 100
    assert alive(cell, dtype, kept) == set()
    for golden in (each for each in kept if each.case.cell.name == cell):
        right = oracle.run(golden.case.cell, golden.case.arrays, dtype=dtype)
        del right["final"]
        assert golden.ratio(right, dtype) <= 1


def test_without_one_case_what_it_alone_kills_is_alive(kept, index):
    for member, golden in zip(index.cases, kept, strict=True):
        others = [other for other in kept if other is not golden]
        assert member.alone
        assert set(member.alone) == set().union(*(alive(member.cell, dtype, others) for dtype in DTYPES))


def test_the_command_checks_and_says_what_is_killed(isogru, copy):
    done = isogru("pack", "--check", str(copy))
    assert done.status == 0, done
    counts = "108 in float32, 110 in float64 of gru; 117 in float32, 119 in float64 of gru_reset_after"
    assert done.out.splitlines()[-1] == f"4 cases kill all mutants: {counts}"
    (copy / "README.md").write_text("")
    done = isogru("pack", "--check", str(copy))
    assert (done.status, done.out) == (2, ""), done
    assert done.err.startswith(f"isogru: {copy / 'README.md'}: damaged: ")


def test_the_pack_is_small():
    assert sum(file.stat().st_size for file in KEPT.rglob("*") if file.is_file()) < 200_000


@pytest.mark.parametrize(
    "name", [INDEX, "README.md", "gru-square.npz", "gru-ordinary.safetensors", "onnx/gru-square/model.onnx"]
)
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_flipped_bit_is_seen(copy, name, share):
    raw = bytearray((copy / name).read_bytes())
    raw[int(share * len(raw))] ^= 1
    (copy / name).write_bytes(raw)
    with pytest.raises(InterchangeError, match="damaged: ") as refused:
        checking.check(copy)
    assert str(copy / name) in str(refused.value)
    assert str(refused.value).endswith(f"; write it anew with isogru pack -o {copy}")


def test_a_pack_of_another_version_is_told(copy):
    raw = (copy / INDEX).read_text()
    (copy / INDEX).write_text(raw.replace("isogru-pack/1", "isogru-pack/2"))
    with pytest.raises(InterchangeError, match="its format is 'isogru-pack/2', this isogru reads isogru-pack/1"):
        checking.check(copy)


def test_a_file_too_few_or_too_many_is_told(copy):
    (copy / "more.txt").write_text("")
    with pytest.raises(InterchangeError, match=r"more\.txt: is no file of the pack; take it away"):
        checking.check(copy)
    (copy / "more.txt").unlink()
    (copy / "gru-square.npz").unlink()
    with pytest.raises(InterchangeError, match=r"gru-square\.npz: is missing; write it anew"):
        checking.check(copy)


@pytest.mark.parametrize(("array", "words"), [("W_hz", "W_hz is not that of"), ("expected.H", "what is expected is")])
def test_numbers_that_are_not_those_that_are_computed_are_told(copy, array, words):
    """With right digests: by another oracle, or on purpose."""
    file = copy / "gru-square.safetensors"
    held, metadata = tensors.read(file, files.FORMAT, "pack")
    held[array] = held[array] * np.asarray(1 + 1e-6, held[array].dtype)
    tensors.write(file, held, metadata)
    with_index(copy)
    with pytest.raises(InterchangeError, match=words):
        checking.check(copy)


def with_index(folder, **changes):
    """The copy, whose index says something else, with right digests."""
    index = msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
    digests = {name: files.digest((folder / name).read_bytes()) for name in index.files}
    (folder / INDEX).write_bytes(files.encoded(msgspec.structs.replace(index, files=digests, **changes)))


def test_a_pack_that_does_not_kill_what_it_says_is_told(copy, index):
    first, *others = index.cases
    more = msgspec.structs.replace(first, kills={**first.kills, "float32": 108})
    with_index(copy, cases=[more, *others])
    with pytest.raises(InterchangeError, match=r"gru-ordinary kills 106 mutants in float32, not 108; write it anew"):
        checking.check(copy)
    # Without the square one, whose files are still there.
    with_index(copy, cases=[each for each in index.cases if each.name != "gru-square"])
    with pytest.raises(InterchangeError, match=r"no case kills 'every_matrix_transposed' of gru in float32"):
        checking.check(copy)


def test_bounds_that_let_a_mutant_live_are_told(copy):
    """With right digests."""
    file = copy / "gru-square.safetensors"
    held, metadata = tensors.read(file, files.FORMAT, "pack")
    wide = {name: array + np.float32(name.startswith("bound.")) for name, array in held.items()}
    tensors.write(file, {name: wide[name].astype(array.dtype) for name, array in held.items()}, metadata)
    with_index(copy)
    with pytest.raises(InterchangeError, match=r"gru-square kills \d+ mutants in float32, not 106"):
        checking.check(copy)


def test_a_pack_is_not_made_of_candidates_that_leave_a_mutant_alive():
    with pytest.raises(UserError, match=r"no candidate for the pack kills .* of gru; "):
        files._check_all_are_killed("gru", {"gru-ordinary": frozenset({"update_turned float32"})})


def run(folder, cell, gru):
    """The program that knows nothing of isogru, where nothing of isogru can be imported."""
    command = [sys.executable, "-I", "-c", BARRED, str(USE), str(folder), cell, str(gru)]
    return subprocess.run(command, capture_output=True, text=True)


BARRED = (
    "import runpy, sys\n"
    "sys.modules.update({'isogru': None, 'shared_spec': None})\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def test_a_program_that_knows_nothing_of_isogru_passes_a_right_gru_and_no_wrong_one(tmp_path):
    done = run(KEPT, "gru", GRU)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["right"] * 4
    right, back = "Z * H + (1 - Z) * C", "dZ = g * (H - C)"
    text = GRU.read_text()
    for old, new, quantity in ((right, "(1 - Z) * H + Z * C", "H"), (back, "dZ = 1.0001 * g * (H - C)", "grad.")):
        assert old in text
        (tmp_path / "gru.py").write_text(text.replace(old, new))
        done = run(KEPT, "gru", tmp_path / "gru.py")
        assert done.returncode == 1, done
        assert f"wrong: gru-ordinary in float32: {quantity}" in done.stdout
    assert len(USE.read_text().splitlines()) <= 41


def test_a_cover_has_everything_with_the_fewest():
    # Greedy takes the three halvings, none of which is superfluous; the two rows are fewer.
    halvings = {"most": "abcdhijk", "half": "efmn", "rest": "gp"}
    sets = {name: frozenset(of) for name, of in {**halvings, "one": "abcdefg", "other": "hijkmnp"}.items()}
    assert cover(sets) == ("one", "other")
    assert alone(sets, ("one", "other")) == {name: sets[name] for name in ("one", "other")}
    assert alone(sets, ("most", "one"))["most"] == frozenset("hijk")
    assert cover({"a": frozenset("x"), "b": frozenset("x")}) == ("a",)


def test_a_bound_is_never_rounded_down():
    given = np.random.RandomState(0).uniform(0, 1, 1000)
    raised = upwards(given)
    assert raised.dtype == np.float32
    assert (raised >= given).all()
    assert (np.nextafter(raised, np.float32(0)) < given).all()


def test_a_model_is_what_protobuf_writes():
    golden = named("gru-square")
    given = protobuf.inputs(golden.case.arrays, reset_after=False)
    shapes = {name: array.shape for name, array in given.items()} | {"Y": (7, 1, 3, 4), "Y_h": (1, 3, 4)}
    assert given["W"].shape == (1, 12, 4)
    assert wire.begins_like_a_model(protobuf.model(shapes, hidden_size=300, linear_before_reset=True)[:200])
