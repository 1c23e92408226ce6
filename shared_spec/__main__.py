"""python -m shared_spec: the cells, the catalogue of cases, one case as a file, the oracle on a case, and the Rosetta
table: how layers pack their weights.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from shared_spec import cases, cells, language_model, oracle
from shared_spec.command import application, main, say
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, Case, Origin, Result, read_case, write_case, write_result
from shared_spec.language_model import corpus, training
from shared_spec.language_model.corpus import Corpus
from shared_spec.readings import cost, latex
from shared_spec.weights import layouts

app = application("What a GRU is: equations, cases, and the oracle in NumPy.")

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]
CorpusPath = Annotated[
    Optional[Path], typer.Option("--corpus", envvar="ISOGRU_CORPUS", help="The text as a file, instead of fetching it.")
]
CorpusSha1 = Annotated[
    Optional[str],
    typer.Option("--corpus-sha1", envvar="ISOGRU_CORPUS_SHA1", help="Digest of another text that is meant."),
]


def find_corpus(path: Path | None, sha1: str | None) -> Corpus:
    """The corpus, with the line that says which one it is."""
    text = corpus.find(language_model.specification().corpus, path=path, sha1=sha1)
    say(text.notice, err=True)
    return text


def keep(given: Path, output: Path) -> None:
    """Raises UserError where what is given would be overwritten."""
    same_file = output.exists() and given.exists() and given.samefile(output)
    if same_file or os.path.realpath(given) == os.path.realpath(output):
        raise UserError(f"{output}: would overwrite what is read; write to another file")


@app.command("cells")
def list_cells(as_json: Json = False) -> None:
    """The cells: equations, formulas, and the cost of one step at the chapter's sizes."""
    sizes = {"n": 1024, "d": 28, "h": 32}
    rows = [
        {
            "name": c.name,
            "title": c.title,
            "equations": [e.text for e in c.equations],
            "parameters": c.parameters,
            "latex": latex.formulas(c),
            "cost": {"sizes": sizes, **vars(cost.step(c, sizes))},
            "digest": c.digest,
        }
        for c in cells.cells().values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for c in cells.cells().values():
        say(f"{c.name}: {c.title}")
        for equation in c.equations:
            say(f"    {equation.text}")


@app.command("cases")
def list_cases(as_json: Json = False) -> None:
    """The catalogue of cases."""
    rows = cases.describe(cases.names())
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        sizes = " ".join(f"{k}={row[k]}" for k in ("T", "n", "d", "h") if k in row)
        say(f"{row['name']:<32} {sizes:<24} {row['about']}")


@app.command("case")
def case_to_file(name: str, output: Output, corpus: CorpusPath = None, corpus_sha1: CorpusSha1 = None) -> None:
    """Write one case of the catalogue as a file."""
    cases.cell_name_of(name)
    if corpus is not None:
        keep(corpus, output)
    text = None if cases.entry_of(name) else find_corpus(corpus, corpus_sha1)
    write_case(output, cases.build(name, text))
    say(f"wrote {output}")


@app.command("run")
def run_oracle(
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    output: Output,
    dtype: Annotated[str, typer.Option(help="float64, or float32 to see what rounding does.")] = "float64",
) -> None:
    """The oracle on a case file: a result file like any framework's."""
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join(DTYPES)}")
    keep(case_file, output)
    case = read_case(case_file)
    arrays = (
        oracle.run(case.cell, case.arrays, dtype=dtype)
        if isinstance(case, Case)
        else training.train(case.problem, dtype=dtype)
    )
    origin = Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework="oracle",
        implementation="numpy",
        lane="oracle",
        dtype=dtype,
        device="cpu",
        unit_roundoff=2.0**-53 if dtype == "float64" else 2.0**-24,
    )
    write_result(output, Result(origin, arrays))
    say(f"wrote {output}")


@app.command("layouts")
def list_layouts(as_json: Json = False) -> None:
    """The Rosetta table: how each layer packs the same parameters."""
    rows = [layouts.facts(each) for each in layouts.layouts().values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    columns = "{:<18} {:<6} {:<7} {:<6} {:<6} {:<5} {:<6} {:<11} {}"
    say(columns.format("layout", "gates", "kernel", "biases", "reset", "inner", "Z", "axes", "proven"))
    for row in rows:
        kernel = "out, in" if row["transposed"] else "in, out"
        cells_of_row = ["two" if row["biases"] == 2 else "one", row["reset"], "yes" if row["inner_bias"] else "no"]
        update, proven = row["update"].removeprefix("Z ").split()[0], "yes" if row["proven"] else "no"
        say(columns.format(row["name"], row["gates"], kernel, *cells_of_row, update, row["time"], proven))
    for row in rows:
        if row["unproven"]:
            say(f"{row['name']} is not proven here: {row['unproven']}")


if __name__ == "__main__":
    # These two are commands of the referee, which stands on this package, under the name that they had here first. This
    # file as it is run, and nothing else in the package, knows of isogru.
    from isogru.models.command import compare_weights, convert_weights

    app.command("convert")(convert_weights)
    app.command("same")(compare_weights)
    main(lambda: app(prog_name="python -m shared_spec"))
