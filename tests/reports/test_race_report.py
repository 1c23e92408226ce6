"""A report with a leaderboard: what it may hold, and that all that is written of it holds the same."""

from __future__ import annotations

import json

import fastjsonschema
import msgspec
import pytest
from msgspec import structs

from reports.diff import build, collect
from reports.pages import render, schema
from reports.race import standings
from reports.race.records import Control
from shared_spec.errors import UserError
from shared_spec.files import store
from tests import sample_race, sample_results


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return sample_race.side_by_side(tmp_path_factory.mktemp("race"))


def written(board):
    job = sample_results.job("torch", "gru-one_unit")
    sample_results.manifest("torch", [job])
    sample_results.save(job)
    page = render.write(build.build(collect.collect(), board), store.folder() / "site")
    return page.read_text(encoding="utf-8"), page.parent


def test_it_is_what_the_schema_says_with_every_null_that_it_allows(board):
    definitions = json.loads(schema.FILE.read_text())["definitions"]
    validator = fastjsonschema.compile({"definitions": definitions, **definitions["Leaderboard"]})
    validator(json.loads(msgspec.json.encode(board)))
    nullable = {
        name for name, of in definitions["Row"]["properties"].items() if {"type": "null"} in of.get("anyOf", [])
    }
    rows = [row for table in board.tables for row in table.rows]
    ranked = [row for row in rows if row.status == "equal"]
    assert {name for row in rows for name, value in structs.asdict(row).items() if value is None} == nullable
    # Of what is ranked a rank, a time and a ratio are always there.
    absent = {name for row in ranked for name, value in structs.asdict(row).items() if value is None}
    assert absent <= nullable - {"rank", "last_rank", "seconds", "ratio", "low", "high", "first"}
    assert {row.status for row in rows} == {"equal", "different", "failed", "unfinished"}
    assert {table.bound is None for table in board.tables} == {True, False}
    assert board.tables[0].workload == sample_race.FIRST
    first = standings.ranked(board.tables[0])
    assert [standings.rank(row) for row in first][:2] == ["1–4", "1–5"]
    assert first[-1].rank == len(first)
    assert first[-1].said.endswith(f" times as long as {first[0].framework}/{first[0].implementation}")


def test_the_page_and_the_summary_hold_every_row(board):
    page, folder = written(board)
    summary = (folder / "leaderboard.md").read_text()
    for row in board.tables[0].rows:
        name = f"{row.framework}/{row.implementation}"
        assert f"{name}: <code>{row.command}</code>" in page
        if row.status == "equal":
            assert f'<th scope="row">{name}</th>' in page
            assert f"| {standings.rank(row)} | {name} | {standings.duration(row.seconds)} |" in summary
        else:
            assert f"- not ranked: {name}: {row.status}: {render.markdown_cell(row.why)}" in summary
    for text in (page, summary):
        assert sample_race.IMAGE not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_many_tables_are_shown_at_a_glance(board):
    page, folder = written(board)
    lines = at_a_glance(folder)
    in_page = page.split('id="race-glance"')[1].split("</details>")[0]
    assert len(lines) == len(board.tables) == in_page.count('<th scope="row"')
    bold = 0
    for table, line in zip(board.tables, lines, strict=True):
        wanted = [table.title, table.cell.replace("_", "\\_"), table.dtype]
        for entrant in board.frameworks:
            those = [row for row in table.rows if row.status == "equal" and row.framework == entrant.name]
            best = sorted(those, key=lambda row: row.seconds)[:1]
            said = [f"{row.implementation} {standings.duration(row.seconds)}" for row in best]
            assert all(text in in_page for text in said)
            bold += sum(row.rank == 1 for row in best)
            wanted += [f"**{text}**" if row.rank == 1 else text for text, row in zip(said, best, strict=True)] or ["–"]
        percents = [row.percent for row in sorted(standings.ranked(table), key=lambda row: row.seconds)]
        wanted += [standings.percent(percents[0])] if percents else ["–"]
        assert [text.strip() for text in line.strip("|").split(" | ")] == wanted
    assert bold == in_page.split("<table>")[1].count("<strong>") > 0
    one = structs.replace(board, tables=board.tables[:1])
    page, folder = written(one)
    assert 'id="race-glance"' not in page
    assert not at_a_glance(folder)


def at_a_glance(folder):
    """The rows of the summary's first table."""
    _, _, rest = (folder / "leaderboard.md").read_text().partition("\n## At a glance\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]


def test_side_by_side_with_an_earlier_one(board):
    page, folder = written(board)
    summary = (folder / "leaderboard.md").read_text()
    first, *others = standings.side_by_side(board)
    assert f"<p>{first}.</p>" in page
    assert f"- {render.markdown_cell(first)}" in summary
    assert len(others) > 3
    for line in others:
        assert f"<li>{line.strip()}</li>" in page
    assert "Side by side" not in written(structs.replace(board, against=None))[0]


def test_it_is_read_back(board):
    _, folder = written(board)
    assert schema.read_leaderboard(folder / "leaderboard.json") == board
    assert schema.read(folder / "report.json").leaderboard == board


def test_a_damaged_one_is_one_sentence_that_says_where_and_what_to_do(board, tmp_path):
    damage = json.loads(msgspec.json.encode(board))
    damage["tables"][0]["rows"][2]["held_back_by"] = "weather"
    file = tmp_path / "leaderboard.json"
    file.write_text(json.dumps(damage))
    with pytest.raises(UserError) as error:
        schema.read_leaderboard(file)
    said = "tables[0].rows[2].held_back_by: must be one of compute, memory, latency, host"
    assert str(error.value) == f"{file}: damaged: {said}; make it anew: python -m reports race"
    file.write_text('{"format": "isogru-report/1"}')
    with pytest.raises(UserError, match="not a leaderboard: its format is isogru-report/1"):
        schema.read_leaderboard(file)


def test_without_a_race_the_page_says_how_to_get_one():
    page, folder = written(None)
    assert "<code>tox -e bench</code>" in page
    assert not (folder / "leaderboard.json").exists()


def test_a_race_without_rows_or_limits(board):
    page, _ = written(structs.replace(board, tables=[], limits=[]))
    assert "This race had no rows." in page
    page, _ = written(structs.replace(board, limits=[]))
    assert "That was not measured in this race." in page


def test_few_passes_give_no_ranks(tmp_path):
    page, folder = written(sample_race.board(tmp_path / "two", passes=2))
    summary = (folder / "leaderboard.md").read_text()
    for text in (page, summary):
        assert "No ranks: it takes 3 starts to know how much they differ by chance." in text
        assert "A rank is the places" not in text


def test_the_controls_of_a_race_are_told(board):
    """And one that failed says why nothing is ranked."""
    twice = Control("twice", sample_race.FIRST, "passed", f"torch/tuned against itself: {sample_race.IMAGE}")
    busy = Control("busy", "", "failed", "in 4 of 9 blocks another process was at work: cc1plus (0.5 cores)")
    run = {"budget": 600.0, "seed": 7, "blocks": 9}
    for controls, no_ranks in (([twice], False), ([twice, busy], True)):
        page, folder = written(structs.replace(board, controls=controls, **run))
        summary = (folder / "leaderboard.md").read_text()
        for text in (page, summary):
            assert "4 starts, 9 blocks" in text
            assert sample_race.IMAGE not in text
            assert "passed: training-step-chapter-gru-float32: torch/tuned against itself: &lt;img" in text
            assert ("failed: in 4 of 9 blocks another process was at work" in text) == no_ranks
            assert ("No ranks: a control of this race failed" in text) == no_ranks
        assert "600 s and seed 7" in page


def test_controls_of_many_tables_are_told_together(board):
    """But those that failed, each of which is a reason not to believe the race."""

    def told(**counts):
        controls = [
            Control("twice", f"{status}-{i}", status, "jax/tuned against itself")
            for status, count in counts.items()
            for i in range(count)
        ]
        return standings.controlled(structs.replace(board, controls=[*controls, Control("busy", "", "passed", "none")]))

    assert told(unknown=4, failed=4, passed=5) == [
        "unknown: in 4 tables it is not known whether one contender, raced twice, is as fast as itself; "
        "leaderboard.json tells of each",
        *(f"failed: failed-{i}: jax/tuned against itself" for i in range(4)),
        "passed: in 5 tables one contender, raced twice, is equivalent to itself within 2%; "
        "leaderboard.json tells of each",
        "passed: none",
    ]
    few = told(unknown=3, passed=1)
    assert few[:3] == [f"unknown: unknown-{i}: jax/tuned against itself" for i in range(3)]
    assert few[3:] == ["passed: passed-0: jax/tuned against itself", "passed: none"]


def test_text_of_others_stays_text(board):
    hostile = sample_race.hostile(board, f"{sample_race.IMAGE} `|`")
    page, folder = written(hostile)
    assert sample_race.IMAGE not in page
    summary = (folder / "leaderboard.md").read_text()
    tables = [line for line in summary.splitlines() if line.startswith("| 1")]
    assert len(tables) > 10
    for line in tables:
        assert line.replace("\\|", "").count("|") == 13
