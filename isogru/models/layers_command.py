"""The command layers: which recurrent layers files hold, and what they do not say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from isogru import weight_files
from isogru.models.layer import Layer
from isogru.models.naming import stripped
from isogru.models.recognition import recognise, some
from isogru.models.selection import Wish, select
from isogru.wording import printable
from shared_spec.command import WRONG
from shared_spec.errors import UserError

A_FILE = "A file of weights, of any kind that isogru reads; isogru layers shows what is in it."
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def list_layers(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=A_FILE)], as_json: Json = False
) -> None:
    """Every recurrent layer of a file: its place, its layout and how that was recognised, sizes, biases, dtype, what
    the file says beside the weights, and what it does not say. Exit status 2 where there is none.
    """
    records, wrong = [], []
    for file in files:
        try:
            contents = weight_files.read(file)
            found = recognise(contents)
            if not found.layers and not found.foreign:
                select(contents, Wish())
        except UserError as error:
            if len(files) == 1:
                raise
            wrong.append(error)
            continue
        records.append(
            {
                "file": str(file),
                "kind": contents.kind,
                "layers": [_facts(readings) for readings in found.layers],
                "not_judged": [vars(each) for each in found.foreign],
                "passed_over": list(found.passed_over),
            }
        )
    if as_json:
        typer.echo(json.dumps(records, indent=1))
        _refused(wrong)
        return
    for record in records:
        _show(record)
    _refused(wrong)


def _refused(wrong: Sequence[UserError]) -> None:
    """Says what could not be read of several files, after what could, and ends with the status of a wrong request."""
    for error in wrong:
        typer.echo(f"isogru: {error}", err=True)
    if wrong:
        raise typer.Exit(WRONG)


def _facts(readings: Sequence[Layer]) -> dict[str, Any]:
    layer = readings[0]
    directions = {True: "last step to first", False: "first step to last", None: "direction not said"}
    return {
        "place": layer.position.place,
        "layer": layer.label,
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
    typer.echo(printable(f"{record['file']}: {record['kind']}"))
    for layer in record["layers"]:
        place = stripped(layer["place"])
        title = " ".join(dict.fromkeys(text for text in (place, layer["layer"]) if text)) or "(without a name)"
        layout = " or ".join([layer["layout"], *layer["or"]])
        typer.echo(
            printable(
                f"  {title}: {layout} ({layer['of']}), {layer['recognised']}; d = {layer['d']}, h = {layer['h']}, "
                f"{layer['biases']}, {layer['dtype']}, {layer['direction']}"
            )
        )
        if layer["or"]:
            typer.echo("    different functions, and the file does not say which; same and convert take --from")
        said = {key: value for key, value in layer["says"].items() if key not in ("time", "merge_mode")}
        if said:
            typer.echo(printable(f"    says {', '.join(f'{key} {value}' for key, value in said.items())}"))
        if layer["does_not_say"]:
            typer.echo(f"    does not say whether it has {' and '.join(layer['does_not_say'])}")
        for note in layer["notes"]:
            typer.echo(printable(f"    {note}"))
    for each in record["not_judged"]:
        typer.echo(printable(f"  {each['place']}: {each['what']}, not judged"))
    if record["passed_over"]:
        names = record["passed_over"]
        typer.echo(printable(f"  {len(names)} other tensors: {some(names)}"))
