"""Ten thousand results, 3 GB of large ones, a thousand trials and a race of everything on one machine: processor time
and memory of the pages, which grow no faster than what they show, and stay within 1 GB. `tox -e load`;
tests/reports/test_many.py counts what is done instead.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shared_spec import cases
from shared_spec.race.definition import Race
from tests import sample_race, sample_trials
from tests.budgets.test_report import fill

ROOT = Path(__file__).parents[2]
COUNTS = [int(count) for count in os.environ.get("ISOGRU_LOAD", "1000,3000,10000").split(",")]
SMALL = 2000
"""Numbers of a case's inputs and parameters: what is kept of a result for the page is of a bounded size anyway."""
LARGE = {"gru-wide": (500, 1000, 2000), "gru-chapter": (55, 110, 220)}
"""How many of large results: of 256 units, and of 1024 sequences of 32 steps, a megabyte and twelve each: 3 GB at once,
no more.
"""
MEGABYTES = 1000
STEEPER = 1.5
"""So many times as fast as the results the time may grow, from one count to the next."""


def measured(*words):
    """Processor seconds of a command and all that it starts, and megabytes of its largest process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = f"""
import resource, subprocess, sys
done = subprocess.run({[sys.executable, "-m", *map(str, words)]!r}, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
    # By way of a small process: a child's ru_maxrss begins with that of the one that has started it.
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stdout) / 1e3


def small_cases():
    built = {name: cases.build(name) for name in cases.cell_case_names()}
    return [name for name, case in built.items() if sum(array.size for array in case.arrays.values()) <= SMALL]


def test_results(tmp_path_factory, tmp_path, monkeypatch):
    times = {}
    for count in COUNTS:
        monkeypatch.setenv("ISOGRU_RESULTS", str(tmp_path_factory.mktemp(f"results{count}")))
        fill(count, small_cases())
        for what in ("cold", "again"):
            seconds, megabytes = measured("reports", "site", "-o", tmp_path / "site")
            size = (tmp_path / "site" / "report.json").stat().st_size / 1e6
            print(f"{count} results, {what}: {seconds:.0f} s of a core, {megabytes:.0f} MB, report.json {size:.0f} MB")
            assert megabytes < MEGABYTES
            times[what, count] = seconds
        print(f"exercises beside them: {measured('reports', 'exercises', '-o', tmp_path / 'site')[1]:.0f} MB")
    for what in ("cold", "again"):
        for few, many in itertools.pairwise(COUNTS):
            assert times[what, many] / times[what, few] < STEEPER * many / few


@pytest.mark.parametrize(("name", "counts"), LARGE.items())
def test_large_results(tmp_path, monkeypatch, name, counts):
    """Taken away again as soon as they have been looked at."""
    monkeypatch.setenv("ISOGRU_REFERENCE", str(tmp_path / "reference"))
    times = {}
    for count in counts:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            monkeypatch.setenv("ISOGRU_RESULTS", folder)
            fill(count, [name])
            size = sum(file.stat().st_size for file in Path(folder).glob("*/*.safetensors")) / 1e6
            for what in ("cold", "again"):
                seconds, megabytes = measured("reports", "site", "-o", tmp_path / "site")
                told = f"{seconds:.0f} s of a core, {megabytes:.0f} MB"
                print(f"{count} results of {name}, {size:.0f} MB, {what}: {told}")
                assert megabytes < MEGABYTES
                times[what, count] = seconds
    for what in ("cold", "again"):
        for few, many in itertools.pairwise(counts):
            assert times[what, many] / times[what, few] < STEEPER * many / few


@pytest.mark.parametrize("count", [100, 1000])
def test_trials(results, tmp_path, count):
    sample_trials.keep("many", [sample_trials.outcome(lr=1 + number / count) for number in range(count)])
    for words in (("exercises", "-o", tmp_path / "site"), ("trials", "--export", tmp_path / "trials.csv")):
        seconds, megabytes = measured("reports", *words)
        print(f"{count} trials, {words[0]}: {seconds:.1f} s of a core, {megabytes:.0f} MB")
        assert megabytes < MEGABYTES


def test_a_race_of_everything(results, tmp_path):
    times = {}
    for starts in (3, 12):
        race = Race(f"2026-01-{starts:02}T00-00-00", list(sample_race.LANES), ["everything"], budget=6e5, threads=2)
        count = sample_race.everything(race, starts=starts, of_start=15)
        seconds, megabytes = measured("reports", "site", "-o", tmp_path / "site")
        size = (tmp_path / "site" / "leaderboard.json").stat().st_size / 1e6
        told = f"{seconds:.1f} s of a core, {megabytes:.0f} MB, leaderboard.json {size:.1f} MB"
        print(f"a race of {count} rows in {starts} starts of 15 blocks: {told}")
        assert json.loads((tmp_path / "site" / "leaderboard.json").read_text())["name"] == race.name
        assert megabytes < MEGABYTES
        times[starts] = seconds
    assert times[12] / times[3] < STEEPER * 4
