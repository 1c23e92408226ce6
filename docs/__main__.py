"""python -m docs NAME: the notebook of a framework, made anew by running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import frameworks
from docs import notebooks
from frameworks.harness.supervisor import threads_of_environment
from shared_spec.__main__ import CorpusPath, CorpusSha1, find_corpus
from shared_spec.command import application, main, say
from shared_spec.files.whole import write_whole

app = application("The chapter's walk. Runs where the framework is installed: tox -e notebook-NAME.")


@app.command()
def make(
    framework: Annotated[str, typer.Argument(metavar="FRAMEWORK", help=", ".join(frameworks.NAMES))],
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="The file to write, instead of docs/gru-FRAMEWORK.ipynb.")
    ] = None,
    epochs: Annotated[
        Optional[int], typer.Option(min=1, envvar="ISOGRU_EPOCHS", help="Instead of the chapter's fifty.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Take over the text, where no code has changed, and run no framework.")
    ] = False,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Run the cells of gru.md in a framework, and write them with what they gave as its notebook; takes minutes."""
    frameworks.check_name(framework)
    file = output or notebooks.notebook_file(framework)
    made = notebooks.retell(framework) if text else _run(framework, file.stem, epochs, corpus, corpus_sha1)
    write_whole(file, made.encode())
    say(f"wrote {file}")


def _run(framework: str, title: str, epochs: int | None, corpus: Path | None, corpus_sha1: str | None) -> str:
    frameworks.check_installed(framework)
    # Here too: a wrong text is said before anything runs. Where it is fetched, the notebook finds it in the cache.
    find_corpus(corpus, corpus_sha1)
    environment = {}
    if threads := threads_of_environment():
        # Some libraries count their threads while they are imported.
        environment["OMP_NUM_THREADS"] = str(threads)
    if epochs is not None:
        environment["ISOGRU_EPOCHS"] = str(epochs)
    if corpus is not None:
        # A notebook runs in its own folder, not in the user's.
        environment["ISOGRU_CORPUS"] = str(corpus.resolve())
    if corpus_sha1 is not None:
        environment["ISOGRU_CORPUS_SHA1"] = corpus_sha1
    with Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=None)
        return notebooks.make(
            framework, told=lambda done, of: progress.update(bar, completed=done, total=of), **environment
        )


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m docs"))
