"""How command lines end, a user's mistake with one line and exit status 2, never a traceback; how they start others."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shared_spec import processes
from shared_spec.errors import UserError

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


def application(about: str) -> typer.Typer:
    """A command line without shell completion and with plain tracebacks for our own mistakes."""
    # Here, since who wants a verdict in Python wants no command line.
    import typer

    return typer.Typer(help=about, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main(app: Callable[..., Any]) -> None:
    """Run a command line and exit: 0 equal or done, 1 some verdict not equal, 2 the input or the request was wrong,
    3 something could not be judged, 130 broken off.
    """
    try:
        with processes.heeding_ctrl_c():
            app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except UserError as error:
        print(f"isogru: {error}", file=sys.stderr)
        sys.exit(WRONG)
