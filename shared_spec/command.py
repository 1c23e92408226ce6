"""How every command line of the project ends: a user's mistake is one line and exit status 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from shared_spec.errors import UserError

EQUAL, NOT_EQUAL, WRONG, INTERRUPTED = 0, 1, 2, 130


def application(about: str) -> typer.Typer:
    """A command line without shell completion and with plain tracebacks for our own mistakes."""
    return typer.Typer(help=about, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main(app: Callable[..., Any]) -> None:
    """Run a command line and exit: 0 equal or done, 1 some verdict not equal, 2 the input or the request was wrong."""
    try:
        app()
    except UserError as error:
        print(f"isogru: {error}", file=sys.stderr)
        sys.exit(WRONG)
