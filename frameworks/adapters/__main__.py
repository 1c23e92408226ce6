"""python -m frameworks.adapters PACKAGE: its layers on converted weights, and whether they equal their cells."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from frameworks import adapters
from frameworks.adapters import prove
from isogru.judge import precision
from shared_spec.command import EQUAL, NOT_EQUAL, application, main
from shared_spec.errors import UserError
from shared_spec.weights import layouts
from shared_spec.weights import proof as rules

app = application("The Rosetta table, proven. Each command runs where its package is installed: tox -e rosetta-NAME.")


@app.command()
def prove_package(
    package: Annotated[str, typer.Argument(metavar="PACKAGE", help=", ".join(adapters.PACKAGES))],
    only: Annotated[Optional[list[str]], typer.Option("--layout", help="Only this layout; may be repeated.")] = None,
) -> None:
    """Every layer of a package on converted weights: a result file and a verdict for each case and dtype."""
    module = adapters.load(package)
    if unknown := [name for name in only or [] if name not in module.LAYOUTS]:
        raise UserError(f"{package} has no layout {unknown[0]!r}; it has {', '.join(module.LAYOUTS)}")
    table = Table("layout", "dtype", "cases", "verdict", "worst ratio", "u", box=None)
    wrong: list[prove.Row] = []
    for name, dtypes in module.LAYOUTS.items():
        for dtype in dtypes if not only or name in only else ():
            layout = layouts.layout(name)
            names = rules.case_names(layout)
            roundoff = prove.measure(module, layout, rules.case_of(layout, names[0]), dtype)
            rows = [prove.prove(package, module, layout, case, dtype, roundoff) for case in names]
            bad = [row for row in rows if row.verdict != "equal"]
            wrong += bad
            worst = max(rows, key=lambda row: row.ratio)
            u = f"{precision.unit_roundoff(roundoff, dtype):.1e}"
            said = bad[0].verdict if bad else "equal"
            table.add_row(name, dtype, str(len(rows)), said, f"{worst.ratio:.3f}", u)
    console = Console()
    console.print(table)
    for dtype, reason in getattr(module, "NOT_RUN", {}).items():
        console.print(f"{dtype} is not run: {reason}", highlight=False, markup=False)
    for row in wrong:
        said = f"{row.layout} {row.case} {row.dtype}: {row.verdict}: {row.sentence}"
        console.print(said, highlight=False, markup=False)
    raise typer.Exit(NOT_EQUAL if wrong else EQUAL)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m frameworks.adapters"))
