"""How native layers pack parameters; that each layer gets it right is shown in tests/equivalence."""

from __future__ import annotations

import pytest

from shared_spec import layouts
from shared_spec.errors import SpecificationError, UserError


def test_every_layout_packs_every_parameter_of_its_cell_once():
    assert {entry.cell for entry in layouts.layouts().values()} == {"gru", "gru_reset_after", "rnn"}
    torch = layouts.layout("torch-gru")
    assert torch.tensors["weight_ih_l0"].rows == (("W_xr", "W_xz", "W_xh"),)
    assert layouts.layout("keras-gru-reset-after").tensors["bias"].rows == (("b_z", "b_r", "b_h"), ("0", "0", "b_hh"))


def test_unknown_layout():
    with pytest.raises(UserError, match="no layout 'caffe'; the layouts are torch-gru"):
        layouts.layout("caffe")


def test_a_layout_that_leaves_a_parameter_out(monkeypatch, tmp_path):
    wrong = tmp_path / "layouts.toml"
    wrong.write_text(layouts.FILE.read_text().replace('"ir.bias" = { parts = ["b_r"], axis = 0 }\n', ""))
    monkeypatch.setattr(layouts, "FILE", wrong)
    with pytest.raises(SpecificationError, match=r"\[flax-gru\] packs"):
        layouts.layouts.__wrapped__()
