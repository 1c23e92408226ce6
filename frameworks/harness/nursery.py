"""The process that starts the contenders of a framework: it imports the framework once in each start of a race and
forks a process for each. To import it for each of them took half of what a start cost. Imports no framework.

Both ends are here: `Nursery`, of whoever runs the race, and `serve`, of the process that forks. A line of JSON asks for
a process, with the files that it is to have; a line of JSON tells its number; and when it has ended, its status comes
by a pipe of its own, since it is no child of whoever asked for it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from frameworks.harness.child import ROOT
from shared_spec import processes
from shared_spec.command import last_words

UP = b"\n"
"""What is said as soon as it can be asked."""
MOST_BYTES = 2**16
"""Of a line."""


class Order(Struct, frozen=True):
    """A process that is asked for."""

    arguments: list[str]
    environment: dict[str, str]
    """What it has beside what all have."""
    planned: int
    """Turns."""


class Born(Struct, frozen=True):
    """A process that was started."""

    pid: int


class LostError(Exception):
    """A process that was asked for is not to be had: it has died, hangs or was stopped, or who is to fork it has."""


class Nursery:
    """The process that forks, as whoever runs the race sees it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], *, limit: float) -> None:
        """Starts it; the command is given `--channel` and the number of a file. Whatever it is asked for is to be
        answered within so many seconds.
        """
        ours, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*command, "--channel", str(theirs.fileno())],
            cwd=ROOT,
            env=processes.for_child(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        ours.settimeout(limit)

    def await_import(self) -> None:
        """Until it can be asked. Raises LostError where it has ended, or cannot be asked in time."""
        self._line("import")

    @property
    def session(self) -> int:
        return self._process.pid

    def start(self, order: Order, files: list[int]) -> int:
        """The number of a new process that has these files, the last of which tells its end; see `serve`. Raises
        LostError.
        """
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(self._channel, [msgspec.json.encode(order) + b"\n"], files)
        return msgspec.json.decode(self._line("answer"), type=Born).pid

    def close(self) -> None:
        """End it, and with it whatever it has started."""
        self._channel.close()
        self._process.kill()
        self._process.wait()
        self._printed.close()

    def _line(self, what: str) -> bytes:
        said = b""
        try:
            while not said.endswith(b"\n"):
                part = self._channel.recv(MOST_BYTES)
                if not part:
                    raise LostError(self._words())
                said += part
        except TimeoutError:
            raise LostError(f"did not {what} within {self._channel.gettimeout():.0f} s") from None
        except ConnectionError:
            raise LostError(self._words()) from None
        return said

    def _words(self) -> str:
        status = self._process.wait()
        self._printed.seek(0)
        return last_words(status, [line.rstrip() for line in self._printed if line.strip()])


def serve(channel: socket.socket, run: Callable[[list[str]], int]) -> None:
    """For the process that forks, once all is imported: what is asked for, until nobody asks any more.

    The files that come with an order are the ends of two pipes, to read turns from and to tell what they took, and
    what is printed to; their numbers are given to `run` as `--turns`. By the last one its exit status is told.
    """
    ended: dict[int, int] = {}
    # A collection would write to pages that all share.
    gc.collect()
    gc.freeze()
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    # A handler is needed for the wakeup.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(reads, selectors.EVENT_READ)
        channel.sendall(UP)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if reads in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(reads, MOST_BYTES)
                _tell_ended(ended)
            if channel.fileno() in ready:
                line, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 4)
                if not line:
                    return
                *of_it, end = files
                parent, pid = os.getpid(), os.fork()
                if not pid:
                    for of_another in (reads, writes, end, *ended.values()):
                        os.close(of_another)
                    selector.close()
                    channel.close()
                    _become(msgspec.json.decode(line, type=Order), of_it, run, parent)
                ended[pid] = end
                for file in of_it:
                    os.close(file)
                channel.sendall(msgspec.json.encode(Born(pid)) + b"\n")


def _tell_ended(ended: dict[int, int]) -> None:
    """By the pipe of each process that has ended."""
    for pid in list(ended):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            end = ended.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(end, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(end)


def _become(order: Order, files: list[int], run: Callable[[list[str]], int], parent: int) -> None:
    """What a fork does: it never comes back."""
    status = 1
    try:
        # A group of its own in the session of who forks it: where that one is gone, POSIX has the system send SIGHUP
        # and SIGCONT to a group that is stopped and cannot look for itself. Then it looks, and ends.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A fork is not ended with its parent, though that one is with its own.
        processes.end_with(parent)
        reads, writes, printed = files
        for number in (1, 2):
            os.dup2(printed, number)
        for end in (reads, writes):
            # What it starts has nothing to do with its turns.
            os.set_inheritable(end, False)
        os.environ.update(order.environment)
        status = run([*order.arguments, "--turns", f"{reads},{writes},{order.planned}"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        # Its last words.
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        # Not sys.exit: what the framework registered to be run at the end belongs to the parent.
        os._exit(status)
