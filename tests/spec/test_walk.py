"""The notebooks of docs/ as they are kept: made from gru.md, run to the end, and the same in all four frameworks."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest

import frameworks
from docs import notebooks
from isogru import judge
from isogru.score import equations
from shared_spec import cases, language_model, oracle
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import Result
from shared_spec.language_model import corpus

SOURCE = notebooks.SOURCE.read_text(encoding="utf-8")
TEXT_CELL = "the-text-and-the-parameters-2"
# Cells that need no framework: what they print follows from the specification.
NEUTRAL = (
    "gates-candidate-hidden-state-2",
    TEXT_CELL,
    "the-text-and-the-parameters-4",
    "are-the-two-the-same-function-4",
)
DIFFERENT = re.compile(r"^different +(\w+) .*\n +(\S+) = (\S+), should be (\S+) \(\S+ off, bound (\S+)\)$", re.M)


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


def run_here(cell, names):
    """Run a cell of the walk: what it shows last, where that is an expression."""
    *before, last = ast.parse(cell["source"]).body
    shown = isinstance(last, ast.Expr)
    exec(compile(ast.Module(before if shown else [*before, last], []), cell["id"], "exec"), names)
    return eval(compile(ast.Expression(last.value), cell["id"], "eval"), names) if shown else None


def test_what_needs_no_framework_is_what_every_notebook_shows(monkeypatch, capsys, text):
    """Equations, settings, parameters and layouts as they are now. The story may stand in for the book: it has all its
    letters.
    """
    book = language_model.specification().corpus["sha1"]
    monkeypatch.setattr(corpus, "find", lambda *given, **more: SimpleNamespace(**{**vars(text), "sha1": book}))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(Math=lambda formulas: formulas))
    for name in ("ISOGRU_CORPUS", "ISOGRU_CORPUS_SHA1", "ISOGRU_EPOCHS"):
        monkeypatch.delenv(name, raising=False)
    asked = {cell["id"]: cell for cell in notebooks.cells(SOURCE, "torch")}
    names = {}
    run_here(asked["a-gru-by-hand-and-ready-made-2"], names)
    for id in NEUTRAL:
        capsys.readouterr()
        shown = run_here(asked[id], names)
        said = capsys.readouterr().out
        assert said
        for framework in frameworks.NAMES:
            (there,) = [cell for cell in code(framework) if cell["id"] == id]
            assert printed(framework)[id] == said
            assert [output["data"]["text/latex"] for output in there["outputs"] if "data" in output] == (
                [[f"$\\displaystyle {shown}$"]] if isinstance(shown, str) else []
            )


def pinned(group, groups):
    """The versions that a group of dependencies pins, by package."""
    versions = {}
    for each in groups[group]:
        versions |= pinned(each["include-group"], groups) if isinstance(each, dict) else dict([each.split("==")])
    return {name.removesuffix("-cpu"): version for name, version in versions.items()}


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_notebook_was_run_in_the_versions_that_are_pinned(framework):
    (output,) = next(cell for cell in code(framework) if cell["execution_count"] == 2)["outputs"]
    ran = ast.literal_eval("".join(output["data"]["text/plain"]))
    known = pinned(
        framework, tomllib.loads((notebooks.FOLDER.parent / "pyproject.toml").read_text())["dependency-groups"]
    )
    assert framework in ran
    # jaxlib comes with JAX, and is its version.
    wanted = {name: known[name.removesuffix("lib")] for name in ran}
    assert {name: version.partition("+")[0] for name, version in ran.items()} == wanted


def computed(case, by, parameters):
    """What a cell computes in float32 of a case, which may be of another cell, with some parameters negated."""
    arrays = oracle.run(cell(by), {**case.arrays, **parameters}, dtype="float32")
    # By the chain rule the gradient of -W is that of W, negated; of what a cell leaves out it is zero.
    gradients = {f"grad.{name}": (name in parameters) for name in case.cell.parameters}
    for name, is_turned in gradients.items():
        array = arrays.get(name, np.zeros_like(case.arrays[name.removeprefix("grad.")], np.float32))
        arrays[name] = -array if is_turned else array
    return Result(equations.origin(case, "float32"), arrays)


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_what_is_told_of_a_different_function_is_what_is_found_of_the_equations(framework, results):
    """The worst element and both of its numbers, to the rounding that the sentence allows there."""
    said = printed(framework)
    case = cases.build("gru-ordinary")
    turned = {name: -case.parameters[name] for name in ("W_xz", "W_hz", "b_z")}
    verdicts = [judge.on(case, computed(case, "gru", turned))]
    case = cases.build("gru_reset_after-no_inner_bias")
    for claimed, other in (("gru", "gru_reset_after"), ("gru_reset_after", "gru"))[: 1 + (framework == "tensorflow")]:
        verdicts.append(judge.on(case, computed(case, other, {}), claim=cell(claimed)))
    lines = DIFFERENT.findall(said["is-it-right-4"] + said["are-the-two-the-same-function-2"])
    assert len(lines) == len(verdicts)
    for (claimed, place, was, should, bound), verdict in zip(lines, verdicts, strict=True):
        worst = verdict.worst_finding
        assert (claimed, place) == (verdict.origin.cell, worst.sentence(verdict.origin).partition(" = ")[0])
        assert abs(float(was) - worst.value) <= float(bound)
        assert abs(float(should) - worst.should_be) <= float(bound)


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
