"""From gru.md, one text with the code of all four frameworks, to a notebook for each, run from first cell to last.

In gru.md a block of ``python`` is a cell of every notebook. Blocks of ``python torch``, ``python tensorflow`` and so on
that follow each other are one cell, each in its own notebook. What stands between two cells of code is a cell of text.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import frameworks
from shared_spec import frameworks as known
from shared_spec.errors import UserError
from shared_spec.weights import layouts

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "gru.md"
TITLES = {each.name: each.title for each in known.frameworks().values()}
CODE = re.compile(r"^```python(?: (\w+))?\n(.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^#+ (.*)", re.M)
# Cells that print what the specification says by now, and need no framework.
OF_SPECIFICATION = ("are-the-two-the-same-function-4",)
# No versions and no paths: the same wherever it is made.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class Piece(NamedTuple):
    """Some lines of gru.md: text, or code of one framework or, where that is "", of all."""

    kind: str
    framework: str
    source: str


def notebook_file(framework: str) -> Path:
    """Where a framework's notebook is kept."""
    return FOLDER / f"gru-{framework}.ipynb"


def pieces(text: str) -> list[Piece]:
    """The text, cut at its fences. Raises UserError for a fence that opens or closes no cell."""
    parts = CODE.split(text)
    pieces = [Piece("markdown", "", parts[0])]
    for framework, code, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pieces += [Piece("code", framework or "", code), Piece("markdown", "", after)]
    pieces = [piece._replace(source=piece.source.strip("\n")) for piece in pieces if piece.source.strip()]
    for piece in pieces:
        if loose := re.search(r"^```.*", piece.source, re.M):
            raise UserError(f"{SOURCE.name}: {loose[0]!r} after {piece.source.splitlines()[0]!r} is no cell's")
    return pieces


def cells(text: str, framework: str) -> list[dict[str, Any]]:
    """The cells of a framework's notebook, as nbformat 4.5 has them, not yet run; their ids come from the headings.

    Raises UserError for a cell that is not there for every framework.
    """
    cells: list[dict[str, Any]] = []
    section, number = "", 0
    for is_tabbed, run in groupby(pieces(text), key=lambda piece: bool(piece.framework)):
        chosen = list(run)
        there = tuple(piece.framework for piece in chosen)
        if is_tabbed and there != frameworks.NAMES * (len(there) // len(frameworks.NAMES)):
            raise UserError(
                f"{SOURCE.name}: the cell that begins {chosen[0].source.splitlines()[0]!r} is there for "
                f"{', '.join(there)}; it should be for {', '.join(frameworks.NAMES)}, in this order"
            )
        for kind, _, source in (piece for piece in chosen if piece.framework in ("", framework)):
            if kind == "markdown" and (headings := HEADING.findall(source)):
                section, number = re.sub(r"\W+", "-", headings[-1].lower()).strip("-"), 0
            number += 1
            cell = {"id": f"{section}-{number}", "cell_type": kind, "metadata": {}, "source": source}
            cells.append(cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []})
    cells[0]["source"] = HEADING.sub(lambda title: f"{title[0]} · {TITLES[framework]}", cells[0]["source"], count=1)
    return cells


def make(framework: str, *, told: Callable[[int, int], None] = lambda done, of: None, **environment: str) -> str:
    """A framework's notebook, run, as the text of its file. `told` hears how many cells are done, of how many;
    `environment` goes to the kernel.

    Raises UserError where the framework is not installed here, nbclient's CellExecutionError where a cell fails.
    """
    frameworks.check_installed(framework)
    return run(cells(SOURCE.read_text(encoding="utf-8"), framework), told=told, **environment)


def retell(framework: str) -> str:
    """A framework's notebook with the text of gru.md as it is now, and what its code gave when it was run; what the
    specification says is said anew.

    Raises UserError where it has not been run yet, or its code is another by now.
    """
    given = cells(SOURCE.read_text(encoding="utf-8"), framework)
    try:
        notebook = json.loads(notebook_file(framework).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{notebook_file(framework)}: cannot be read: {error}; run it, without --text") from None
    asked, ran = ([cell for cell in each if cell["cell_type"] == "code"] for each in (given, notebook["cells"]))
    if [cell["source"] for cell in asked] != ["".join(cell["source"]) for cell in ran]:
        raise UserError(f"{SOURCE.name}: its code is not what {framework} has run; run it, without --text")
    for cell, before in zip(asked, ran, strict=True):
        cell |= {name: before[name] for name in ("execution_count", "outputs")}
        if cell["id"] in OF_SPECIFICATION:
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": _printed(cell["source"])}]
    # As nbformat writes it.
    notebook["cells"] = [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in given]
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _printed(source: str) -> list[str]:
    """The lines that a cell prints, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(source, {"layouts": layouts})
    return printed.getvalue().splitlines(keepends=True)


def run(
    given: list[dict[str, Any]], *, told: Callable[[int, int], None] = lambda done, of: None, **environment: str
) -> str:
    """Cells, run in a kernel of this very Python in the folder of the notebooks, as the text of a notebook."""
    # Here, so that the rest of this module is of use where no notebook can be run.
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    interrupted = []

    def heed(notebook: Any) -> None:
        # Ctrl-C cancels the run, which ends the kernel. Left alone, nbclient ends the kernel and waits for its answer.
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        loop.add_signal_handler(signal.SIGINT, lambda: interrupted.append(task.cancel()))

    notebook = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": METADATA, "cells": given})
    with tempfile.TemporaryDirectory() as folder:
        # What this user has configured elsewhere has no part in it, and nothing is left there.
        own = {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder}
        manager = AsyncKernelManager(
            # With no folder to look for others, there is the kernel of this Python alone.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(Path(folder) / "kernel.json"),
            # By files, not ports: nobody else can reach it.
            transport="ipc",
            ip=str(Path(folder) / "kernel"),
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=None,
            record_timing=False,
            coalesce_streams=True,
            # A kernel that is asked to stop while it works complains, and there is nothing that it would have to save.
            shutdown_kernel="immediate",
            # What a library prints past Python, such as TensorFlow's greeting, which nothing turns off, goes to the
            # terminal and not into the notebook.
            extra_arguments=["--IPKernelApp.capture_fd_output=False"],
            resources={"metadata": {"path": str(FOLDER)}},
            on_notebook_start=heed,
            on_cell_executed=lambda cell, cell_index, execute_reply: told(cell_index + 1, len(given)),
        )
        try:
            # cleanup_kc: the kernel ends with the run, however that ends, though its manager came from here.
            asyncio.run(client.async_execute(cleanup_kc=True, env={**os.environ, **own, **environment}))
        except (DeadKernelError, asyncio.CancelledError):
            if interrupted:
                raise KeyboardInterrupt from None
            raise
    # The kernel has added its versions.
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.validate(notebook)
    return f"{nbformat.writes(notebook)}\n"
