"""What is written: the kind of file that its ending says, new or as a copy of a template with other weights in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogru import weight_files
from shared_spec.errors import UserError
from shared_spec.files import temporary

if TYPE_CHECKING:
    from isogru.models.convert import Conversion

FORMAT = "isogru-weights/1"


Write = Callable[[Path, "Conversion"], None]
"""Writes a conversion to a file of that name."""


def writer(output: Path, template: Path | None) -> Write:
    """What writes a conversion to files that end as this one. Raises UserError, before anything is read, for an ending
    that is not written, and for a template of another kind.
    """
    module = _by_ending(output)
    if not hasattr(module, "write") and not hasattr(module, "fill"):
        raise UserError(f"{output}: {module.KIND} is read and not written; what is written: {_written('write')}")
    if template is not None:
        reader = weight_files.reader_of(template)
        if reader is not module:
            raise UserError(
                f"{output}: {template} is {reader.KIND}; give the output an ending of its own, "
                f"{', '.join(endings(reader))}"
            )
        return lambda path, made: module.fill(template, path, made.tensors)
    if not hasattr(module, "write"):
        raise UserError(
            f"{output}: {module.KIND} is only written into one that is there: let the model save its own, and name "
            "that with --into"
        )
    return lambda path, made: module.write(path, made.tensors, _metadata(made))


def rehearsed(write: Write, made: Conversion, output: Path) -> None:
    """Writes to a folder that is gone at once, so that whatever would be wrong with the file is. Raises UserError as
    the writer does.
    """
    with temporary.folder() as folder:
        path = folder / output.name
        try:
            write(path, made)
        except UserError as error:
            raise UserError(str(error).replace(str(path), str(output))) from None


def listed(made: Conversion) -> dict[str, str]:
    """The tensors that are written, by name: shape and dtype."""
    return {name: f"{array.shape} {array.dtype}" for name, array in made.tensors.items()}


def _by_ending(output: Path) -> Any:
    """The module of the longest ending that fits; safetensors for a name without an ending."""
    if not output.suffix:
        return weight_files.module_of("safetensors")
    fitting = [
        (len(ending), name)
        for name in weight_files.READERS
        for ending in endings(weight_files.module_of(name))
        if output.name.endswith(ending)
    ]
    if not fitting:
        raise UserError(
            f"{output}: the ending tells what is written; new files: {_written('write')}; into a file that is there: "
            f"{_written('fill')}"
        )
    return weight_files.module_of(max(fitting)[1])


def _written(how: str) -> str:
    modules = [weight_files.module_of(name) for name in weight_files.READERS]
    return ", ".join(ending for module in modules if hasattr(module, how) for ending in endings(module))


def endings(module: Any) -> tuple[str, ...]:
    """The endings under which a module writes: some kinds of files are read under more."""
    endings: tuple[str, ...] = getattr(module, "WRITTEN", module.ENDINGS)
    return endings


def _metadata(made: Conversion) -> dict[str, str]:
    layers = made.layers
    record = layers[0].plan.record() if len(layers) == 1 else made.record()
    return {"format": FORMAT, "layout": layers[0].plan.target.name, "conversion": json.dumps(record)}
