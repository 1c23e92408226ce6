"""Files that nothing reads: of each kind one, and no two alike. What each is named is what is wrong with it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import socket
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FORMATS = (
    "isogru-case/1",
    "isogru-result/1",
    "isogru-report/1",
    "isogru-leaderboard/1",
    "isogru-race/1",
    "isogru-rows/2",
    "isogru-manifest/1",
    "isogru-failure/1",
    "isogru-erratum/1",
    "isogru-third-party/1",
    "isogru-cells/1",
)
DEEP = 100_000
LONG = 5_000
"""Digits, of which Python makes no whole number."""


class Evil:
    """What a pickle would do if one were ever run."""

    def __reduce__(self):
        return os.mkdir, ("a-pickle-was-run",)


def make(folder: Path) -> dict[str, Path]:
    """Every kind, as a file (or what is none) of that folder."""
    files = {}
    for name, content in contents().items():
        files[name] = folder / name.replace(" ", "-")
        files[name].write_bytes(content)
    return files | _nodes(folder)


def _nodes(folder: Path) -> dict[str, Path]:
    """What has a name and is no regular file that can be read."""
    here = {
        name: folder / f"node-{name.replace(' ', '-')}"
        for name in (
            "fifo",
            "link to a fifo",
            "folder",
            "link to a folder",
            "socket",
            "loop",
            "link to nothing",
            "sparse",
        )
    }
    os.mkfifo(here["fifo"])
    here["link to a fifo"].symlink_to(here["fifo"])
    here["folder"].mkdir()
    here["link to a folder"].symlink_to(here["folder"])
    before = Path.cwd()
    os.chdir(folder)  # A socket's name has 107 characters at most.
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(here["socket"].name)
    os.chdir(before)
    here["loop"].symlink_to(here["loop"])
    here["link to nothing"].symlink_to(folder / "nothing")
    with here["sparse"].open("wb") as file:
        file.truncate(2**43)
    inside = folder / "a-file"
    inside.write_bytes(b"a text\n")
    return here | {
        "absent": folder / "absent",
        "file within a file": inside / "file",
        "name too long": folder / ("n" * 300),
        "name of no characters that there are": folder / "\udcff\udcfe",
        "name that colours the screen": folder / "\x1b[31m\x07",
        "name of two lines": folder / "a\nb",
        "device without end": Path("/dev/zero"),
        "device without content": Path("/dev/null"),
        "device that is full": Path("/dev/full"),
        "own memory": Path("/proc/self/mem"),
    }


def contents() -> dict[str, bytes]:
    """Bytes that are no file of any kind that is read here."""
    random = np.random.RandomState(0)
    return {
        "empty": b"",
        **{f"{count} zeros": bytes(count) for count in (1, 7, 8, 9, 16, 4096)},
        **{f"{count} ones": b"\xff" * count for count in (1, 8, 4096)},
        **{f"{count} random bytes": random.bytes(count) for count in (8, 64, 4096, 70_000)},
        **_texts(),
        **_json(),
        **_foreign(),
        **_safetensors(),
        **_archives(),
        **_numpy(),
        **_weights(),
        **_databases(),
    }


def _texts() -> dict[str, bytes]:
    text = "the time traveller"
    return {
        "text": text.encode(),
        "text with a mark": b"\xef\xbb\xbf" + text.encode(),
        "latin": "caf\xe9 ".encode("latin-1") * 9,
        "utf-16": text.encode("utf-16"),
        "utf-32": text.encode("utf-32"),
        "half a character": text.encode() + b"\xe2\x82",
        "overlong slash": b"\xc0\xaf",
        "encoded surrogate": b"\xed\xa0\x80",
        "line ends": b"\r\n" * 100,
        "escapes": b"\x1b[31mred\x1b[0m\x07",
        "toml": b'format = "isogru-cells/1"\n[gru]\ntitle = 3\n',
        "yaml": b"!!python/object/apply:os.system ['true']\n",
        "csv": b"=1+1,@x\n",
        "xml": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "html": b"<!doctype html><script>1</script>",
        "shell": b"#!/bin/sh\nexit 0\n",
        "python that raises": b"raise ValueError('no')\n",
        "python that ends": b"raise SystemExit(0)\n",
    }


def _json() -> dict[str, bytes]:
    deep = {
        "lists": b"[" * DEEP + b"]" * DEEP,
        "lists unclosed": b"[" * DEEP,
        "tables": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "lists in a format": b'{"format": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    }
    plain = {
        "null": "null",
        "true": "true",
        "one": "1",
        "nan": "NaN",
        "infinity": "-Infinity",
        "word": '"isogru"',
        "list": "[]",
        "list of lists": "[[], []]",
        "table": "{}",
        "no colon": '{"a" 1}',
        "comma": '{"a": 1,}',
        "cut": '{"format": "isogru-rep',
        "single quotes": "{'a': 1}",
        "comment": '{"a": 1} // one',
        "two": "{} {}",
        "too large a float": '{"a": 1e999}',
        "too small a float": '{"format": -1e-999}',
        "long number": "1" * LONG,
        "long number in a table": f'{{"format": {"1" * LONG}}}',
        "long negative": f'{{"version": -{"9" * LONG}}}',
        "long exponent": '{"format": 1e99999999999999999999}',
        "half a pair": '{"format": "\\ud800"}',
        "zero in a name": '{"\\u0000": "\\u0000"}',
        "same name twice": '{"format": 1, "format": 2}',
        "leading zero": '{"format": 01}',
        "bare newline": '{"a": "\n"}',
        "format that is a list": '{"format": []}',
        "format that is empty": '{"format": ""}',
        "format of another": '{"format": "another/1"}',
    }
    versions = {}
    for format in FORMATS:
        kind = format.partition("/")[0]
        versions[f"{kind} alone"] = json.dumps({"format": format})
        versions[f"{kind} of the future"] = json.dumps({"format": f"{kind}/999", "a": 1})
        versions[f"{kind} of wrong types"] = json.dumps(
            {
                "format": format,
                **{name: [[3]] for name in ("name", "framework", "frameworks", "results", "jobs", "tables")},
            }
        )
    told = {name: text.encode() for name, text in {**plain, **versions}.items()}
    told |= {"no text": b'{"format": "\xff\xfe"}', "no text in a name": b'{"\xff": 1}', "mark": b"\xef\xbb\xbf{}"}
    return {f"json {name}": content for name, content in {**told, **deep}.items()}


def _foreign() -> dict[str, bytes]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        file.addfile(tarfile.TarInfo("../../up"))
    magic = {
        "png": b"\x89PNG\r\n\x1a\n" + bytes(32),
        "gif": b"GIF89a" + bytes(32),
        "pdf": b"%PDF-1.7\n",
        "elf": b"\x7fELF" + bytes(60),
        "gguf": b"GGUF" + bytes(60),
        "parquet": b"PAR1" + bytes(60),
        "riff": b"RIFF" + bytes(60),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(60),
        "class": b"\xca\xfe\xba\xbe" + bytes(60),
        "wasm": b"\x00asm\x01\x00\x00\x00",
    }
    packed = {"gzip": gzip.compress(b"a" * 99, mtime=0), "bz2": bz2.compress(b"a" * 99), "xz": lzma.compress(b"a" * 99)}
    return magic | packed | {"tar": tar.getvalue()} | {f"pickle {n}": pickle.dumps(Evil(), n) for n in range(6)}


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of safetensors that says what it is told to."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def _safetensors() -> dict[str, bytes]:
    def tensor(**changes: object) -> dict[str, object]:
        return {"H": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}

    made = {
        "of no header": safetensors(b""),
        "of half a length": b"\x01\x00\x00",
        "header too long": safetensors({}, length=2**40),
        "header beyond numbers": safetensors({}, length=2**64 - 1),
        "header that is cut": safetensors(tensor(), length=500),
        "header of a list": safetensors([]),
        "header that is no text": safetensors(b'{"\xff": 1}'),
        "header too deep": safetensors(b'{"H":' + b"[" * DEEP + b"]" * DEEP + b"}"),
        "tensor of a number": safetensors({"H": 3}),
        "tensor without a shape": safetensors({"H": {"dtype": "F32"}}),
        "dtype of a number": safetensors(tensor(dtype=3), bytes(4)),
        "shape of a word": safetensors(tensor(shape="1"), bytes(4)),
        "shape below zero": safetensors(tensor(shape=[-1]), bytes(4)),
        "shape with a part": safetensors(tensor(shape=[0.5]), bytes(4)),
        "shape beyond memory": safetensors(tensor(shape=[2**62, 2**62]), bytes(4)),
        "data that is cut": safetensors(tensor(), bytes(3)),
        "data too long": safetensors(tensor(), bytes(40)),
        "offsets turned round": safetensors(tensor(data_offsets=[4, 0]), bytes(4)),
        "offsets below zero": safetensors(tensor(data_offsets=[-4, 0]), bytes(4)),
        "offsets beyond numbers": safetensors(tensor(data_offsets=[0, 2**70]), bytes(4)),
        "one offset": safetensors(tensor(data_offsets=[0]), bytes(4)),
        "tensors that overlap": safetensors({**tensor(), "G": tensor()["H"]}, bytes(4)),
        "metadata of a list": safetensors({"__metadata__": [], **tensor()}, bytes(4)),
        "metadata of numbers": safetensors({"__metadata__": {"format": 1}, **tensor()}, bytes(4)),
    }
    return {f"safetensors {name}": content for name, content in made.items()}


def _zip(*members: tuple[str, bytes], edit: Callable[[bytearray], None] | None = None) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    edited = bytearray(raw.getvalue())
    if edit:
        edit(edited)
    return bytes(edited)


def _archives() -> dict[str, bytes]:
    def encrypted(raw: bytearray) -> None:
        for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            raw[raw.index(magic) + offset] |= 1

    def checksum(raw: bytearray) -> None:
        raw[raw.index(b"content")] ^= 1

    def method(raw: bytearray) -> None:
        for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            raw[raw.index(magic) + offset] = 97

    one = ("a.txt", b"content")
    deep = b"[" * DEEP
    return {
        "zip of nothing": _zip(),
        "zip of a text": _zip(one),
        "zip that leaves its folder": _zip(("../../up.npy", b"x")),
        "zip that is cut": _zip(one)[:-9],
        "zip that begins": b"PK\x03\x04" + bytes(40),
        "zip that ends": b"PK\x05\x06" + b"\xff" * 18,
        "zip encrypted": _zip(("a.npy", b"content"), edit=encrypted),
        "zip of a wrong sum": _zip(("a.npy", b"content"), edit=checksum),
        "zip of a strange method": _zip(("a.npy", b"content"), edit=method),
        "zip of names twice": _zip(("a.npy", b"x"), ("b.npy", b"x")),
        "keras of no weights": _zip(("config.json", b"{}"), ("metadata.json", b"{}")),
        "keras too deep": _zip(("config.json", deep), ("metadata.json", b"{}"), ("model.weights.h5", b"")),
        "keras of no text": _zip(
            ("config.json", b"\xff"), ("metadata.json", b"\xff"), ("model.weights.h5", b"\x89HDF\r\n\x1a\n")
        ),
        "torch of an evil pickle": _zip(("a/data.pkl", pickle.dumps(Evil(), 2)), ("a/version", b"3")),
        "torch of no pickle": _zip(("a/data.pkl", b"\x80\x02"), ("a/version", b"3")),
        "torch of a pickle that is cut": _zip(("a/data.pkl", pickle.dumps({"a": [1]}, 2)[:-1]), ("a/version", b"3")),
        "torch of a deep pickle": _zip(("a/data.pkl", b"\x80\x02" + b"(" * DEEP), ("a/version", b"3")),
        "torch export of no text": _zip(("a/archive_format", b"pt2"), ("a/models/model.json", b"\xff")),
    }


def _npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def _numpy() -> dict[str, bytes]:
    def header(**changes: str) -> bytes:
        told = {"descr": "'<f4'", "fortran_order": "False", "shape": "(1,)", **changes}
        return ("{" + ", ".join(f"'{name}': {value}" for name, value in told.items()) + "}\n").encode()

    npys = {
        "of no header": b"\x93NUMPY",
        "of a later version": _npy(header(), bytes(4), b"\x09\x00"),
        "of a header that is cut": _npy(header())[:20],
        "of a header that is code": _npy(b"__import__('os').mkdir('a-header-was-run')\n"),
        "of a header too deep": _npy(b"(" * 9000),
        "of objects": _npy(header(descr="'|O'"), pickle.dumps(Evil())),
        "of a strange dtype": _npy(header(descr="'<x9'"), bytes(4)),
        "of a dtype that is a number": _npy(header(descr="3"), bytes(4)),
        "of a shape below zero": _npy(header(shape="(-1,)"), bytes(4)),
        "of a shape beyond memory": _npy(header(shape=f"({2**62}, {2**62})"), bytes(4)),
        "of a shape that is a word": _npy(header(shape="'a'"), bytes(4)),
        "that is cut": _npy(header(shape="(9,)"), bytes(4)),
    }
    zipped = {f"npz with one {name}": _zip(("a.npy", content)) for name, content in npys.items()}
    return {f"npy {name}": content for name, content in npys.items()} | zipped


def _weights() -> dict[str, bytes]:
    """What begins as a file of weights does, and goes on as none."""
    mxnet = struct.pack("<QQ", 0x112, 0)
    return {
        "hdf5 of nothing": b"\x89HDF\r\n\x1a\n",
        "hdf5 of zeros": b"\x89HDF\r\n\x1a\n" + bytes(4096),
        "hdf5 of ones": b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096,
        "mxnet of nothing": mxnet,
        "mxnet of too many": mxnet + struct.pack("<Q", 2**63),
        "mxnet of ones": mxnet + b"\xff" * 64,
        "onnx that is cut": b"\x08\x07\x12\x05abc",
        "onnx of a long length": b"\x08\x07\x3a" + b"\xff" * 9 + b"\x01",
        "onnx too deep": b"\x08\x07" + b"\x3a\x7f" * 60,
        "msgpack of a map that is cut": b"\x81\xa1a",
        "msgpack too deep": b"\x81\xa1a" + b"\x91" * DEEP,
        "msgpack of a long map": b"\xdf\xff\xff\xff\xff\xa1a",
        "msgpack of an array beyond memory": b"\x81\xa1a\xc6\xff\xff\xff\xff" + bytes(9),
        "raw of nothing": b"{}\n",
        "raw of a wrong header": b'{"arrays": [["H", "f4", [9223372036854775807, 9]]]}\n' + bytes(8),
        "index of shards elsewhere": b'{"weight_map": {"a": "../up.h5"}}',
        "old torch": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02" + b"\xff" * 40,
    }


def _databases() -> dict[str, bytes]:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table other (name text)")
        other = database.serialize()
        database.execute("create table about (name text primary key, value text)")
        database.execute("insert into about values ('format', 'isogru-trials/9')")
        later = database.serialize()
        database.execute("update about set value = x'ff'")
        blob = database.serialize()
    return {
        "sqlite header": b"SQLite format 3\x00",
        "sqlite header and zeros": b"SQLite format 3\x00" + bytes(4096),
        "sqlite header and ones": b"SQLite format 3\x00" + b"\xff" * 4096,
        "sqlite of another": other,
        "sqlite of the future": later,
        "sqlite of bytes": blob,
        "sqlite that is cut": later[: len(later) // 2],
        "sqlite of a wrong page": later[:100] + b"\xff" * 400 + later[500:],
    }
