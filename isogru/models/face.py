"""same and convert for Python: of files, or of modules whose framework is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isogru import weight_files
from isogru.models import convert as conversions
from isogru.models import same as comparisons
from isogru.models.convert import Conversion
from isogru.models.layer import Layer
from isogru.models.same import ModelComparison, Pair
from isogru.models.selection import Wish, select
from isogru.runners import modules
from isogru.runners.reading import Asked
from isogru.weight_files import writing
from isogru.weight_files.contents import Contents
from shared_spec.errors import UserError
from shared_spec.weights import layouts

Source = str | Path | Any
"""A file of weights by its path, or a module of a framework."""


def same(
    one: Source,
    other: Source,
    *,
    layouts: tuple[str, str] = ("", ""),
    prefixes: tuple[str, str] = ("", ""),
    variables: tuple[Any, Any] = (None, None),
) -> ModelComparison:
    """Whether two files or modules hold the same recurrent layers, in order: `.verdict`, `.sentence` and a comparison
    for each pair, as `isogru same` gives it. `layouts` are those of the one and of the other where names leave them
    open, `prefixes` the places of their layers, `variables` those of modules of Flax linen.

    Raises UserError where there is no layer, or not as many in both.
    """
    ones, others = (
        _layers(source, Wish(layout, prefix, from_option=option), given)
        for source, layout, prefix, given, option in zip(
            (one, other), layouts, prefixes, variables, ("--from", "--to"), strict=True
        )
    )
    pairs = comparisons.pairs(ones, others, ("--", "--to-"))
    return ModelComparison(tuple(Pair(a, b, comparisons.compare(a, b)) for a, b in pairs))


def convert(
    source: Source,
    output: str | Path | None = None,
    *,
    to: str = "",
    into: Source | None = None,
    layout: str = "",
    prefix: str = "",
    lossy: bool = False,
    variables: tuple[Any, Any] = (None, None),
) -> Conversion:
    """Weights of a file or a module in the layout `to`, or under the names of a file or module `into`, and written to
    `output` where it is given, as `isogru convert` does it. `.tensors` holds them by their names, for load_state_dict
    and its like: a module is not changed. `layout` and `prefix` are the source's, `variables` those of Flax linen.

    Raises UserError where that is impossible, unless it may be `lossy`.
    """
    if not to and into is None:
        raise UserError("say what to convert to: a layout, to=, or into= a file or module that is to have the weights")
    template = Path(into) if isinstance(into, (str, Path)) else None
    if output is not None and into is not None and template is None:
        raise UserError("a module is no file to be written into; leave output out, and load .tensors")
    path = None if output is None else Path(output)
    if path is not None:
        for given in (source, template):
            if isinstance(given, (str, Path)) and Path(given).resolve() == path.resolve():
                raise UserError(f"{path}: would overwrite what is read; write to another file")
    writer = None if path is None else writing.writer(path, template)
    chosen = _layers(source, Wish(layout, prefix), variables[0])
    made = _converted(chosen, to, into, variables[1])
    if made.cost and not lossy:
        worst = next(each for each in made.layers if each.plan.cost == made.cost)
        raise UserError(f"{worst.plan.sentence}; lossy=True gives that")
    if writer is not None and path is not None:
        writer(path, made)
    return made


def _converted(chosen: Sequence[Layer], to: str, into: Source | None, variables: Any) -> Conversion:
    if into is None:
        return conversions.to_layout(chosen, layouts.layout(to))
    partners = comparisons.pairs(chosen, _layers(into, Wish(to, from_option="--to"), variables), ("--", "--to-"))
    return conversions.into([one for one, _ in partners], [other for _, other in partners])


def _layers(source: Source, wish: Wish, variables: Any) -> list[Layer]:
    return select(_contents(source, variables), wish)


def _contents(source: Source, variables: Any) -> Contents:
    if isinstance(source, (str, Path)):
        return weight_files.read(Path(source))
    return modules.contents(source, Asked(variables))
