"""A command line of Typer that says what is wrong with a request in one sentence, as everything else is refused."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.main import get_command

from shared_spec.errors import UserError

_REFUSED: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What Typer raises where a request is wrong: Click's, or its own copy of that, by its version."""


class Application(typer.Typer):
    """Called, it runs the command and ends with SystemExit. Raises UserError for what is no request."""

    @functools.cached_property
    def _command(self) -> Any:
        return get_command(self)

    def __call__(self, arguments: Sequence[str] | None = None, *, prog_name: str = "isogru") -> NoReturn:
        given = sys.argv[1:] if arguments is None else list(arguments)
        try:
            with self._command.make_context(prog_name, given) as context:
                self._command.invoke(context)
        except typer.Exit as ended:
            raise SystemExit(ended.exit_code) from None
        except _REFUSED as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                raise SystemExit(error.exit_code) from None
            raise UserError(_sentence(error, prog_name)) from None
        raise SystemExit(0)


def _sentence(error: Any, prog_name: str) -> str:
    said = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else prog_name
    while context := context and context.parent:
        # An argument of a group, such as the framework, stands in the path by its name.
        for name, value in context.params.items():
            path = path.replace(f"{{{name.upper()}}}", str(value))
    return f"{said[:1].lower()}{said[1:]}; see {path} --help"
