"""The command isogru judge: a program in any language, on the catalogue's cases of a cell."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from isogru import reason
from isogru.checking import case_names
from isogru.command import check_function
from isogru.explain_command import Products, Why
from isogru.judge.comparison import EQUAL
from isogru.program_check import Judged, ProgramCheck
from isogru.runners import exchange
from isogru.runners.hints import no_products
from isogru.runners.program import Limits, Program
from isogru.runners.verdict import FAILED, CaseVerdict
from isogru.wording import MARKS, finite, ratio, status
from shared_spec import cases as catalogue
from shared_spec import cells
from shared_spec.__main__ import Json
from shared_spec.cells import Cell
from shared_spec.command import say
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, Case, read_case
from shared_spec.files.origins import coarser

SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
MOST_SECONDS = 7 * 24 * 3600.0
"""Of a call: nobody waits longer, and a timer of the system cannot be set to any number."""
BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
NO_NAMESPACES = "not cut off from the network and from references of earlier verdicts: this system allows no namespaces"
FUNCTION = re.compile(r".+\.py:\w+")


def judge_program(
    command: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="-- PROGRAM...",
            help="The command, after --: {case} and {result} in it become the names of two files, which are "
            "in ISOGRU_CASE and ISOGRU_RESULT too, {here} the folder that you are in. Or FILE.py:NAME, as for check.",
        ),
    ] = None,
    cell: Annotated[str, typer.Option(help="The cell that it claims to be; isogru cells lists them.")] = "",
    dtype: Annotated[str, typer.Option(help="float32, unless float64 is said.")] = "",
    products: Products = "",
    case: Annotated[
        Optional[list[str]],
        typer.Option(help="Only this case, by its name or as a file of isogru case; may be repeated."),
    ] = None,
    format: Annotated[str, typer.Option(help="Of both files: safetensors, npz or raw.")] = exchange.SAFETENSORS,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Ask for gradients too: the case has dH, the result grad.X and so on.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="How long one call may take, such as 500ms, 60s or 5m.")] = "60s",
    memory: Annotated[
        str, typer.Option(help="Address space of each process, such as 512M or 2G; none for no limit.")
    ] = "2G",
    jobs: Annotated[int, typer.Option(help="How many calls run beside each other; 0 for as many as cores.")] = 0,
    network: Annotated[bool, typer.Option("--network", help="Leave the network to it.")] = False,
    why: Why = False,
    as_json: Json = False,
) -> None:
    """Run a program of any language on the catalogue's cases of a cell, each in a folder of its own under limits, and
    judge each result. Exit status: 0 all equal, 1 something is not, or failed, 2 the request was wrong, 3 something
    could not be judged.
    """
    program = command or []
    if len(program) == 1 and FUNCTION.fullmatch(program[0]):
        of_programs = {"format": exchange.SAFETENSORS, "timeout": "60s", "memory": "2G", "jobs": 0, "network": False}
        said = {"format": format, "timeout": timeout, "memory": memory, "jobs": jobs, "network": network}
        if more := next((name for name, value in said.items() if value != of_programs[name]), None):
            raise UserError(f"--{more} goes with a program, which is written after --; {program[0]} is a function")
        if gradients:
            raise UserError(
                "the gradients of a function are another function: isogru check FILE.py:NAME --gradients NAME"
            )
        check_function(program[0], cell=cell, dtype=dtype, products=products, case=case, why=why, as_json=as_json)
        return
    dtype = dtype or "float32"
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join(DTYPES)}")
    if format not in exchange.FORMATS:
        raise UserError(f"no format {format!r}; the formats are {', '.join(exchange.FORMATS)}")
    if jobs < 0:
        raise UserError(f"--jobs is {jobs}, should be 1 or more, or 0 for as many as cores")
    if products and products not in coarser(dtype):
        raise UserError(no_products(products, dtype))
    of, cases = _cases(cell, case, gradients)
    limits = Limits(seconds_of(timeout), bytes_of(memory), network)
    check = ProgramCheck(Program(program, limits), of, dtype, format, gradients, products)
    at_once = min(jobs or len(os.sched_getaffinity(0)), len(cases))
    if not as_json:
        say(_told(of, cases, at_once, limits))
    ruling = check.judged(cases, jobs=at_once, tell=_silent if as_json else _row)
    made = ruling.explain() if why else None
    if as_json:
        record = {
            **json.loads(ruling.verdict.json()),
            "command": program,
            "format": format,
            "limits": {"seconds": limits.seconds, "memory": limits.memory},
            "isolated": ruling.isolated,
            "network": network or not ruling.isolated,
            "calls": {name: ended.record() for name, ended in ruling.calls.items()},
        } | ({"why": made and made.record()} if why else {})
        typer.echo(json.dumps(finite(record), indent=1))
    else:
        for line in _after(ruling, network):
            say(line)
        for line in reason.lines(made) if made else ():
            say(line)
    raise typer.Exit(status(ruling.verdict.verdict))


def _cases(cell: str, chosen: list[str] | None, gradients: bool) -> tuple[Cell, list[Case]]:
    """The cell that is claimed, and the cases. Raises UserError where they are not of it, or of different cells."""
    given = [(name, Path(name)) for name in chosen or ()]
    files = [_of_file(path, gradients) if _is_file(path) else None for _, path in given]
    claimed = [of.cell.name for of in files if of is not None]
    if not cell and not (claimed and len(claimed) == len(given) and len(set(claimed)) == 1):
        raise UserError(f"say which cell it claims to be: --cell {', '.join(cells.cells())}")
    of = cells.cell(cell or claimed[0])
    if other := next((each for each in files if each is not None and each.cell.name != of.name), None):
        raise UserError(f"case {other.name} is one of {other.cell.name}, and --cell says {of.name}")
    named = iter(case_names(of, [name for (name, _), file in zip(given, files, strict=True) if file is None] or None))
    cases = [_built(next(named)) if each is None else each for each in files] if given else [_built(n) for n in named]
    if twice := next((each.name for i, each in enumerate(cases) if each.name in [c.name for c in cases[:i]]), None):
        raise UserError(f"there are two cases of the name {twice}; give each once")
    return of, cases


def _is_file(path: Path) -> bool:
    return path.suffix == ".safetensors" or path.is_file()


def _of_file(path: Path, gradients: bool) -> Case:
    case = read_case(path)
    if not isinstance(case, Case):
        raise UserError(f"{path}: a case of a language model; a program is judged on cases of a cell over a sequence")
    if gradients and "dH" not in case.arrays:
        raise UserError(f"{path}: has no dH, so that it asks for no gradients; make it with --cotangent")
    return case


def _built(name: str) -> Case:
    case = catalogue.build(name)
    assert isinstance(case, Case)
    return case


def seconds_of(text: str) -> float:
    """A time such as 60s. Raises UserError for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text.strip())
    seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise UserError(f"--timeout is {text[:40]!r}, should be a time such as 500ms, 60s or 5m, of seven days at most")
    return seconds


def bytes_of(text: str) -> int | None:
    """A size such as 2G; None for "none". Raises UserError for what is none."""
    if text.strip().lower() == "none":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip().upper().replace("I", "i"))
    size = int(float(match[1]) * BYTES[match[2]]) if match else 0
    if not 0 < size < 2**63:
        raise UserError(f"--memory is {text!r}, should be a size such as 512M or 2G, or none")
    return size


def _told(of: Cell, cases: list[Case], jobs: int, limits: Limits) -> str:
    memory = "without a limit of memory" if limits.memory is None else _size(limits.memory)
    several = f"{len(cases)} cases" if len(cases) > 1 else "1 case"
    return f"{of.name}: {several}, {jobs} at once, each within {limits.seconds:g} s, {memory}"


def _size(count: int) -> str:
    unit, name = (2**30, "GiB") if count % 2**30 == 0 else (2**20, "MiB")
    return f"{count / unit:g} {name}"


def _row(of: CaseVerdict) -> None:
    told = f", ratio {ratio(of.worst.ratio)}" if of.verdict == EQUAL and of.worst else f": {of.sentence}"
    say(f"{MARKS[of.verdict]} {of.verdict}: {of.case}{told}")


def _silent(of: CaseVerdict) -> None:
    pass


def _after(ruling: Judged, network: bool) -> list[str]:
    lines = []
    if not ruling.isolated:
        lines.append(NO_NAMESPACES)
    elif network:
        lines.append("with network, as was said")
    else:
        lines.append("it had no network")
    if not ruling.verdict.roundoff and ruling.verdict.verdict != FAILED:
        why = next(iter(ruling.verdict.unmeasured), "it does not pass on what a unit of that cell would")
        lines.append(f"precision not measured, and taken from the dtype, {ruling.verdict.dtype}: {why}")
    return [*lines, ruling.verdict.sentence]
