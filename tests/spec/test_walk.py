"""The notebooks of docs/ as they are kept: made from gru.md, run to the end, and the same in all four frameworks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import frameworks
from docs import notebooks
from shared_spec import language_model
from shared_spec.errors import UserError
from shared_spec.language_model import corpus

SOURCE = notebooks.SOURCE.read_text(encoding="utf-8")
TEXT_CELL = "the-text-and-the-parameters-2"


def kept(framework):
    return json.loads(notebooks.notebook_file(framework).read_text(encoding="utf-8"))


def code(framework):
    return [cell for cell in kept(framework)["cells"] if cell["cell_type"] == "code"]


def printed(framework):
    """What each cell of a notebook printed, by its id."""
    return {
        cell["id"]: "".join(line for output in cell["outputs"] for line in output.get("text", []))
        for cell in code(framework)
    }


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_notebook_is_what_the_text_says(framework):
    # Its text taken over again, and its code compared with what was run: to the byte the file that is kept.
    assert notebooks.retell(framework) == notebooks.notebook_file(framework).read_text(encoding="utf-8")
    assert kept(framework)["metadata"] == notebooks.METADATA


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_notebook_was_run_from_first_cell_to_last(framework):
    cells = code(framework)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    # No warnings.
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}
    assert [list(output["data"]) for output in cells[-1]["outputs"]] == [["image/png", "text/plain"]]
    said = printed(framework)
    whole = language_model.specification()
    assert said[TEXT_CELL].startswith(f"{whole.corpus['title']}\n")
    epochs = whole.defaults["epochs"]
    assert f"epochs           {epochs}\n" in said[TEXT_CELL]
    assert sum(f", {epochs} epochs: perplexity" in text for text in said.values()) == 3


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_notebook_says_nothing_of_the_machine_it_ran_on(framework):
    text = notebooks.notebook_file(framework).read_text(encoding="utf-8")
    assert len(text) < 150_000
    without_images = re.sub(r'"image/png": ".*?"', "", text)
    assert re.findall(r"/(?:home|root|tmp|work|Users|usr|opt|var)/|site-packages|0x[0-9a-f]{6,}", without_images) == []


def test_the_four_are_parallel():
    """The same text, ids and kinds of output; code that is one framework's own only where all have their own."""
    torch = notebooks.cells(SOURCE, "torch")
    for framework in frameworks.NAMES[1:]:
        other = notebooks.cells(SOURCE, framework)
        assert [cell["id"] for cell in other] == [cell["id"] for cell in torch]
        title = re.compile(r" · .*")
        for one, two in zip(torch, other, strict=True):
            if one["cell_type"] == "markdown":
                assert title.sub("", one["source"]) == title.sub("", two["source"])
        kinds = [[list(o.get("data", [o.get("name")])) for o in cell["outputs"]] for cell in code(framework)]
        assert kinds == [[list(o.get("data", [o.get("name")])) for o in cell["outputs"]] for cell in code("torch")]
    titles = [notebooks.cells(SOURCE, framework)[0]["source"].splitlines()[0] for framework in frameworks.NAMES]
    assert titles == [f"# A GRU, by hand and ready-made · {name}" for name in notebooks.TITLES.values()]


def test_ids_are_names_and_unique():
    ids = [cell["id"] for cell in notebooks.cells(SOURCE, "jax")]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]{1,64}", each) for each in ids)


def tabs(*names, code="1"):
    return "\n".join(f"```python {name}\n{code}\n```" for name in names)


def test_a_cell_of_its_own_in_each_framework():
    text = f"# T\n\n```python\nboth\n```\n{tabs(*frameworks.NAMES)}\n{tabs(*frameworks.NAMES, code='2')}\n\nend\n"
    cells = notebooks.cells(text, "mxnet")
    assert [(cell["id"], cell["source"]) for cell in cells] == [
        ("t-1", "# T · MXNet"),
        ("t-2", "both"),
        ("t-3", "1"),
        ("t-4", "2"),
        ("t-5", "end"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (tabs("torch", "jax", "tensorflow", "mxnet"), "the cell that begins '1' is there for torch, jax, tensorflow,"),
        (tabs("torch", "tensorflow", "jax"), "it should be for torch, tensorflow, jax, mxnet, in this order"),
        (tabs(*frameworks.NAMES, "torch"), "is there for torch, tensorflow, jax, mxnet, torch;"),
        (tabs("theano"), "is there for theano"),
        ("```python\n1\n", "'```python' after '# T' is no cell's"),
        ("```py\n1\n```", "'```py' after '# T' is no cell's"),
        ("```python torch jax\n1\n```", "'```python torch jax' after '# T' is no cell's"),
    ],
)
def test_a_wrong_fence_is_refused(text, said):
    with pytest.raises(UserError, match=re.escape(said)):
        notebooks.cells(f"# T\n\n{text}\n", "torch")


def test_text_is_taken_over_without_running_and_code_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(notebooks, "SOURCE", tmp_path / "gru.md")
    (tmp_path / "gru.md").write_text("# Old\n\n```python\nprint(1)\n```\n")
    with pytest.raises(UserError, match=r"gru-jax\.ipynb: cannot be read: .*; run it, without --text"):
        notebooks.retell("jax")
    cells = notebooks.cells(notebooks.SOURCE.read_text(), "jax")
    cells[1] |= {"execution_count": 1, "outputs": [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]}
    notebooks.notebook_file("jax").write_text(json.dumps({"metadata": {}, "cells": cells}))

    (tmp_path / "gru.md").write_text("# New\n\n```python\nprint(1)\n```\nmore\n")
    new_cells = json.loads(notebooks.retell("jax"))["cells"]
    assert [(cell["id"], cell["source"]) for cell in new_cells] == [
        ("new-1", ["# New · JAX"]),
        ("new-2", ["print(1)"]),
        ("new-3", ["more"]),
    ]
    assert new_cells[1]["outputs"] == cells[1]["outputs"]

    (tmp_path / "gru.md").write_text("# New\n\n```python\nprint(2)\n```\n")
    with pytest.raises(UserError, match=r"gru\.md: its code is not what jax has run; run it, without --text"):
        notebooks.retell("jax")


def test_a_text_that_stands_in_is_said_aloud(monkeypatch, capsys):
    """The cell that finds the text, where none is given and none can be fetched."""
    story = corpus.built_in(language_model.specification().corpus, "no connection")
    monkeypatch.setattr(corpus, "find", lambda settings, *, path, sha1: story)
    for name in ("ISOGRU_CORPUS", "ISOGRU_CORPUS_SHA1", "ISOGRU_EPOCHS"):
        monkeypatch.delenv(name, raising=False)
    (cell,) = [cell for cell in notebooks.cells(SOURCE, "torch") if cell["id"] == TEXT_CELL]
    exec(cell["source"], {"corpus": corpus, "language_model": language_model})
    assert capsys.readouterr().out.startswith("corpus: THE BUILT-IN STORY stands in for The Time Machine")


def test_the_layer_starts_where_the_scratch_model_does():
    """As the walk says of its second training."""
    starts = [language_model.start(language_model.recipe(name), num_tokens=28) for name in ("gru", "gru_reset_after")]
    assert set(starts[1]) - set(starts[0]) == {"b_hh"}
    assert all(np.array_equal(array, starts[1][name]) for name, array in starts[0].items())
    assert not starts[1]["b_hh"].any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("docs", "theano"), "isogru: no framework 'theano'; the frameworks are torch, tensorflow, jax, mxnet"),
        (("docs", "torch", "--epochs", "0"), "invalid value for '--epochs' (env var: 'ISOGRU_EPOCHS')"),
    ],
)
def test_what_is_refused(command, arguments, said, tmp_path):
    done = command(*arguments, "-o", str(tmp_path / "out.ipynb"))
    assert done.returncode == 2
    assert said in done.stderr
    assert not any(tmp_path.iterdir())
