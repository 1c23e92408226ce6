"""Into MXNet, loaded by MXNet's own loader. Files come from every other framework's, by tests/models/test_pairs.py."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.models.players import PLAYERS, D, H, mxnet_files

SOURCES = [(name, kind) for name, player in PLAYERS.items() for kind in player.kinds]


@pytest.mark.parametrize(("source", "kind"), SOURCES)
def test_every_source(source, kind):
    with warnings.catch_warnings():
        # It uses what Python and NumPy have deprecated.
        warnings.simplefilter("ignore")
        import mxnet

    files = sorted(mxnet_files().glob(f"{source}-{kind}-*.params"))
    assert files, "nothing was converted; run tox -e models first"
    with np.load(mxnet_files() / f"{source}-{kind}.npz") as problem:
        X, wanted = problem["X"], problem["H"]
    for file in files:
        layer = mxnet.gluon.rnn.GRU(H, num_layers=1 + (kind != "bare"), bidirectional=kind == "both", input_size=D)
        layer.load_parameters(str(file))
        np.testing.assert_allclose(layer(mxnet.nd.array(X)).asnumpy(), wanted, rtol=0, atol=16 * 2.0**-24)
