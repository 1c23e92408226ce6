"""How command lines end, a user's mistake with one line and exit status 2, never a traceback; how they start others."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shared_spec import processes
from shared_spec.errors import UnjudgedError, UserError

if TYPE_CHECKING:
    import typer

EQUAL, NOT_EQUAL, WRONG, UNJUDGED, INTERRUPTED = 0, 1, 2, 3, processes.INTERRUPTED
"""Exit statuses. Unjudged: the judging itself could not be done."""

LAST_LINES = 5


def repeated(option: str, values: Iterable[str] | None) -> list[str]:
    """An option of a command, once for each value."""
    return [word for value in values or () for word in (option, value)]


def last_words(status: int, printed: Sequence[str]) -> str:
    """How a process ended, from its exit status, and the last lines that it printed."""
    how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    return f"{how}: {' | '.join(printed[-LAST_LINES:]) or 'it said nothing'}"


def printable(text: str) -> str:
    """Text for a terminal: what is no printable character is escaped, so that no file moves the cursor, colours the
    screen or begins a line.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(line: str, *, err: bool = False) -> None:
    """Print one line of text that may come from a file."""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def application(about: str) -> typer.Typer:
    """A command line without shell completion and with plain tracebacks for our own mistakes. Called, it ends with
    SystemExit, or with UserError for options that there are not.
    """
    # Here, since who wants a verdict in Python wants no command line.
    from shared_spec.usage import Application

    return Application(help=about, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main(app: Callable[..., Any]) -> None:
    """Run a command line and exit: 0 equal or done, 1 some verdict not equal, 2 the input or the request was wrong,
    3 something could not be judged, a fault of isogru's own included, 130 broken off.
    """
    _ready()
    try:
        try:
            with processes.heeding_ctrl_c():
                app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _end(f"isogru: {error}", WRONG)
    except UnjudgedError as error:
        _end(f"isogru: {error}", UNJUDGED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _end("isogru: standard output was closed before all was said", WRONG)
    except OSError as error:
        where = error.filename if error.filename is not None else "standard output"
        _end(f"isogru: {where}: {error.strerror or error}", WRONG)
    except Exception as error:
        traceback.print_exc()
        _end(f"isogru: a fault of isogru's own, not of what is judged: {type(error).__name__}: {error}", UNJUDGED)


def _ready() -> None:
    """Standard streams that take every character, and that are there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started this: the first file that is opened would take its number, and what is printed.
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _end(words: str, status: int) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # What cannot be written would be tried again at the end of Python, which then has a status of its own.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        say(words, err=True)
    sys.exit(status)
