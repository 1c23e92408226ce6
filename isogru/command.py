"""The commands of the referee that judge: a result on a case, a function on the catalogue."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from isogru import checking, judge
from isogru.judge import comparison
from isogru.judge.verdict import ResultVerdict
from isogru.wording import MARKS, finite, ratio
from shared_spec import cells
from shared_spec.__main__ import Json
from shared_spec.command import EQUAL, NOT_EQUAL, UNJUDGED
from shared_spec.errors import UserError
from shared_spec.files.interchange import read_case, read_result


def give_verdict(
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    result_files: Annotated[list[Path], typer.Argument(metavar="RESULT...")],
    as_json: Json = False,
    claim: Annotated[
        Optional[str], typer.Option(help="Judge the results as if they claimed this cell instead of the case's.")
    ] = None,
) -> None:
    """Hold result files against a case: equal, suspect, different or undetermined, and the worst element of each
    quantity. Exit status: 0 all equal, 1 something is not, 2 the request was wrong, 3 something could not be judged.
    """
    case, claimed = read_case(case_file), None if claim is None else cells.cell(claim)
    verdicts = [
        judge.on(case, read_result(file), claim=claimed, name=str(file), case_name=str(case_file))
        for file in result_files
    ]
    if as_json:
        records = [
            {"file": str(f), "verdict": v.verdict, **asdict(v)} for f, v in zip(result_files, verdicts, strict=True)
        ]
        typer.echo(json.dumps(finite(records), indent=1))
    else:
        for file, found in zip(result_files, verdicts, strict=True):
            _show(file, found)
    raise typer.Exit(status(comparison.worst(v.verdict for v in verdicts)))


def _show(file: Path, found: ResultVerdict) -> None:
    typer.echo(f"{MARKS[found.verdict]} {found.verdict}: {file}")
    for one in found.all_findings:
        typer.echo(f"    {MARKS[one.verdict]} {one.sentence(found.origin)}, ratio {ratio(one.ratio)}")


def status(verdict: str) -> int:
    """The exit status that a verdict has."""
    return {comparison.EQUAL: EQUAL, comparison.UNDETERMINED: UNJUDGED}.get(verdict, NOT_EQUAL)


def check_function(
    function: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="(X, H0, parameters) -> H, in NumPy.")],
    cell: Annotated[str, typer.Option(help="The cell that it claims to be; isogru cells lists them.")],
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    gradients: Annotated[
        Optional[str], typer.Option(help="A function of the same file, (X, H0, parameters, dH) -> gradients by name.")
    ] = None,
    case: Annotated[Optional[list[str]], typer.Option(help="Only this case; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Run a function of a Python file on the catalogue's cases of a cell, and judge each."""
    file, _, name = function.rpartition(":")
    if not file or not name:
        raise UserError(f"{function!r} names no function; write FILE.py:FUNCTION, such as my_gru.py:forward")
    module = _module(Path(file))
    forward = _function(module, name, file)
    pulled = None if gradients is None else _function(module, gradients, file)
    found = checking.check(forward, cell=cell, dtype=dtype, gradients=pulled, cases=case or None)
    if as_json:
        typer.echo(found.json())
    else:
        for of in found.cases:
            told = f", ratio {ratio(of.worst.ratio)}" if of.verdict == comparison.EQUAL and of.worst else ""
            typer.echo(f"{MARKS[of.verdict]} {of.verdict}: {of.case}{told}")
        typer.echo(found.sentence)
    raise typer.Exit(status(found.verdict))


def _module(file: Path) -> Any:
    """A Python file as a module, its own folder on the path as if it were run. Raises UserError where it cannot be."""
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    # A file that is named like a module that there is, such as numpy.py, must not stand in its place.
    name = f"file_{file.stem}" if importlib.util.find_spec(file.stem) else file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file}: not a Python file; its name should end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(file.resolve().parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # Whatever is wrong with it is the user's to mend.
        raise UserError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from None
    return module


def _function(module: Any, name: str, file: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{file} has no function {name!r}; it has {', '.join(there) or 'none'}")
    function: Callable[..., Any] = found
    return function
