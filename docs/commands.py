"""python -m docs.commands: docs/commands.md, the command lines as their own help texts tell them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

import frameworks.__main__ as of_frameworks
import isogru.__main__ as of_isogru
import reports.__main__ as of_reports
import shared_spec.__main__ as of_specification
from shared_spec.command import say
from shared_spec.files.whole import write_whole

FILE = Path(__file__).with_name("commands.md")
APPLICATIONS = {
    "isogru": of_isogru.app,
    "python -m shared_spec": of_specification.app,
    "python -m frameworks FRAMEWORK": of_frameworks.app,
    "python -m reports": of_reports.app,
}
HEAD = """# The command lines

Generated from their help texts by `python -m docs.commands`. Exit status everywhere: 0 equal or done, 1 something is
not equal, 2 the input or the request was wrong, 3 it could not be judged. `isogru COMMAND` is the command of the
installed package; in an environment of tox it is `python -m isogru COMMAND`.
"""


def text() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name, app in APPLICATIONS.items() for line in _application(name, app))])


def _application(name: str, app: typer.Typer) -> Iterator[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    yield f"## {name}\n"
    yield f"{_sentence(group.help)}\n"
    for command in group.commands.values():
        if command.hidden:
            continue
        arguments = [p for p in command.params if isinstance(p, TyperArgument)]
        yield f"### {' '.join([name, command.name or '', *(_metavar(p) for p in arguments)])}\n"
        yield f"{_sentence(command.help)}\n"
        rows = [row for p in command.params if isinstance(p, TyperArgument | TyperOption) and (row := _row(p))]
        if rows:
            yield from ("| | |", "|---|---|", *rows, "")


def _metavar(argument: TyperArgument) -> str:
    return argument.metavar or (argument.name or "").upper()


def _row(parameter: TyperArgument | TyperOption) -> str:
    """An option, or an argument that has a help text, with its default where that is worth telling."""
    help = parameter.help
    if isinstance(parameter, TyperArgument):
        return f"| `{_metavar(parameter)}` | {_sentence(help)} |" if help else ""
    default = parameter.default if isinstance(parameter.default, (int, float, str)) else None
    told = f" Default: {default}." if default not in (None, False, "") else ""
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return f"| {names} | {_sentence(help)}{told} |"


def _sentence(help: str | None) -> str:
    return " ".join((help or "").split()).replace("|", "\\|")


def write() -> None:
    """Write docs/commands.md anew."""
    write_whole(FILE, text().encode())
    say(f"wrote {FILE}")


if __name__ == "__main__":
    typer.run(write)
