"""PyTorch's files, written by PyTorch: what is in them comes out, and nothing that they say is run."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import random
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogru.weight_files import torch as files
from isogru.weight_files.contents import Contents
from isogru.weight_files.torch import names
from isogru.weight_files.torch.archives import Archive
from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.arithmetic import Array

torch = importlib.import_module("torch")


def model(**settings: Any) -> Any:
    torch.manual_seed(0)

    class Tagger(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.emb = torch.nn.Embedding(5, 3)
            self.gru = torch.nn.GRU(3, 4, **settings)
            self.fc = torch.nn.Linear(4 * (1 + bool(settings.get("bidirectional"))), 2)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return self.fc(self.gru(self.emb(x))[0])

    return Tagger().eval()


def saved(path: Path, what: Any, **settings: Any) -> Path:
    torch.save(what, path, **settings)
    return path


def quietly(make: Callable[[], Any]) -> Any:
    """torch has deprecated TorchScript and its quantisation, and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def quantized(layer: Any, what: Any, dtype: Any = torch.qint8) -> Any:
    return quietly(lambda: torch.ao.quantization.quantize_dynamic(layer, what, dtype=dtype))


def exported(path: Path, given: Any) -> None:
    program = quietly(lambda: torch.export.export(given, (torch.zeros(2, 3, dtype=torch.long),)))
    torch.export.save(program, path)


def check(contents: Contents, expected: Any) -> None:
    """That every tensor has its name, shape, dtype and values."""
    assert list(contents.tensors) == list(expected)
    for name, value in expected.items():
        tensor = contents.tensors[name]
        assert tensor.shape == tuple(value.shape), name
        assert tensor.dtype == str(value.dtype).removeprefix("torch."), name
        np.testing.assert_array_equal(tensor.load(), value.detach().numpy(), name)


def sentence(error: pytest.ExceptionInfo[UserError], path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text


def repacked(path: Path, new: Path, change: dict[str, bytes], compressed: tuple[str, ...] = ()) -> Path:
    """An archive with other bytes in some members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            method = zipfile.ZIP_DEFLATED if name.partition("/")[2] in compressed else zipfile.ZIP_STORED
            archive.writestr(name, change.get(name.partition("/")[2], old.read(name)), method)
    return new


STACKS = ({}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True, "bias": False})


@pytest.mark.parametrize("settings", STACKS, ids=str)
def test_a_state_dict_has_the_models_names_and_values(settings: dict[str, Any], tmp_path: Path) -> None:
    state = model(**settings).state_dict()
    path = saved(tmp_path / "model.pt", state)
    check(files.read(path), state)
    check(files.read(saved(tmp_path / "old.pt", state, _use_new_zipfile_serialization=False)), state)


@pytest.mark.parametrize("settings", STACKS, ids=str)
def test_torchscript_and_export_have_the_models_names_and_values(settings: dict[str, Any], tmp_path: Path) -> None:
    given = model(**settings)
    example = torch.zeros(2, 3, dtype=torch.long)
    quietly(lambda: torch.jit.script(given).save(tmp_path / "script.pt"))
    quietly(lambda: torch.jit.trace(given, example).save(tmp_path / "trace.pt"))
    exported(tmp_path / "model.pt2", given)
    for name in ("script.pt", "trace.pt", "model.pt2"):
        check(files.read(tmp_path / name), given.state_dict())


def test_the_code_of_a_frozen_module_tells_which_constants_its_layers_have(tmp_path: Path) -> None:
    given = model(num_layers=2, bidirectional=True)
    quietly(lambda: torch.jit.freeze(torch.jit.script(given)).save(tmp_path / "frozen.pt"))
    contents = files.read(tmp_path / "frozen.pt")
    assert [layer.place for layer in contents.described] == ["gru.l0", "gru.l0_reverse", "gru.l1", "gru.l1_reverse"]
    for layer in contents.described:
        suffix = layer.place.removeprefix("gru.l")
        assert layer.reverse == suffix.endswith("_reverse")
        for name, constant in layer.tensors.items():
            expected = given.state_dict()[f"gru.{name[:-1]}{suffix}"]
            np.testing.assert_array_equal(contents.tensors[constant].load(), expected.numpy())


def test_a_state_dict_of_a_gpu_is_read_on_the_cpu(tmp_path: Path) -> None:
    state = model().state_dict()
    path = saved(tmp_path / "model.pt", state)
    raw = Archive(path).read("data.pkl")
    assert raw.count(b"X\x03\x00\x00\x00cpu") == 1
    raw = raw.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    check(files.read(repacked(path, tmp_path / "gpu.pt", {"data.pkl": raw})), state)


def trained() -> tuple[Any, Any]:
    given = model()
    optimizer = torch.optim.Adam(given.parameters())
    given(torch.zeros(2, 3, dtype=torch.long)).sum().backward()
    optimizer.step()
    return given, optimizer


@pytest.mark.parametrize("key", ["optimizer_state_dict", "second"])
def test_a_checkpoint_has_the_names_of_the_state_dict_inside(key: str, tmp_path: Path) -> None:
    given, optimizer = trained()
    whole = {
        "epoch": 3,
        "loss": torch.tensor(0.25),
        "rng": torch.get_rng_state(),
        "nested": {"model_state_dict": given.state_dict()},
        key: optimizer.state_dict(),
    }
    check(files.read(saved(tmp_path / "model.ckpt", whole)), given.state_dict())
    moments = {number: dict(state) for number, state in optimizer.state_dict()["state"].items()}
    check(files.read(saved(tmp_path / "list.ckpt", [given.state_dict(), moments])), given.state_dict())
    own = {"model": given.state_dict(), "my_optimizer": {"momenta": [torch.ones(3, 3)]}}
    check(files.read(saved(tmp_path / "own.ckpt", own)), given.state_dict())


def test_of_two_state_dicts_each_has_its_name_in_front(tmp_path: Path) -> None:
    state = model().state_dict()
    path = saved(tmp_path / "model.pt", {"step": 1, "nets": {"live": state, "ema": dict(state)}})
    check(files.read(path), {f"{net}.{name}": value for net in ("live", "ema") for name, value in state.items()})


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_are_widened_exactly(dtype: str, tmp_path: Path) -> None:
    value = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    wide = value.to(torch.float64 if dtype == "float64" else torch.float32).numpy()
    tensor = files.read(saved(tmp_path / "narrow.pt", {"w": value, "t": value.t()})).tensors
    assert tensor["w"].dtype == dtype
    assert tensor["w"].load().dtype == wide.dtype
    np.testing.assert_array_equal(tensor["w"].load(), wide)
    np.testing.assert_array_equal(tensor["t"].load(), wide.T)


class Narrow(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Parameters that are tied, transposed, narrow, and buffers that are left out of the state dict."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.a = torch.nn.Linear(3, 3, bias=False)
        self.b = torch.nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.v = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t().to(dtype))
        self.register_buffer("left_out", torch.arange(3.0), persistent=False)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.b(self.a(x)) + self.left_out + self.v.sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_archives_have_tied_transposed_and_narrow_tensors(dtype: Any, tmp_path: Path) -> None:
    given = Narrow(dtype)
    expected = {name: value.float().numpy() for name, value in given.state_dict().items()}
    quietly(lambda: torch.jit.script(given).save(tmp_path / "script.pt"))
    quietly(lambda: torch.export.save(torch.export.export(given, (torch.zeros(2, 3),)), tmp_path / "model.pt2"))
    for name in ("script.pt", "model.pt2"):
        tensors = files.read(tmp_path / name).tensors
        assert set(tensors) == {*expected, "left_out"}
        assert tensors["v"].dtype == str(dtype).removeprefix("torch.")
        for each, value in expected.items():
            np.testing.assert_array_equal(tensors[each].load(), value)


def test_views_parameters_scalars_and_integers(tmp_path: Path) -> None:
    whole = torch.arange(60.0).reshape(6, 10)
    given = {
        "view": whole[1:4, 2:9:3],
        "again": whole,
        "expanded": torch.arange(3.0)[:, None].expand(3, 4),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "integers": torch.tensor([1, 65535], dtype=torch.uint16),
        "complex": torch.tensor([1 + 2j]).conj(),
        "ask": torch.tensor([True, False]),
    }
    check(files.read(saved(tmp_path / "views.pt", given)), {k: v.resolve_conj() for k, v in given.items()})
    parameter = torch.nn.Parameter(whole)
    check(files.read(saved(tmp_path / "parameter.pt", {"p": parameter, "n": "text", "l": [1, 2]})), {"p": parameter})
    check(files.read(saved(tmp_path / "one.pt", whole)), {"0": whole})


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("script", [False, True])
def test_dynamically_quantised_layers(layers: int, bidirectional: bool, script: bool, tmp_path: Path) -> None:
    given = model(num_layers=layers, bidirectional=bidirectional)
    made = quantized(given, {torch.nn.GRU})
    if script:
        quietly(lambda: torch.jit.script(made).save(tmp_path / "q.pt"))
    else:
        saved(tmp_path / "q.pt", {"model": made.state_dict(), "epoch": 1})
    tensors = files.read(tmp_path / "q.pt").tensors
    assert set(tensors) == set(given.state_dict())
    for name, value in made.gru.get_weight().items():
        np.testing.assert_array_equal(tensors[f"gru.{name}"].load(), value.dequantize().numpy())
        assert tensors[f"gru.{name}"].dtype == "float32"
        assert tensors[f"gru.{name}"].note.startswith("dequantised: int8 times 0.00")
    for name, value in made.gru.get_bias().items():
        np.testing.assert_array_equal(tensors[f"gru.{name}"].load(), value.detach().numpy())
        assert tensors[f"gru.{name}"].note == ""


def test_two_quantised_cells_that_may_be_layers_or_directions_are_given_apart(tmp_path: Path) -> None:
    made = quantized(torch.nn.Sequential(torch.nn.GRU(4, 4, 2)), {torch.nn.GRU})
    names = set(files.read(saved(tmp_path / "q.pt", made.state_dict())).tensors)
    parts = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert names == {f"0._all_weight_values.{cell}.{part}" for cell in (0, 1) for part in parts}


def test_quantised_to_float16_and_cells(tmp_path: Path) -> None:
    given = model()
    made = quantized(given, {torch.nn.GRU}, torch.float16)
    tensors = files.read(saved(tmp_path / "half.pt", made.state_dict())).tensors
    expected = given.state_dict()["gru.weight_hh_l0"].half().float().numpy()
    np.testing.assert_array_equal(tensors["gru.weight_hh_l0"].load(), expected)
    assert "float16" in tensors["gru.weight_hh_l0"].note
    cell = quantized(torch.nn.Sequential(torch.nn.GRUCell(3, 4)), {torch.nn.GRUCell})
    tensors = files.read(saved(tmp_path / "cell.pt", cell.state_dict())).tensors
    assert set(tensors) == {"0.weight_ih", "0.weight_hh", "0.bias_ih", "0.bias_hh"}
    np.testing.assert_array_equal(tensors["0.weight_ih"].load(), cell[0].get_weight()["weight_ih"].dequantize().numpy())


def test_quantised_tensors_of_a_state_dict(tmp_path: Path) -> None:
    whole = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    scales, zeros = torch.tensor([0.03, 0.05, 0.07, 0.11], dtype=torch.float64), torch.tensor([1, -2, 3, 0])
    given = quietly(
        lambda: {
            "one": torch.quantize_per_tensor(whole, 0.037, 11, torch.quint8),
            "each": torch.quantize_per_channel(whole, scales, zeros, 0, torch.qint8),
        }
    )
    tensors = files.read(saved(tmp_path / "q.pt", given)).tensors
    # Of the same, beside packed weights, torch.load reads nothing, and isogru's own reader does.
    packed = quantized(model(), {torch.nn.GRU}).state_dict()
    mixed = files.read(saved(tmp_path / "mixed.pt", {**packed, **given})).tensors
    for name, value in given.items():
        for tensor in (tensors[name], mixed[name]):
            np.testing.assert_array_equal(tensor.load(), value.dequantize().numpy())
            assert tensor.dtype == "float32"
            assert tensor.note.startswith("dequantised")


def test_sparse_and_nested_tensors_are_refused_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    given = {"w": torch.ones(2, 2), "s": torch.eye(3).to_sparse(), "n": nested, "m": torch.ones(2, device="meta")}
    path = saved(tmp_path / "odd.pt", given)
    tensors = files.read(path).tensors
    np.testing.assert_array_equal(tensors["w"].load(), np.ones((2, 2)))
    for name, kind in (("s", "sparse"), ("n", "nested"), ("m", "meta")):
        with pytest.raises(InterchangeError) as refused:
            tensors[name].load()
        assert f"{path}: {name} is no plain tensor but " in sentence(refused, path)
        assert kind in str(refused.value)


def test_a_pickled_module_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    given = torch.nn.GRU(3, 4)
    path = saved(tmp_path / "whole.pt", given)
    with pytest.raises(InterchangeError) as refused:
        files.read(path)
    assert "torch.nn.modules.rnn.GRU" in sentence(refused, path)
    assert "torch.save(model.state_dict(), FILE)" in str(refused.value)
    check(files.read(saved(tmp_path / "state.pt", given.state_dict())), given.state_dict())


class Runs:
    """What a pickle runs that wants to: it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["state dict", "old", "script", "constants", "packed", "export", "export before 2.8"])
def test_nothing_that_a_file_says_is_run(kind: str, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "model.pt"
    hostile = pickle.dumps({"gru.weight_ih_l0": Runs(ran)}, 2)
    state = saved(tmp_path / "state.pt", model().state_dict())
    if kind == "old":
        path.write_bytes(b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}, Runs(ran), [])))
    elif kind == "state dict":
        repacked(state, path, {"data.pkl": hostile})
    elif kind == "packed":
        # As in a state dict of a quantised model, whose pickle names this class.
        packed = saved(tmp_path / "q.pt", quantized(model(), {torch.nn.GRU}).state_dict())
        raw = Archive(packed).read("data.pkl")
        repacked(packed, path, {"data.pkl": raw.replace(b"collections\nOrderedDict", b"posix\nsystem")})
    elif kind == "export before 2.8":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("version", "8.7")
            inner = repacked(state, tmp_path / "inner.pt", {"data.pkl": hostile})
            archive.writestr("serialized_state_dict.pt", inner.read_bytes())
    elif kind == "export":
        exported(tmp_path / "model.pt2", model())
        raw = Archive(tmp_path / "model.pt2").read("data/weights/model_weights_config.json")
        raw = raw.replace(b'"use_pickle": false', b'"use_pickle": true')
        change = {"data/weights/model_weights_config.json": raw, "data/weights/weight_1": pickle.dumps(Runs(ran))}
        repacked(tmp_path / "model.pt2", path, change)
    else:
        quietly(lambda: torch.jit.script(model()).save(tmp_path / "script.pt"))
        member = "data.pkl" if kind == "script" else "constants.pkl"
        repacked(tmp_path / "script.pt", path, {member: hostile})
    outcome(path)
    assert not ran.exists()
    if kind in ("state dict", "old", "export before 2.8"):
        with pytest.raises(InterchangeError, match=r"of the class (posix|nt)\.mkdir, and to load it would run code"):
            files.read(path)


def test_the_folder_that_nothing_makes_is_made_by_a_pickle_that_runs(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs(tmp_path / "ran"), 2))
    assert (tmp_path / "ran").exists()


def test_torch_export_before_2_8(tmp_path: Path) -> None:
    memory, state = io.BytesIO(), model().state_dict()
    torch.save(state, memory)
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", memory.getvalue())
        archive.writestr("version", "8.7")
    assert files.recognises((tmp_path / "old.pt2").read_bytes()[:4096], tmp_path / "old.pt2")
    check(files.read(tmp_path / "old.pt2"), state)


def test_a_pickle_that_announces_more_than_is_stored_is_refused(tmp_path: Path) -> None:
    # 36 elements of weight_ih_l0 announced as 255, of which torch.load would give the memory behind.
    path = saved(tmp_path / "model.pt", {"w": torch.zeros(12, 3), "v": torch.ones(12, 30)})
    raw = Archive(path).read("data.pkl")
    assert raw.count(b"K\x24") == 1
    wrong = repacked(path, tmp_path / "wrong.pt", {"data.pkl": raw.replace(b"K\x24", b"K\xff")})
    with pytest.raises(InterchangeError, match="announces 1020 bytes, and 144 are there") as refused:
        files.read(wrong)
    sentence(refused, wrong)


def test_a_tensor_that_announces_more_than_its_storage_has_is_refused(tmp_path: Path) -> None:
    quietly(lambda: torch.jit.script(torch.nn.Linear(30, 12)).save(tmp_path / "script.pt"))
    raw = Archive(tmp_path / "script.pt").read("data.pkl").replace(b"K\x1e", b"K\xff")
    wrong = repacked(tmp_path / "script.pt", tmp_path / "wrong.pt", {"data.pkl": raw})
    with pytest.raises(InterchangeError, match="weight announces 12240 bytes, and 1440 are there") as refused:
        files.read(wrong)
    sentence(refused, wrong)


@pytest.mark.parametrize("kind", ["state dict", "script"])
def test_a_small_member_that_unpacks_to_much_is_not_unpacked(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", {"w": torch.zeros(12, 3)})
    if kind == "script":
        quietly(lambda: torch.jit.script(model()).save(path))
    bomb = repacked(path, tmp_path / "bomb.pt", {"data.pkl": b"N" * 100_000_000}, compressed=("data.pkl",))
    before = resident()
    with pytest.raises(InterchangeError, match="is compressed"):
        files.read(bomb)
    assert resident() - before < 50_000_000


def nested_list(how: str) -> bytes:
    if how == "itself":
        return b"\x80\x02]q\x00h\x00a."
    if how == "deep":
        return b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    if how == "key":
        return b"\x80\x02})" + b"\x85" * 200_000 + b"Ns."
    # Each of 40 lists holds the one before twice: 2^40 values in 200 bytes.
    return b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 40)) + b"."


@pytest.mark.parametrize("how", ["itself", "deep", "key", "doubled"])
def test_values_without_end_are_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A million take a second.
    monkeypatch.setattr(names, "MOST", 10_000)
    path = saved(tmp_path / "model.pt", {"w": torch.zeros(2)})
    quietly(lambda: torch.jit.script(model()).save(tmp_path / "script.pt"))
    for each in (path, tmp_path / "script.pt"):
        wrong = repacked(each, tmp_path / "wrong.pt", {"data.pkl": nested_list(how)})
        with pytest.raises(InterchangeError) as refused:
            files.read(wrong)
        sentence(refused, wrong)


def test_names_that_cannot_be_printed_and_names_twice(tmp_path: Path) -> None:
    name = "gru\n\x1b[31m.weight"
    path = saved(tmp_path / "odd.pt", {name: torch.eye(3).to_sparse(), "w": torch.ones(2)})
    with pytest.raises(InterchangeError) as refused:
        files.read(path).tensors[name].load()
    assert r"gru\n\x1b[31m.weight" in sentence(refused, path)
    twice = saved(tmp_path / "twice.pt", {"a": {"b": torch.ones(2)}, "a.b": torch.ones(2)})
    with pytest.raises(InterchangeError, match=r"two tensors of the name a\.b"):
        files.read(twice)


def outcome(path: Path) -> str:
    """Contents, or one sentence."""
    told: list[UserError] = []
    try:
        for tensor in files.read(path).tensors.values():
            with contextlib.suppress(InterchangeError):
                tensor.load()
        return "read"
    except UserError as error:
        told.append(error)
    assert all(str(error).isprintable() for error in told)
    return "refused"


@pytest.mark.parametrize("kind", ["state", "old", "script", "frozen", "export", "quantized"])
def test_damage_of_any_kind_is_one_sentence(kind: str, tmp_path: Path) -> None:
    path, given = tmp_path / "whole.pt", model(bidirectional=True)
    if kind == "export":
        exported(path, given)
    elif kind in ("script", "frozen"):
        script = quietly(lambda: torch.jit.script(given))
        quietly(lambda: (torch.jit.freeze(script) if kind == "frozen" else script).save(path))
    else:
        state = quantized(given, {torch.nn.GRU}).state_dict() if kind == "quantized" else given.state_dict()
        saved(path, state, _use_new_zipfile_serialization=kind != "old")
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.pt"
    drawn = random.Random(0)
    for place in range(0, len(whole), len(whole) // 20):
        damaged.write_bytes(whole[:place])
        assert outcome(damaged) == "refused", place
    outcomes = set()
    for _ in range(80):
        changed = bytearray(whole)
        changed[drawn.randrange(len(whole))] = drawn.randrange(256)
        damaged.write_bytes(changed)
        outcomes.add(outcome(damaged))
    if kind != "old":
        # The archive's checksums catch what is changed in it, so what it holds is changed first.
        listed = [
            name
            for name in Archive(path).sizes
            if name in ("data.pkl", "constants.pkl") or name.endswith("s_config.json")
        ]
        for _ in range(80):
            member = drawn.choice(listed)
            changed = bytearray(Archive(path).read(member))
            changed[drawn.randrange(len(changed))] = drawn.randrange(256)
            outcomes.add(outcome(repacked(path, damaged, {member: bytes(changed)})))
    assert outcomes == {"read", "refused"}


def test_it_is_known_by_its_content(tmp_path: Path) -> None:
    def known(path: Path) -> bool:
        return files.recognises(path.read_bytes()[:4096], path)

    given = model()
    quietly(lambda: torch.jit.script(given).save(tmp_path / "script"))
    exported(tmp_path / "export.pt2", given)
    paths = [saved(tmp_path / "state", given.state_dict()), tmp_path / "script", tmp_path / "export.pt2"]
    paths.append(saved(tmp_path / "old", given.state_dict(), _use_new_zipfile_serialization=False))
    for path in paths:
        assert known(path), path
        half = tmp_path / "half"
        half.write_bytes(path.read_bytes()[:500])
        assert known(half), path
        with pytest.raises(InterchangeError, match=r"damaged or truncated"):
            files.read(half)
    np.savez(tmp_path / "arrays.npz", **{"data.pkl": np.ones(2), "archive/data.pkl": np.ones(2)})  # type: ignore[arg-type]
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    (tmp_path / "text").write_text("PK is a text")
    (tmp_path / "cut").write_bytes(b"PK\x03\x04" + bytes(100))
    pickle_alone = tmp_path / "pickle"
    pickle_alone.write_bytes(pickle.dumps({"w": 1}, 2))
    for name in ("arrays.npz", "model.keras", "text", "cut", "pickle"):
        assert not known(tmp_path / name), name


def test_what_is_written_is_read_by_torch_and_loaded(tmp_path: Path) -> None:
    given, other = torch.nn.GRU(3, 4, 2), torch.nn.GRU(3, 4, 2)
    state = {name: value.numpy() for name, value in given.state_dict().items()}
    state["weight_ih_l0"] = np.asfortranarray(state["weight_ih_l0"])
    files.write(tmp_path / "gru.pt", state, {"layout": "torch"})
    loaded = torch.load(tmp_path / "gru.pt", weights_only=True)
    assert type(loaded) is dict
    other.load_state_dict(loaded)
    for name, value in given.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    check(files.read(tmp_path / "gru.pt"), given.state_dict())


def test_scalars_and_big_endian_arrays_are_written_and_text_is_refused(tmp_path: Path) -> None:
    files.write(tmp_path / "a.pt", {"s": np.array(2.5), "b": np.arange(3, dtype=">f4")}, {})
    check(files.read(tmp_path / "a.pt"), {"s": torch.tensor(2.5, dtype=torch.float64), "b": torch.arange(3.0)})
    for name, array in (("text.pt", np.array(["a"])), ("gru.pt2", np.ones(3))):
        with pytest.raises(InterchangeError):
            files.write(tmp_path / name, {"w": array}, {})
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("new", [True, False])
def test_a_template_is_filled_and_the_rest_is_as_it_was(new: bool, tmp_path: Path) -> None:
    given, optimizer = trained()
    tied = given.fc.weight.detach()
    state = {**given.state_dict(), "tied": tied, "count": torch.tensor(7)}
    whole = {"epoch": 3, "net": {"state": state}, "optimizer": optimizer.state_dict(), "text": ["a", 1.5]}
    template = saved(tmp_path / "template.pt", whole, _use_new_zipfile_serialization=new)
    before = template.read_bytes()
    arrays = {"gru.weight_hh_l0": np.full((12, 4), 0.5, np.float32), "fc.weight": np.full((2, 4), 2, np.float32)}
    files.fill(template, tmp_path / "filled.pt", arrays)
    filled = torch.load(tmp_path / "filled.pt", weights_only=True)
    assert template.read_bytes() == before
    assert list(filled) == list(whole)
    assert (filled["epoch"], filled["text"]) == (3, ["a", 1.5])
    moments = optimizer.state_dict()["state"]
    assert torch.equal(filled["optimizer"]["state"][0]["exp_avg"], moments[0]["exp_avg"])
    for name, value in filled["net"]["state"].items():
        expected = arrays.get("fc.weight" if name == "tied" else name)
        np.testing.assert_array_equal(value.numpy(), state[name].numpy() if expected is None else expected)


def test_a_template_that_cannot_hold_the_values_is_refused(tmp_path: Path) -> None:
    tied = torch.zeros(2, 2)
    state = {"half": torch.zeros(2, 2, dtype=torch.bfloat16), "a": tied, "b": tied, "r": tied[:1].expand(2, 2)}
    template, path = saved(tmp_path / "template.pt", state), tmp_path / "filled.pt"
    one, fine = np.ones((2, 2), np.float32), np.full((2, 2), 1 + 2**-20, np.float32)
    wrong: list[tuple[dict[str, Array], str]] = [
        ({"half": fine}, "cannot hold these values exactly"),
        ({"a": one, "b": 2 * one}, "shares its memory"),
        ({"r": one}, "cannot be filled"),
        ({"c": one}, "has no tensor c"),
        ({"a": np.ones((2, 3))}, "of the shape"),
    ]
    for arrays, reason in wrong:
        with pytest.raises(InterchangeError, match=reason) as refused:
            files.fill(template, path, arrays)
        sentence(refused, template)
        assert not path.exists()
    files.fill(template, path, {"half": 2 * one})
    assert torch.equal(torch.load(path)["half"], 2 * torch.ones(2, 2, dtype=torch.bfloat16))
    quietly(lambda: torch.jit.script(model()).save(tmp_path / "script.pt"))
    with pytest.raises(InterchangeError, match="is not filled"):
        files.fill(tmp_path / "script.pt", path, {})


def resident() -> int:
    """Bytes of memory that this process has."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is measured where /proc is")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_small_layer_in_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    gru = torch.nn.GRU(64, 64).state_dict()
    large = {f"{n}.weight": torch.ones(2**21) for n in range(16)}
    path = saved(tmp_path / "large.pt", {**large, **{f"gru.{name}": value for name, value in gru.items()}})
    del large
    assert path.stat().st_size > 2**27
    before = resident()
    tensors = files.read(path).tensors
    for name, value in gru.items():
        np.testing.assert_array_equal(tensors[f"gru.{name}"].load(), value.numpy())
    assert resident() - before < 2**24


def test_without_torch_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "model.pt", model().state_dict())
    quietly(lambda: torch.jit.script(model()).save(tmp_path / "script.pt"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install torch$"):
        files.read(path)
    # An archive of raw tensors takes no torch.
    assert "gru.weight_ih_l0" in files.read(tmp_path / "script.pt").tensors
