"""The command isogru pack: the golden pack, written or checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from shared_spec.command import say
from shared_spec.errors import UserError

if TYPE_CHECKING:
    from isogru.pack.files import Index


def golden_pack(
    output: Annotated[Optional[Path], typer.Option("-o", "--output", help="The folder to write to.")] = None,
    check: Annotated[
        Optional[Path],
        typer.Option(help="A folder: whether it is a pack of this version, each bit as it was, its numbers right."),
    ] = None,
) -> None:
    """The fewest cases that kill every mutant, with their states, gradients and bounds, as safetensors, .npz and ONNX'
    test data: for a project in any language, without isogru.
    """
    if (output is None) == (check is None):
        raise UserError("say -o FOLDER to write the pack, or --check FOLDER to check one")
    # Here, so that the other commands start without it.
    from isogru.pack import checking, files

    if check is not None:
        index = checking.check(check)
    else:
        assert output is not None
        if output.exists() and not output.is_dir():
            raise UserError(f"{output}: is there, and no folder; name another with -o")
        index = files.write(output)
        say(f"wrote {len(index.files) + 1} files to {output}")
    for line in told(index):
        say(line)


def told(index: Index) -> list[str]:
    """A line for each case, and one of all."""
    lines = [
        f"{member.name}: {', '.join(f'{count} mutants in {dtype}' for dtype, count in member.kills.items())}; "
        f"alone: {', '.join(member.alone) or 'none'}"
        for member in index.cases
    ]
    counts = [
        f"{', '.join(f'{count} in {dtype}' for dtype, count in of.items())} of {cell}"
        for cell, of in index.mutants.items()
    ]
    return [*lines, f"{len(index.cases)} cases kill all mutants: {'; '.join(counts)}"]
