"""The command layers: which recurrent layers files hold, and what they do not say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from isogru import weight_files
from isogru.models.layer import Layer
from isogru.models.recognition import recognise, some
from isogru.models.selection import Wish, select
from shared_spec.command import WRONG, say
from shared_spec.errors import UserError

A_FILE = "A file of weights, of any kind that isogru reads; isogru layers shows what is in it."
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
UNTOLD = ("time", "merge_mode", "policy")
"""What files say that has nothing to do with weights, or is told as a note."""
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def list_layers(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=A_FILE)],
    source: Annotated[str, typer.Option("--from", help="Only layers of this layout, read so.")] = "",
    name: Name = None,
    units: Units = 0,
    as_json: Json = False,
) -> None:
    """Every recurrent layer of a file: its place, its layout and how that was recognised, sizes, biases, dtype, what
    the file says beside the weights, and what it does not say. Exit status 2 where there is none.
    """
    records, wrong = [], []
    wish = Wish(source, names=named(name), units=units)
    for file in files:
        try:
            contents = weight_files.read(file)
            recognised = recognise(contents, units)
            if source or name or not (recognised.layers or recognised.foreign):
                chosen = select(contents, wish)
                used = {name for layer in chosen for name in layer.names.values()}
                left = tuple(name for name in recognised.passed_over if name not in used)
                recognised = replace(
                    recognised, layers=tuple((layer,) for layer in chosen), foreign=(), passed_over=left
                )
        except UserError as error:
            if len(files) == 1:
                raise
            wrong.append(error)
            continue
        records.append(
            {
                "file": str(file),
                "kind": contents.kind,
                "part": contents.part,
                "layers": [_facts(readings) for readings in recognised.layers],
                "not_judged": [vars(each) for each in recognised.foreign],
                "passed_over": list(recognised.passed_over),
            }
        )
    if as_json:
        typer.echo(json.dumps(records, indent=1))
        _refused(wrong)
        return
    for record in records:
        _show(record)
    _refused(wrong)


def named(given: Sequence[str] | None) -> dict[str, str]:
    """TENSOR=NAME, several times. Raises UserError for what is not that."""
    names = {}
    for text in given or ():
        own, equals, name = text.partition("=")
        if not equals or not own or not name:
            raise UserError(f"{text!r} names no tensor; write TENSOR=NAME, such as W=onnx::GRU_30")
        names[own] = name
    return names


def _refused(wrong: Sequence[UserError]) -> None:
    """Says what could not be read of several files, after what could, and ends with the status of a wrong request."""
    for error in wrong:
        say(f"isogru: {error}", err=True)
    if wrong:
        raise typer.Exit(WRONG)


def _facts(readings: Sequence[Layer]) -> dict[str, Any]:
    layer = readings[0]
    directions = {True: "last step to first", False: "first step to last", None: "direction not said"}
    return {
        "place": layer.position.place,
        "layer": layer.label,
        "title": layer.title,
        "layout": layer.layout.name,
        "of": layer.layout.layer,
        "recognised": layer.how,
        **{key: layer.sizes[key] for key in ("d", "h")},
        "biases": "no biases" if layer.missing else "two biases" if layer.layout.second else "one bias",
        "dtype": " and ".join(layer.dtypes),
        "direction": directions[layer.position.reverse],
        "tensors": dict(layer.names),
        "says": dict(layer.settings),
        "does_not_say": list(dict.fromkeys(layer.unsaid.values())),
        "notes": list(layer.notes),
        "or": [other.layout.name for other in readings[1:]],
    }


def _show(record: dict[str, Any]) -> None:
    part = f", its {record['part']}" if record["part"] else ""
    say(f"{record['file']}: {record['kind']}{part}")
    for layer in record["layers"]:
        title = layer["title"]
        layout = " or ".join([layer["layout"], *layer["or"]])
        say(
            f"  {title}: {layout} ({layer['of']}), {layer['recognised']}; d = {layer['d']}, h = {layer['h']}, "
            f"{layer['biases']}, {layer['dtype']}, {layer['direction']}"
        )
        if layer["or"]:
            say("    different functions, and the file does not say which; same and convert take --from")
        said = {key: value for key, value in layer["says"].items() if key not in UNTOLD}
        if said:
            say(f"    says {', '.join(f'{key} {value}' for key, value in said.items())}")
        if layer["does_not_say"]:
            say(f"    does not say whether it has {' and '.join(layer['does_not_say'])}")
        for note in layer["notes"]:
            say(f"    {note}")
    for each in record["not_judged"]:
        say(f"  {each['place']}: {each['what']}, not judged")
    if record["passed_over"]:
        names = record["passed_over"]
        say(f"  {len(names)} other tensor{'s' if len(names) > 1 else ''}: {some(names)}")
