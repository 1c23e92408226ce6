"""What a user is refused with: wrong requests to every command, and the sentence that each gets.

messages.txt beside this has them all, so that their wording is read in one place. After a change:
python -m tests.spec.refusals
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy

import frameworks as known
from frameworks.__main__ import app as frameworks
from isogru.__main__ import app as isogru
from reports.__main__ import app as reports
from shared_spec import cases
from shared_spec.__main__ import app as specification
from shared_spec.command import main
from shared_spec.files import interchange

FILE = Path(__file__).parent / "messages.txt"
APPS = {"isogru": isogru, "shared_spec": specification, "frameworks": frameworks, "reports": reports}
REQUESTS = """
isogru check none.py:gru --cell gru
isogru check gru.py --cell gru
isogru check gru.py:lstm --cell gru
isogru check gru.py:gru --cell lstm
isogru check gru.py:gru --cell gru --dtype int8
isogru check gru.py:gru --cell gru --products tf32
isogru verdict none.safetensors result.npy
isogru verdict text.txt result.npy
isogru verdict empty.safetensors result.npy
isogru verdict case.safetensors none.npy
isogru verdict case.safetensors text.txt
isogru verdict case.safetensors empty.npz
isogru verdict case.safetensors short.npy
isogru verdict case.safetensors folder
isogru verdict case.safetensors states.npy --products tf32
isogru explain case.safetensors none.npy
isogru explain text.txt result.npy
isogru judge --cell lstm -- true
isogru judge --cell gru -- no-such-program
isogru judge --cell gru --timeout soon -- true
isogru judge --cell gru --products float32 -- true
isogru judge --cell gru --format zip -- true
isogru layers none.pt
isogru layers text.txt
isogru layers empty.safetensors
isogru same none.safetensors gru.npz
isogru same gru.npz text.txt
isogru same gru.npz empty.npz
isogru convert none.npz -o out.npz --to torch
isogru convert gru.npz -o out.npz --to lstm
isogru score --mutant reset_none
isogru score --case gru-none
isogru score --dtype int8
isogru score --seed soon
isogru score --drawn 10001
isogru score --resume
isogru score --conventions text.txt
isogru case none -o out.safetensors
isogru case gru-ordinary -o folder
isogru case gru-ordinary --reverse -o out.safetensors
isogru suites jest
isogru pack
isogru pack -o text.txt
isogru pack --check none
isogru pack --check folder
shared_spec case gru -o out.safetensors
shared_spec case short-training-gru -o out.safetensors --corpus none.txt
shared_spec case short-training-gru -o out.safetensors --corpus empty.txt
shared_spec case short-training-gru -o out.safetensors --corpus text.txt
shared_spec case short-training-gru -o out.safetensors --corpus text.txt --corpus-sha1 0
shared_spec run none.safetensors -o out.safetensors
shared_spec run empty.safetensors -o out.safetensors
shared_spec run case.safetensors -o case.safetensors
shared_spec run case.safetensors -o folder
frameworks thorch list
frameworks torch run none.safetensors -o out.safetensors
frameworks torch run case.safetensors -o case.safetensors
frameworks torch run case.safetensors -o out.safetensors --dtype int8
frameworks torch sweep --grid hiddens=3
frameworks torch sweep --grid num_hiddens
frameworks torch sweep --grid num_hiddens=many
frameworks torch sweep --grid num_hiddens=0
frameworks torch sweep --task copy-many
frameworks torch sweep --threads 1000000000
frameworks torch compare --study thirds
frameworks torch score --mutant reset_none
reports verdict case.safetensors none.npy
reports site
reports site --framework thorch
reports site --from none.json
reports site --from text.txt
reports site --from empty.json
reports site --from other.json
reports compare none.json other.json
reports compare text.txt other.json
reports third-party
reports referee -o text.txt
reports trials --export out.csv
reports trials --export out.xls --store text.txt
reports race thorch
reports race torch --workload everythin
reports race torch --threads 1000000000
reports race torch --budget 10
reports race torch --budget 9d
reports race torch --seconds inf
reports race torch --against none.json
reports race torch --against other.json
reports race --resume yesterday
"""


def collect() -> str:
    """Every request of the table, and below it its exit status and all that was said on standard error."""
    before, check = (Path.cwd(), dict(os.environ)), known.check_installed
    with tempfile.TemporaryDirectory() as name:
        try:
            folder = Path(name).resolve()
            os.chdir(folder)
            os.environ |= {"ISOGRU_RESULTS": str(folder / "results"), "COLUMNS": "400"}
            for variable in ("ISOGRU_CORPUS", "ISOGRU_CORPUS_SHA1", "ISOGRU_THREADS", "ISOGRU_SITE"):
                os.environ.pop(variable, None)
            _files(folder)
            # Here a request is refused alike whether or not the framework is there.
            known.check_installed = lambda name: None
            said = [_refused(request).replace(str(folder), "...") for request in REQUESTS.strip().splitlines()]
        finally:
            known.check_installed = check
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])
    return "\n".join(said)


def _files(folder: Path) -> None:
    """A right case and a right layer, and files that are wrong in one way each."""
    (folder / "folder").mkdir()
    for name, text in (
        ("gru.py", "def gru(X, H0, parameters):\n    return X\n"),
        ("text.txt", "a text\n"),
        ("empty.txt", ""),
        ("empty.json", "{}"),
        ("other.json", '{"format": "another/1"}'),
    ):
        (folder / name).write_text(text)
    interchange.write_case(folder / "case.safetensors", cases.build("gru-one_step"))
    safetensors.numpy.save_file({}, folder / "empty.safetensors")
    np.savez(folder / "empty.npz")
    np.save(folder / "short.npy", np.zeros((2, 3)))
    np.save(folder / "result.npy", np.zeros((1, 3, 5)))
    np.save(folder / "states.npy", np.zeros((1, 5, 7)))
    layer = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
    np.savez(folder / "gru.npz", **{name: np.zeros(shape, np.float32) for name, shape in layer.items()})


def _refused(request: str) -> str:
    command, *arguments = shlex.split(request)
    app, status, errors = APPS[command], 0, io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(lambda: app(arguments, prog_name=command if command == "isogru" else f"python -m {command}"))
        except SystemExit as ended:
            status = ended.code  # type: ignore[assignment]
    return f"$ {request}\n{status}: {errors.getvalue()}"


if __name__ == "__main__":
    FILE.write_text(collect())
