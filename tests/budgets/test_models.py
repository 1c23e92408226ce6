"""What a GRU costs inside a model of 1 GB: processor time and memory of `same` and `convert`, beside those of starting.

A GRU of 1024 inputs and 1024 units takes 25 MB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.isogru import grus

ROOT = Path(__file__).parents[2]
UNITS, BLOCKS = 1024, 15
SECONDS = 3.0
DIFFERENCE_SECONDS = 2.0
TIMES_THE_WEIGHTS = 2.0
"""Memory, in multiples of the GRUs that are read: of two files for `same`, of one for `convert`."""
TIMES_WHERE_DIFFERENT = 3.0
"""The states of two different GRUs are measured in float64, which takes twice the memory of the one that runs."""

MEASURED = """
import resource, sys
from isogru.__main__ import app
try:
    app(sys.argv[1:], prog_name="isogru")
except SystemExit:
    pass
usage = resource.getrusage(resource.RUSAGE_SELF)
# Its own ru_maxrss begins with that of the process that started it.
with open("/proc/self/status") as status:
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
print("measured", usage.ru_utime + usage.ru_stime, int(peak) / 1e3)
"""


def measured(*arguments):
    """Processor seconds and megabytes of a command, and what it printed."""
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    seconds, megabytes = map(float, last.split()[1:])
    return seconds, megabytes, printed


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The model, its GRU under Keras' names, that with one weight changed, and a file with next to nothing."""
    folder = tmp_path_factory.mktemp("models")
    torch = {name: array / 32 for name, array in grus.torch_layer(UNITS, UNITS, prefix="rnn.").items()}
    blocks = {f"layers.{i}.mlp.weight": np.zeros((4096, 4096), np.float32) for i in range(BLOCKS)}
    keras = grus.to_keras(torch, prefix="rnn.")
    save_file({**torch, **blocks}, folder / "model.safetensors")
    save_file(keras, folder / "keras.safetensors")
    changed = keras["kernel"].copy()
    changed[0, 0] += 0.1
    save_file({**keras, "kernel": changed}, folder / "other.safetensors")
    save_file(grus.torch_layer(), folder / "small.safetensors")
    assert (folder / "model.safetensors").stat().st_size > 1e9
    return folder, sum(array.nbytes for array in keras.values()) / 1e6


def test_a_gru_in_a_large_model(files):
    folder, weights = files
    model, small = folder / "model.safetensors", folder / "small.safetensors"
    start = measured("same", small, small)
    equal = measured("same", model, folder / "keras.safetensors")
    other = measured("same", model, folder / "other.safetensors")
    converted = {
        ending: measured("convert", model, "--to", "keras", "-o", folder / f"out{ending}")
        for ending in (".safetensors", ".npz", ".params", ".msgpack")
    }
    into = measured("convert", folder / "other.safetensors", "--into", model, "-o", folder / "filled.safetensors")
    converted["into the model"] = into
    told = ", ".join(
        f"{name} {seconds - start[0]:.2f} s and {(megabytes - start[1]) / weights:.1f} times the weights"
        for name, (seconds, megabytes, _) in {"same": equal, "different": other, **converted}.items()
    )
    print(told)
    assert equal[2][-1].startswith("the same function")
    assert other[2][-1].startswith("different: W_xz[0, 0]")
    assert all(printed[0].startswith("exact") for _, _, printed in converted.values())
    assert max(seconds for seconds, _, _ in (equal, *converted.values())) - start[0] < SECONDS, told
    assert other[0] - equal[0] < DIFFERENCE_SECONDS, told
    assert equal[1] - start[1] < 2 * TIMES_THE_WEIGHTS * weights, told
    assert other[1] - start[1] < 2 * TIMES_WHERE_DIFFERENT * weights, told
    assert all(megabytes - start[1] < TIMES_THE_WEIGHTS * weights for _, megabytes, _ in converted.values()), told
