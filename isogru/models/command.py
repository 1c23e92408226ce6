"""The commands about files of weights: which layers they hold, whether they are the same, one into another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from isogru import weight_files
from isogru.models import convert, same, why
from isogru.models.layer import Layer
from isogru.models.layers_command import A_FILE, Json
from isogru.models.selection import Wish, select
from isogru.weight_files import writing
from isogru.weight_files.contents import Contents
from isogru.wording import printable
from shared_spec.command import EQUAL, NOT_EQUAL
from shared_spec.errors import UserError
from shared_spec.files.interchange import CASE_FORMAT
from shared_spec.weights import layouts
from shared_spec.weights.same import DIFFERENT

Name = Annotated[
    Optional[list[str]],
    typer.Option(
        "--name", metavar="TENSOR=NAME", help="Which tensor of the file is which of the layout's; may be repeated."
    ),
]

Units = Annotated[
    int,
    typer.Option(help="How many units the layers have, where one vector holds everything and does not tell.", min=0),
]


def compare_weights(
    file: Annotated[Path, typer.Argument(metavar="ONE", help=A_FILE)],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another.")],
    source: Annotated[
        str, typer.Option("--from", help="The layout of ONE, where the file leaves it open; isogru layouts lists them.")
    ] = "",
    target: Annotated[str, typer.Option("--to", help="The layout of OTHER, likewise.")] = "",
    prefix: Annotated[str, typer.Option(help='Only layers of ONE under this place, such as "encoder.".')] = "",
    layer: Annotated[
        Optional[list[str]], typer.Option(help='Only this layer of ONE, such as "l0_reverse"; may be repeated.')
    ] = None,
    to_prefix: Annotated[str, typer.Option(help="The same in OTHER.")] = "",
    to_layer: Annotated[Optional[list[str]], typer.Option(help="The same of OTHER.")] = None,
    name: Name = None,
    to_name: Annotated[
        Optional[list[str]], typer.Option("--to-name", metavar="TENSOR=NAME", help="The same of OTHER.")
    ] = None,
    units: Units = 0,
    to_units: Annotated[int, typer.Option(help="The same of OTHER.", min=0)] = 0,
    explained: why.Why = False,
    as_json: Json = False,
) -> None:
    """Whether two files hold the same recurrent layers, in order; of any kind, one layer or whole models. Exit status 1
    where they do not.
    """
    wishes = (
        Wish(source, prefix, layer or (), _named(name), units),
        Wish(target, to_prefix, to_layer or (), _named(to_name), to_units, "--to"),
    )
    ones, others = (_layers(path, wish) for path, wish in zip((file, other), wishes, strict=True))
    found = same.ModelComparison(
        tuple(
            same.Pair(one, partner, _compared(one, partner))
            for one, partner in same.pairs(ones, others, ("--", "--to-"))
        )
    )
    if as_json:
        typer.echo(json.dumps(found.record() | (why.record(found) if explained else {}), indent=1))
    else:
        if len(found.pairs) > 1:
            for pair in found.pairs:
                alone = replace(pair.comparison, conditions=())
                typer.echo(printable(f"{pair.title}: {alone.sentence}"))
        for line in _not_compared([layer for pair in found.pairs for layer in (pair.one, pair.other)]):
            typer.echo(printable(line), err=True)
        for each in dict.fromkeys(_noted(layer) for pair in found.pairs for layer in (pair.one, pair.other)):
            if each:
                typer.echo(printable(each), err=True)
        for line in (found.sentence, *(why.lines(found) if explained else ())):
            typer.echo(printable(line))
    raise typer.Exit(NOT_EQUAL if found.verdict == DIFFERENT else EQUAL)


def _not_compared(layers: Sequence[Layer]) -> list[str]:
    """How many tensors of each file are of other layers."""
    used = {(layer.contents.path, name) for layer in layers for name in layer.names.values()}
    lines = []
    for path, contents in {layer.contents.path: layer.contents for layer in layers}.items():
        if left := [name for name in contents.tensors if (path, name) not in used]:
            lines.append(f"not compared: {len(left)} other tensor{'s' if len(left) > 1 else ''} of {path}")
    return lines


def _compared(one: Layer, other: Layer) -> Any:
    try:
        return same.compare(one, other)
    except UserError as error:
        files = f"{one.contents.path} and {other.contents.path}"
        raise (
            error
            if str(error).startswith((str(one.contents.path), str(other.contents.path)))
            else UserError(f"{files}: {error}")
        ) from None


def _noted(layer: Layer) -> str:
    return f"{layer.contents.path}, {layer.title}: {'; '.join(layer.notes)}" if layer.notes else ""


def _layers(file: Path, wish: Wish) -> list[Layer]:
    contents = weight_files.read(file)
    if contents.metadata.get("format") == CASE_FORMAT and not wish.layout:
        wish = replace(wish, layout=contents.metadata.get("cell", ""))
    return select(contents, wish)


def _named(given: Sequence[str] | None) -> dict[str, str]:
    """TENSOR=NAME, several times. Raises UserError for what is not that."""
    found = {}
    for text in given or ():
        own, equals, name = text.partition("=")
        if not equals or not own or not name:
            raise UserError(f"{text!r} names no tensor; write TENSOR=NAME, such as W=onnx::GRU_30")
        found[own] = name
    return found


def convert_weights(
    files: Annotated[
        list[Path], typer.Argument(metavar="IN...", help=f"{A_FILE} Several are taken one after the other.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; its ending tells of which kind.")],
    source: Annotated[
        str, typer.Option("--from", help="The layout of IN, where the file leaves it open; isogru layouts lists them.")
    ] = "",
    target: Annotated[
        str, typer.Option("--to", help="The layout to write; with --into, that of its layers, where it leaves it open.")
    ] = "",
    template: Annotated[
        Optional[Path],
        typer.Option(
            "--into", help="A file that the target's own model saved: its layers take the weights, under its names."
        ),
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Write what costs least where it is impossible.")] = False,
    prefix: Annotated[str, typer.Option(help='Only layers of IN under this place, such as "encoder.".')] = "",
    layer: Annotated[
        Optional[list[str]], typer.Option(help='Only this layer of IN, such as "l0_reverse"; may be repeated.')
    ] = None,
    to_prefix: Annotated[
        str, typer.Option(help="What comes before the names to write; with --into, the place of its layers.")
    ] = "",
    to_layer: Annotated[
        Optional[list[str]], typer.Option(help="Which layer it becomes, such as l1_reverse; once for each layer.")
    ] = None,
    name: Name = None,
    units: Units = 0,
    no_bias: Annotated[bool, typer.Option("--no-bias", help="Write no biases; refused where one is not zero.")] = False,
    as_json: Json = False,
) -> None:
    """Weights from one layer to another, or whole models, and first whether that is exact, exact after folding, or
    impossible.
    """
    if not target and not template:
        raise UserError(
            "say what to write: a layout with --to, or with --into a file that the target's own model saved"
        )
    for file in (*files, *([template] if template else [])):
        _keep(file, output)
    writer = writing.writer(output, template)
    wish = Wish(source, prefix, layer or (), _named(name), units)
    layers = [each for file in files for each in _layers(file, wish)]
    given = None if template is None else weight_files.read(template)
    if given is not None:
        there = select(given, Wish(target, to_prefix, to_layer or (), {}, 0, "--to"))
        told = len(to_layer or ()) == len(layers) == len(there)
        partners = list(zip(layers, there, strict=True)) if told else same.pairs(layers, there, ("--", "--to-"))
        try:
            made = convert.into([one for one, _ in partners], [other for _, other in partners])
        except UserError as error:
            raise _placed(files, error) from None
    else:
        to = layouts.layout(target)
        try:
            made = convert.to_layout(layers, to, prefix=to_prefix, labels=to_layer or (), bias=not no_bias)
        except UserError as error:
            raise _placed(files, error) from None
    if made.cost and not lossy:
        worst = next(each for each in made.layers if each.plan.cost == made.cost)
        raise UserError(f"{worst.plan.sentence}; --lossy writes that")
    writer(made)
    if as_json:
        typer.echo(json.dumps({**made.record(), "lossy": bool(made.cost), "wrote": str(output)}, indent=1))
        return
    if len(made.layers) == 1:
        typer.echo(printable(made.layers[0].plan.sentence))
    else:
        for each in made.layers:
            alone = replace(each.plan, conditions=())
            typer.echo(printable(f"{each.layer.title} to {each.title}: {alone.sentence}"))
        conditions = dict.fromkeys(text for each in made.layers for text in each.plan.conditions)
        asked = "; ".join([*conditions, "the layers are connected alike"])
        typer.echo(printable(f"the same function, layer by layer, if {asked}"))
    for each_file, count in _others(given, made).items():
        kept = "left as they were" if each_file == template else "not carried"
        typer.echo(printable(f"{kept}: {count} other tensor{'s' if count > 1 else ''} of {each_file}"))
    what = made.layers[0].plan.target.layer
    typer.echo(f"wrote {output} ({what}{', lossy' if made.cost else ''})")


def _others(template: Contents | None, made: convert.Conversion) -> dict[Path, int]:
    """How many tensors a conversion leaves alone: of the template, or where there is none of what is read."""
    if template is not None:
        used, read = set(made.tensors), {template.path: template}
    else:
        used = {name for each in made.layers for name in each.layer.names.values()}
        read = {each.layer.contents.path: each.layer.contents for each in made.layers}
    left = {path: sum(name not in used for name in contents.tensors) for path, contents in read.items()}
    return {path: count for path, count in left.items() if count}


def _placed(files: Sequence[Path], error: UserError) -> UserError:
    """The error with the file in front, unless it names one."""
    return error if any(str(file) in str(error) for file in files) else UserError(f"{files[0]}: {error}")


def _keep(given: Path, output: Path) -> None:
    same_file = output.exists() and given.exists() and given.samefile(output)
    if same_file or given.resolve() == output.resolve():
        raise UserError(f"{output}: would overwrite what is read; write to another file")
