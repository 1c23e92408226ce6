"""What takes longer to be killed: pages, and proofs, races and sweeps in the framework under test."""

from __future__ import annotations

import pytest

from tests.kills import commands
from tests.kills.killing import check
from tests.project_copy import ROOT, STUB


@pytest.fixture
def proven(root, tmp_path):
    """Results that are not judged yet."""
    one = commands.proving(root, STUB)
    place = one.fresh(tmp_path / "proven")
    one.end(place)
    return place / "results"


def test_case(tmp_path, draw, kills):
    check(commands.making_a_case(), tmp_path, draw, kills)


def test_convert(tmp_path, draw, kills):
    check(commands.converting(), tmp_path, draw, kills)


def test_site(root, proven, tmp_path, draw, kills):
    check(commands.paging(root, proven), tmp_path, draw, kills)


def test_prove(framework_name, tmp_path, draw, kills):
    check(commands.proving(ROOT, framework_name), tmp_path, draw, kills)


def test_race(framework_name, tmp_path, draw, kills):
    check(commands.racing(framework_name), tmp_path, draw, kills)


def test_sweep(framework_name, tmp_path, draw, kills):
    check(commands.sweeping(framework_name), tmp_path, draw, kills)
