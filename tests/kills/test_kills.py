"""SIGKILL and Ctrl-C at random moments: what was finished is whole, the next run goes on, and nothing is left behind.

The short form, once; tox -e kills has it too, and the others, ISOGRU_KILLS times, by default 20. That a single
process leaves a file whole or none is tested in tests/spec/test_files.py too.
"""

from __future__ import annotations

from tests.kills import commands
from tests.kills.killing import check
from tests.project_copy import STUB


def test_prove(root, tmp_path, draw, kills):
    check(commands.proving(root, STUB), tmp_path, draw, kills)
