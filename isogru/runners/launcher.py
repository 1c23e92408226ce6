"""Run one program under limits, and leave nothing of it running. A script of the standard library alone, for a process
of its own: `python -I -S launcher.py REQUEST`.

REQUEST is JSON: argv, folder, case (the name of a file there), seconds, memory and file_size in bytes (null for none),
printed in bytes, network (whether it keeps it), hidden (folders that it does not see). A line of JSON on standard
output tells how it ended. Standard input is a lifeline: where that is closed, as by the end of who started this, the
program is ended too, and its folder removed, unless that held anything but the case when it began.

Three processes: this one watches; the first of a PID namespace, so that the kernel ends whatever is left when that one
ends; and the program. Where the system allows no namespace, orphans come to this one (PR_SET_CHILD_SUBREAPER), which
ends them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
MS_REC, MS_PRIVATE = 0x4000, 0x40000
CHUNK = 65536
KEPT = 4096
"""Of what it printed, the last bytes."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run what the request says, and tell how it ended."""
    request = json.loads(sys.argv[1])
    is_new = set(os.listdir(request["folder"])) <= {request["case"]}  # noqa: PTH208
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    told: dict[str, Any] = {"isolated": _isolate(request)}
    printed, out = os.pipe()
    ended, report = os.pipe()
    first = os.fork()
    if first == 0:
        _first(request, out, report, told["isolated"])
    os.close(out)
    os.close(report)
    began = time.monotonic()
    told |= _watch(request, printed, ended, began)
    told["seconds"] = time.monotonic() - began
    _end(first)
    if told["why"] == "lifeline" and is_new:  # Nobody else is there to do it.
        shutil.rmtree(request["folder"], ignore_errors=True)
    sys.stdout.write(json.dumps(told))


def _isolate(request: dict[str, Any]) -> bool:
    """Namespaces for processes, mounts and, unless it keeps that, the network. Whether the system allows it."""
    flags = CLONE_NEWPID | CLONE_NEWNS | (0 if request["network"] else CLONE_NEWNET)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(flags) != 0:
        if libc.unshare(flags | CLONE_NEWUSER) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
    # What is mounted from here on is seen by nobody else.
    if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0:
        for folder in request["hidden"]:
            libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, None)
    return True


def _first(request: dict[str, Any], out: int, report: int, isolated: bool) -> None:
    """The first process of the namespace: starts the program, waits for it, tells its status, and ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if isolated:
        # Else /proc shows the processes of everybody, by numbers that mean nothing in here.
        libc.mount(b"proc", b"/proc", b"proc", 0, None)
    failed, exec_failed = os.pipe()
    program = os.fork()
    if program == 0:
        _program(request, out, exec_failed)
    os.close(exec_failed)
    os.close(out)
    error = os.read(failed, CHUNK).decode()
    status = 0
    while True:  # Orphans are reaped here too.
        pid, status = os.wait()
        if pid == program:
            break
    os.write(report, json.dumps({"error": error, "status": os.waitstatus_to_exitcode(status)}).encode())
    os._exit(0)


def _program(request: dict[str, Any], out: int, exec_failed: int) -> None:
    """Becomes the program."""
    try:
        os.chdir(request["folder"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.setsid()
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for limit, most in (
            (resource.RLIMIT_AS, request["memory"]),
            (resource.RLIMIT_FSIZE, request["file_size"]),
            (resource.RLIMIT_CORE, 0),
        ):
            if most is not None:
                resource.setrlimit(limit, (most, most))
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores some of them.
            signal.signal(number, signal.SIG_DFL)
        os.execv(request["argv"][0], request["argv"])
    except (OSError, ValueError) as error:
        os.write(exec_failed, (getattr(error, "strerror", None) or str(error)).encode())
    finally:
        os._exit(127)


def _watch(request: dict[str, Any], printed: int, ended: int, began: float) -> dict[str, Any]:
    """Until it ends, or has to be ended, and why: "time", "printed", "lifeline"."""
    told: dict[str, Any] = {"why": "", "status": None, "error": ""}
    words, count = b"", 0
    os.set_blocking(printed, False)
    poll = select.poll()
    for descriptor in (0, printed, ended):
        poll.register(descriptor, select.POLLIN)
    while not told["why"] and told["status"] is None:
        left = request["seconds"] - (time.monotonic() - began)
        if left <= 0:
            told["why"] = "time"
            break
        ready = dict(poll.poll(left * 1000 + 1))
        if 0 in ready and not os.read(0, CHUNK):
            told["why"] = "lifeline"
        if ended in ready:
            report = os.read(ended, CHUNK)
            # Nothing at all where the first process was ended, by whoever can.
            told |= json.loads(report) if report else {"status": -signal.SIGKILL}
        while printed in ready and count <= request["printed"]:
            try:
                chunk = os.read(printed, CHUNK)
            except BlockingIOError:
                break
            if not chunk:
                poll.unregister(printed)
                break
            words, count = (words + chunk)[-KEPT:], count + len(chunk)
        if count > request["printed"]:
            told["why"] = "printed"
    return told | {"words": words.decode(errors="replace")}


def _end(first: int) -> None:
    """End all that is left of it."""
    with contextlib.suppress(OSError):
        os.kill(first, signal.SIGKILL)
    while True:
        for pid in _children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Processes that this one is the parent of."""
    children = []
    for name in [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]:
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:  # noqa: PTH123
            # The name of a program, in parentheses, may hold anything.
            if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                children.append(int(name))
    return children


if __name__ == "__main__":
    main()
