"""Results made by these tests stay out of the user's; and files of weights."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture(autouse=True)
def _own_results(results):
    pass


@pytest.fixture
def saved(tmp_path):
    """Saves tensors as a safetensors file, each a contiguous copy, and gives its path."""

    def save(name, tensors):
        path = tmp_path / f"{name}.safetensors"
        save_file({key: np.ascontiguousarray(array) for key, array in tensors.items()}, path)
        return path

    return save
