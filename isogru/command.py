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

from isogru import answers, checking, reason, stacks
from isogru.explain_command import Products, Why
from isogru.judge import comparison
from isogru.models.layers_command import Name, named
from isogru.models.own_case import own_case
from isogru.models.selection import Wish
from isogru.runners.callable import AUTO
from isogru.stacks.command import give_on_stack
from isogru.verdict_lines import show
from isogru.wording import MARKS, finite, ratio, status
from shared_spec import __main__ as specification
from shared_spec import cells
from shared_spec.__main__ import CorpusPath, CorpusSha1, Json, Output
from shared_spec.command import say
from shared_spec.errors import UserError
from shared_spec.files.interchange import read_case
from shared_spec.files.interchange import write_case as write_case_file


def give_verdict(
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    result_files: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT...", help="Result files, or states in .npy, .npz, .pt."),
    ],
    as_json: Json = False,
    claim: Annotated[
        Optional[str], typer.Option(help="Judge the results as if they claimed this cell instead of the case's.")
    ] = None,
    time: Annotated[str, typer.Option(help="Which axis of the states is time: first, or second after the batch.")] = "",
    products: Products = "",
    why: Why = False,
) -> None:
    """Hold results against a case: equal, suspect, different or undetermined, and the worst element of each quantity.
    A file of plain arrays holds all states H (T, n, h), the last one final (n, h), gradients grad.X and so on, or a
    part. Exit status: 0 all equal, 1 something is not, 2 the request was wrong, 3 something could not be judged.
    """
    if time not in ("", answers.TIME_FIRST, answers.BATCH_FIRST):
        raise UserError(f"--time is {time!r}, should be {answers.TIME_FIRST} or {answers.BATCH_FIRST}")
    if stacks.is_stack(case_file):
        if claim is not None:
            raise UserError(f"{case_file}: a stack; --claim is of one layer: make its case with isogru case --layer")
        give_on_stack(case_file, result_files, as_json=as_json, time=time, why=why, products=products)
        return
    case, claimed = read_case(case_file), None if claim is None else cells.cell(claim)
    verdicts, reasons = [], []
    for file in result_files:
        answer = answers.read(file, case, time=time)
        judged = answers.judged(
            case, answer, claim=claimed, products=products, name=str(file), case_name=str(case_file)
        )
        verdicts.append(judged)
        asked = why and judged.verdict.verdict != comparison.EQUAL
        reasons.append(judged.cause or reason.why(case, judged.result, judged.verdict, claimed) if asked else None)
    if as_json:
        records = [
            {"file": str(f), "verdict": v.verdict, "notes": list(notes), **asdict(v)}
            | ({"why": made and made.record()} if why else {})
            for f, (v, notes, *_), made in zip(result_files, verdicts, reasons, strict=True)
        ]
        typer.echo(json.dumps(finite(records), indent=1))
    else:
        for file, (verdict, notes, *_), made in zip(result_files, verdicts, reasons, strict=True):
            show(file, verdict, notes)
            for line in reason.lines(made) if made else ():
                say(f"    {line}")
    raise typer.Exit(status(comparison.worst(each.verdict.verdict for each in verdicts)))


def write_case(
    output: Output,
    name: Annotated[Optional[str], typer.Argument(help="A case of the catalogue; isogru cases lists them.")] = None,
    weights: Annotated[
        Optional[Path],
        typer.Option(help="One's own: a file with a recurrent layer or a stack of them, of any kind."),
    ] = None,
    input_file: Annotated[
        Optional[Path],
        typer.Option("--input", help="With --weights: X (T, n, d), as .npy or another file."),
    ] = None,
    h0: Annotated[
        Optional[Path],
        typer.Option(help="The start state (n, h), of a stack (layers, n, h); zero where it is not given."),
    ] = None,
    cotangent: Annotated[Optional[Path], typer.Option(help="dH (T, n, h), for gradients to be judged too.")] = None,
    lengths: Annotated[
        Optional[Path],
        typer.Option(help="How many steps each sequence has, (n,), or a mask (n, T)."),
    ] = None,
    reverse: Annotated[
        bool,
        typer.Option("--reverse", help="The layer runs from the last step to the first, if the file leaves it open."),
    ] = False,
    source: Annotated[str, typer.Option("--from", help="The layout of the weights, if the file leaves it open.")] = "",
    names: Name = None,
    prefix: Annotated[str, typer.Option(help="Only layers under this place.")] = "",
    layer: Annotated[str, typer.Option(help="Only this layer; isogru layers lists them.")] = "",
    time: Annotated[str, typer.Option(help="Which axis of the given arrays is time: first, or second.")] = "first",
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Write a case as a file: one of the catalogue by its name, or one's own weights with one's own input."""
    if (name is None) == (weights is None):
        raise UserError("say which case: one of the catalogue by its NAME, or --weights FILE with --input FILE")
    if weights is None:
        assert name is not None
        if input_file or h0 or cotangent or lengths or reverse:
            own = "--input, --h0, --cotangent, --lengths and --reverse"
            raise UserError(f"{own} go with --weights; a case of the catalogue has its own")
        specification.case_to_file(name, output, corpus, corpus_sha1)
        return
    if input_file is None:
        raise UserError("--weights goes with --input, the file of X (T, n, d)")
    if time not in (answers.TIME_FIRST, answers.BATCH_FIRST):
        raise UserError(f"--time is {time!r}, should be {answers.TIME_FIRST} or {answers.BATCH_FIRST}")
    for given in (weights, input_file, h0, cotangent, lengths):
        if given is not None:
            specification.keep(given, output)
    case, notes = own_case(
        output.stem,
        weights,
        Wish(source, prefix, (layer,) if layer else (), named(names)),
        input_file,
        h0,
        cotangent,
        batch_first=time != "first",
        reverse=reverse,
        lengths=lengths,
    )
    if isinstance(case, stacks.Stack):
        stacks.write(output, case)
    else:
        write_case_file(output, case)
    for note in notes:
        say(note)
    if isinstance(case, stacks.Stack):
        (T, n, d), width = case.X.shape, case.width(case.depth - 1)
        say(
            f"wrote {output} (a stack of {len(case.layers)} layers, name {case.name}; T = {T}, n = {n}, d = {d}, "
            f"{width} given)"
        )
        return
    (T, n, d), h = case.arrays["X"].shape, case.arrays["H0"].shape[1]
    say(f"wrote {output} ({case.cell.name}, name {case.name}; T = {T}, n = {n}, d = {d}, h = {h})")


def check_function(
    function: Annotated[
        str,
        typer.Argument(metavar="FILE.py:NAME", help="A function (X, H0, parameters) -> H, or a module of a framework."),
    ],
    cell: Annotated[
        str, typer.Option(help="The cell that it claims to be, which a function has to say; isogru cells lists them.")
    ] = "",
    dtype: Annotated[str, typer.Option(help="float32, float64, float16 or bfloat16; of a function float32.")] = "",
    gradients: Annotated[
        Optional[str],
        typer.Option(help="A function of the same file, (X, H0, parameters, dH) -> gradients by name; or auto, or no."),
    ] = None,
    case: Annotated[Optional[list[str]], typer.Option(help="Only this case; may be repeated.")] = None,
    arrays: Annotated[str, typer.Option(help="What a function takes: numpy, torch, jax or tensorflow.")] = "",
    device: Annotated[str, typer.Option(help="Where its arrays lie, such as cuda; the CPU where it is not said.")] = "",
    layout: Annotated[
        str, typer.Option(help="Of a module, if its names leave it open; isogru layouts lists them.")
    ] = "",
    products: Products = "",
    why: Why = False,
    as_json: Json = False,
) -> None:
    """Run a function of a Python file on the catalogue's cases of a cell, or a module on cases with its own weights,
    and judge each. What a function takes may follow from its annotations; --gradients auto is its framework's own
    autodiff. Gradients of a module are judged too; --gradients no leaves them out.
    """
    file, _, name = function.rpartition(":")
    if not file or not name:
        raise UserError(f"{function!r} names no function; write FILE.py:NAME, such as my_gru.py:forward")
    module = _module(Path(file))
    gru = _function(module, name, file)
    pulled: Any = False if gradients == "no" else gradients
    if gradients not in (None, AUTO, "no"):
        pulled = _function(module, gradients, file)
    verdict = checking.check(
        gru,
        cell=cell,
        dtype=dtype,
        gradients=pulled,
        cases=case or None,
        arrays=arrays,
        device=device,
        layout=layout,
        products=products,
    )
    made = verdict.explain() if why else None
    if as_json:
        record = json.loads(verdict.json()) | ({"why": made and made.record()} if why else {})
        typer.echo(json.dumps(finite(record)))
    else:
        for of in verdict.cases:
            told = f", ratio {ratio(of.worst.ratio)}" if of.verdict == comparison.EQUAL and of.worst else ""
            say(f"{MARKS[of.verdict]} {of.verdict}: {of.case}{told}")
        for note in verdict.notes:
            say(note)
        say(verdict.sentence)
        for line in reason.lines(made) if made else ():
            say(line)
    raise typer.Exit(status(verdict.verdict))


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
    member = getattr(module, name, None)
    if not callable(member):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{file} has no function {name!r}; it has {', '.join(there) or 'none'}")
    function: Callable[..., Any] = member
    return function
