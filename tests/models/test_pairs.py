"""From each framework's own files to each other framework, there loaded by that framework's own loader: the outputs.

What is right to the last digit is proven elsewhere: weights are moved to the bit, and each layer is held against its
cell by the verdict. Here states within (-1, 1) have to agree to 16 units of float32 over six steps; a gate in the wrong
place is off by more than a hundredth.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.players import KINDS, MXNET, PLAYERS, mxnet_files, problem

CLOSE = 16 * 2.0**-24
SOURCES = [(name, kind) for name, player in PLAYERS.items() for kind in player.kinds]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each source's files, with the options that say what they leave open, and its output; made once."""
    made = {}

    def of(name, kind):
        if (name, kind) not in made:
            folder = tmp_path_factory.mktemp(f"{name}-{kind}")
            player = PLAYERS[name]
            model = player.build(kind, 1)
            made[name, kind] = player.save(model, folder), player.run(model, problem())
        return made[name, kind]

    return of


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A file of each target's own with other weights, which --into takes, and the model that reads such files."""
    made = {}

    def of(name, kind):
        if (name, kind) not in made:
            folder = tmp_path_factory.mktemp(f"into-{name}-{kind}")
            player = PLAYERS[name]
            model = player.build(kind, 2)
            made[name, kind] = model, player.save_template(model, folder), player.run(model, problem())
        return made[name, kind]

    return of


PAIRS = [(source, kind, target) for source, kind in SOURCES for target, other in PLAYERS.items() if kind in other.kinds]


@pytest.mark.parametrize(("source", "kind", "target"), PAIRS)
def test_every_pair(isogru, saved, templates, tmp_path, source, kind, target):
    """From the source's files in turn: that they all are the same, to the bit, is said below, where each of them is
    converted as well.
    """
    files, wanted = saved(source, kind)
    model, template, before = templates(target, kind)
    assert np.abs(before - wanted).max() > 0.01
    file, options = list(files.items())[[*PLAYERS].index(target) % len(files)]
    out = tmp_path / PLAYERS[target].template
    done = isogru("convert", file, *options, "--into", *template, "-o", out)
    assert done.status == 0, done.err
    assert "exact" in done.out
    PLAYERS[target].load(model, out)
    np.testing.assert_allclose(PLAYERS[target].run(model, problem()), wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("source", "kind"), SOURCES)
def test_all_files_of_one_model_are_the_same(isogru, saved, source, kind):
    files, _ = saved(source, kind)
    first = next(iter(files))
    for file, options in files.items():
        to = [word.replace("--from", "--to") for word in options]
        done = isogru("same", first, *files[first], file, *to)
        assert (done.status, "to the bit" in done.out) == (0, True), (file, done)


@pytest.mark.parametrize(("source", "kind"), SOURCES)
def test_files_for_mxnet(isogru, saved, source, kind):
    """tests/models/test_into_mxnet.py loads them, in the environment of MXNet."""
    files, wanted = saved(source, kind)
    mxnet_files().mkdir(parents=True, exist_ok=True)
    np.savez(mxnet_files() / f"{source}-{kind}.npz", X=problem(), H=wanted)
    for file, options in files.items():
        out = mxnet_files() / f"{source}-{kind}-{file.name}.params"
        done = isogru("convert", file, *options, "--to", "gluon", "-o", out)
        assert done.status == 0, done.err
        assert isogru("same", file, *options, out).status == 0


OF_MXNET = {"gru_stack": "stack", "gru_both_ways": "both", "gru_cells": "stack"}


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [(n, k, t) for n, k in OF_MXNET.items() for t, other in PLAYERS.items() if k in other.kinds],
)
def test_from_mxnet(isogru, templates, tmp_path, name, kind, target):
    """MXNet's own files, which it saved in two ways, with the outputs that it gave."""
    player = PLAYERS[target]
    with np.load(MXNET / "outputs.npz") as outputs:
        X, wanted = outputs["X"], outputs[name]
    for how in ("save_parameters", "collect_params"):
        out = tmp_path / f"{how}.{player.template}"
        model, template, _ = templates(target, kind)
        done = isogru("convert", MXNET / f"{name}.{how}.params", "--into", *template, "-o", out)
        assert done.status == 0, done.err
        player.load(model, out)
        np.testing.assert_allclose(player.run(model, X), wanted, rtol=0, atol=CLOSE)


def test_the_kinds_are_all_there():
    assert {kind for _, kind in SOURCES} == set(KINDS)
    assert len(PAIRS) == 77
