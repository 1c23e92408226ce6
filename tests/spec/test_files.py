"""How files come in and go out: whole or not at all, over nothing that is no file; what is kept has a checksum."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared_spec.command import main
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door, kept
from shared_spec.files.whole import whole, write_together, write_whole
from tests.spec.refusals import APPS


def test_a_symbolic_link_stays_one_and_rights_stay(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o600)
    link.symlink_to(file)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "loop", "link to a fifo"])
def test_what_is_no_regular_file_is_not_written_over(tmp_path, kind):
    node = tmp_path / "node"
    if kind == "folder":
        node.mkdir()
    elif kind == "loop":
        node.symlink_to(node)
    elif kind == "device":
        node.symlink_to("/dev/null")
    else:
        os.mkfifo(tmp_path / "fifo")
        node = tmp_path / "fifo" if kind == "fifo" else node
        if kind != "fifo":
            node.symlink_to(tmp_path / "fifo")
    before = {each: each.lstat().st_mode for each in tmp_path.iterdir()}
    with pytest.raises(UserError, match="cannot be written: "):
        write_whole(node, b"new")
    assert {each: each.lstat().st_mode for each in tmp_path.iterdir()} == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_of_several_all_are_written_or_none(tmp_path):
    (tmp_path / "one").write_bytes(b"old")
    (tmp_path / "two").write_bytes(b"a file")
    with pytest.raises(UserError, match=r"two/three: cannot be written"):
        write_together({tmp_path / "one": b"new", tmp_path / "two" / "three": b"new"})
    assert (tmp_path / "one").read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]
    write_together({tmp_path / "one": b"new", tmp_path / "four": b"new"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "four").read_bytes() == b"new"


def test_what_a_killed_run_left_is_cleaned_and_what_another_writes_stays(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from shared_spec.files.whole import whole\n"
        "with whole(Path(sys.argv[1])) as beside: beside.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".own.123.part").write_bytes(b"not isogru's")
    with whole(tmp_path / "other") as beside:
        beside.write_bytes(b"whole")
        assert not left.exists()
        # It is alive: another process would leave it.
        assert str(os.getpid()) in beside.name
    assert sorted(each.name for each in tmp_path.iterdir()) == [".own.123.part", "other"]


def test_what_a_killed_run_left_among_the_temporary_files_is_cleaned_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "import os, signal; from shared_spec.files import temporary\n"
        "with temporary.folder() as folder: (folder / 'file').touch(); os.kill(os.getpid(), {})"
    )
    subprocess.run([sys.executable, "-c", code.format("signal.SIGKILL")], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / "isogru-of-somebody").mkdir()
    # Signal 0 is none.
    subprocess.run([sys.executable, "-c", code.format(0)], check=True)
    assert [each.name for each in tmp_path.iterdir()] == ["isogru-of-somebody"]
    assert str(os.getpid()) not in left.name


def test_what_is_kept_comes_back_and_what_is_damaged_does_not(tmp_path):
    file = tmp_path / "kept"
    kept.keep(file, {"a": 1.5})
    assert kept.read(file, dict[str, float]) == {"a": 1.5}
    assert kept.read(file, dict[str, str]) is None
    whole_file = file.read_bytes()
    for place in range(len(whole_file)):
        file.write_bytes(whole_file[:place] + bytes([whole_file[place] ^ 1]) + whole_file[place + 1 :])
        assert kept.read(file, dict[str, float]) is None
    file.unlink()
    os.mkfifo(file)
    assert kept.read(file, dict[str, float]) is None
    kept.keep(file, {"a": 2.0})
    assert kept.read(file, dict[str, float]) == {"a": 2.0}
    (tmp_path / "file").write_bytes(b"")
    kept.keep(tmp_path / "file" / "kept", {})  # It cannot be kept, and nobody minds.


def test_json_is_refused_with_the_place_and_the_remedy(tmp_path):
    file = tmp_path / "a.json"
    for content, said in (
        (b'{"a": [1, "x"]}', "a[1]: expected int, got str"),
        (b'{"\xff": 1}', "not all of it is text in UTF-8"),
        (b"[" * 100_000, "expected object, got array"),
        (b'{"a": [1e999]}', "out of range"),
    ):
        file.write_bytes(content)
        with pytest.raises(InterchangeError) as error:
            door.json(file, dict[str, list[int]], "make it anew")
        words = str(error.value)
        assert words.startswith(f"{file}: damaged: ")
        assert words.endswith("; make it anew")
        assert said.replace("a[1]", "[...][1]") in words, words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cells", "--no-such"], "isogru: no such option: --no-such"),
        (["no-such"], "isogru: no such command 'no-such'"),
        (["verdict"], "isogru: missing argument 'case'"),
        (["judge", "--jobs", "many"], "isogru: invalid value for '--jobs'"),
    ],
)
def test_a_request_that_is_none_is_one_sentence(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        main(lambda: APPS["isogru"](words))
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert printed.lower().startswith(said)
    assert printed.endswith("--help\n")
    assert printed.count("\n") == 1


def test_a_fault_of_our_own_is_no_verdict(capsys):
    def broken():
        raise KeyError("a\x1b[31mb")

    with pytest.raises(SystemExit) as ended:
        main(broken)
    assert ended.value.code == 3
    assert "\x1b" not in capsys.readouterr().err.splitlines()[-1]


def test_the_command_that_is_named_has_its_framework(capsys):
    """So that who types it is helped."""
    with pytest.raises(SystemExit):
        main(lambda: APPS["frameworks"](["torch", "prove", "--no-such"], prog_name="python -m frameworks"))
    assert capsys.readouterr().err.endswith("; see python -m frameworks torch prove --help\n")
