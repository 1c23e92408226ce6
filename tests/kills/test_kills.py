"""SIGKILL and Ctrl-C at random moments: what was finished is whole, the next run goes on, and nothing is left behind.

The short form, once each of what is quick; tox -e kills has these too, ISOGRU_KILLS times, by default 20.
"""

from __future__ import annotations

from tests.kills import commands
from tests.kills.killing import check
from tests.project_copy import STUB


def test_prove(root, tmp_path, draw, kills):
    check(commands.proving(root, STUB), tmp_path, draw, kills)


def test_case(tmp_path, draw, kills):
    check(commands.making_a_case(), tmp_path, draw, kills)
