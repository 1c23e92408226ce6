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
from isogru.models.layers_command import A_FILE, Json, Name, Units, named
from isogru.models.selection import Wish, select
from isogru.weight_files import writing
from isogru.weight_files.contents import Contents
from shared_spec.__main__ import keep
from shared_spec.command import EQUAL, NOT_EQUAL, say
from shared_spec.errors import UserError
from shared_spec.files.interchange import CASE_FORMAT
from shared_spec.weights import layouts
from shared_spec.weights.same import DIFFERENT

Pair = Annotated[
    Optional[list[str]],
    typer.Option(
        "--pair",
        metavar="ONE=OTHER",
        help="Which layer of the first file belongs to which of the second, both as isogru layers prints them; may be "
        "repeated. Layers in no pair are left out.",
    ),
]

MOST = 3
"""How many parameters of a layer a sentence tells."""


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
    pair: Pair = None,
    explained: why.Why = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every parameter that differs.")] = False,
    as_json: Json = False,
) -> None:
    """Whether two files hold the same recurrent layers, in order; of any kind, one layer or whole models. Exit status 1
    where they do not.
    """
    wishes = (
        Wish(source, prefix, layer or (), named(name), units),
        Wish(target, to_prefix, to_layer or (), named(to_name), to_units, "--to"),
    )
    ones, others = (_layers(path, wish) for path, wish in zip((file, other), wishes, strict=True))
    partners = _partners(ones, others, pair)
    comparison = same.ModelComparison(
        tuple(same.Pair(one, partner, _compared(one, partner)) for one, partner in partners)
    )
    if as_json:
        typer.echo(json.dumps(comparison.record() | (why.record(comparison) if explained else {}), indent=1))
    else:
        *lines, sentence = comparison.lines(None if verbose else MOST)
        for line in lines:
            say(line)
        layers = [layer for each in partners for layer in each]
        by_order = [IN_ORDER] if not pair and same.in_order(partners) else []
        for line in (*by_order, *_not_compared(layers), *_noted(layers)):
            say(line, err=True)
        for line in (sentence, *(why.lines(comparison) if explained else ())):
            say(line)
    raise typer.Exit(NOT_EQUAL if comparison.verdict == DIFFERENT else EQUAL)


def _partners(ones: Sequence[Layer], others: Sequence[Layer], told: Sequence[str] | None) -> list[tuple[Layer, Layer]]:
    """Which layers belong together: as they are told, else by their names and their order."""
    if told:
        return same.told(ones, others, told)
    return same.pairs(ones, others, ("--", "--to-"))


IN_ORDER = "layers whose names are not the same were taken in their order; --pair ONE=OTHER says which belong together"


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


def _noted(layers: Sequence[Layer]) -> list[str]:
    """What was done to the tensors of each file, once for all of its layers of which it is true."""
    titles: dict[tuple[Path, str], list[str]] = {}
    for layer in layers:
        for note in layer.notes:
            titles.setdefault((layer.contents.path, note), []).append(layer.title)
    lines = []
    for (path, note), of in titles.items():
        every = [layer.title for layer in layers if layer.contents.path == path]
        lines.append(f"{path}: {note}" if len(of) == len(every) > 1 else f"{path}, {', '.join(of)}: {note}")
    return lines


def _layers(file: Path, wish: Wish) -> list[Layer]:
    contents = weight_files.read(file)
    if contents.metadata.get("format") == CASE_FORMAT and not wish.layout:
        wish = replace(wish, layout=contents.metadata.get("cell", ""))
    return select(contents, wish)


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
    pair: Pair = None,
    no_bias: Annotated[bool, typer.Option("--no-bias", help="Write no biases; refused where one is not zero.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say which tensors would be written, or what is wrong.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Weights from one layer to another, or whole models, and first whether that is exact, exact after folding, or
    impossible.
    """
    if not target and not template:
        raise UserError(
            "say what to write: a layout with --to, or with --into a file that the target's own model saved"
        )
    by_order = False
    if pair and not template:
        raise UserError("--pair says which layer of a template is meant, which --into names")
    for file in (*files, *([template] if template else [])):
        keep(file, output)
    write = writing.writer(output, template)
    wish = Wish(source, prefix, layer or (), named(name), units)
    layers = [each for file in files for each in _layers(file, wish)]
    given = None if template is None else weight_files.read(template)
    if given is not None:
        there = select(given, Wish(target, to_prefix, to_layer or (), {}, 0, "--to"))
        told = not pair and len(to_layer or ()) == len(layers) == len(there)
        partners = list(zip(layers, there, strict=True)) if told else _partners(layers, there, pair)
        by_order = not told and not pair and same.in_order(partners)
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
    if dry:
        writing.rehearsed(write, made, output)
    else:
        write(output, made)
    if as_json:
        written = {"wrote": str(output)} if not dry else {"would_write": writing.listed(made)}
        typer.echo(json.dumps({**made.record(), "lossy": bool(made.cost), **written}, indent=1))
        return
    if len(made.layers) == 1:
        say(made.layers[0].plan.sentence)
    else:
        for each in made.layers:
            alone = replace(each.plan, conditions=())
            start = f"{each.layer.contents.path}, " if len(files) > 1 else ""
            say(f"{start}{each.layer.title} to {each.title}: {alone.sentence}")
        conditions = dict.fromkeys(text for each in made.layers for text in each.plan.conditions)
        if by_order:
            say(IN_ORDER, err=True)
        asked = "; ".join([*conditions, "the layers are connected alike"])
        say(f"the same function, layer by layer, if {asked}")
    for each_file, count in _others(given, made).items():
        kept = "left as they were" if each_file == template else "not carried"
        say(f"{kept}: {count} other tensor{'s' if count > 1 else ''} of {each_file}")
    what = made.layers[0].plan.target.layer
    if dry:
        for tensor, shape in writing.listed(made).items():
            say(f"  {tensor} {shape}")
    done = "would write" if dry else "wrote"
    say(f"{done} {output} ({what}{', lossy' if made.cost else ''})")


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
