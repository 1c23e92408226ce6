"""Who is fastest: the rankings, in the words of the terminal; what is chosen and sorted; the charts."""

from __future__ import annotations

import copy
import itertools
import math
from urllib.parse import parse_qs, urlencode

import msgspec
import pytest
from msgspec import structs
from playwright.sync_api import expect

from reports.diff.records import Report
from reports.pages import render
from reports.race import standings
from reports.race.records import Table
from tests import sample_race as made_up
from tests.browser import sites
from tests.browser.conftest import settle

CELLS = "(all) => all.map((r) => [...r.cells].map((c) => c.textContent.trim()))"
# What stands between two values is rounded to even in Python; 0.5 in the last place, exactly, in each form.
TIES = (0.125, 0.375, 1.125, 1.375, 2.5, 3.5, 10.25, 10.75, 12.5, 26.5, 27.5, 123.5, 124.5, 9.5, 99.5, 0.0625)
MARKS = """(name) => [...document.querySelectorAll(`#chart-${name} svg .mark-symbol.role-mark path`)].map((p) => {
  const [x, y] = p.getAttribute("transform").match(/-?\\d[\\d.e-]*/g).map(Number);
  const { view } = isogru.charts[name], datum = p.__data__.datum;
  const y_of = view.scale("y");
  return { ...datum, left: view.scale("x").invert(x), up: y_of.invert ? y_of.invert(y) : null, d: p.getAttribute("d"),
    fill: p.getAttribute("fill") };
})"""

# Of each group, where its texts that can be seen begin and end, to the right and down.
BOXES = """(all) => all.map((axis) => [...axis.querySelectorAll("text")]
  .filter((t) => t.getAttribute("opacity") !== "0").map((t) => t.getBoundingClientRect())
  .map(({ left, right, top, bottom }) => [left, right, top, bottom]))"""


def chosen(table):
    return "#" + urlencode({"race": table.title, "race-cell": table.cell, "race-dtype": table.dtype})


def lines(page):
    return page.eval_on_selector_all(".race tbody tr", CELLS)


def said(row):
    """A row as it should stand there."""
    return [
        standings.rank(row),
        name(row),
        standings.duration(row.seconds),
        standings.interval(row),
        row.said,
        standings.percent(row.percent),
        standings.held_back(row),
        standings.error(row.error),
        standings.megabytes(row.memory),
        standings.duration(row.first),
        standings.break_even(row),
    ]


def name(row):
    return f"{row.framework}/{row.implementation}"


def address(page):
    return {key: values[0] for key, values in parse_qs(page.evaluate("location.hash").removeprefix("#")).items()}


def tables(raced):
    return msgspec.convert(raced.report["leaderboard"]["tables"], list[Table])


def some_tables(raced):
    """Those that have something that others have not, and one in four of those that differ in numbers alone."""
    several = [
        table
        for at, table in enumerate(tables(raced))
        if at % 4 == 1 or table.bound is None or standings.unranked(table)
    ]
    assert {table.dtype for table in several} == {"float32", "float64"}
    assert 5 < len(several) < len(tables(raced))
    return several


def test_without_a_race_there_is_the_command(page):
    section = page.locator("#fastest")
    expect(section.locator("code")).to_have_text(["tox -e bench"])
    assert section.locator("table, select, .chart").count() == 0


def test_numbers_are_those_of_the_terminal(look, raced):
    page = look(raced.url)
    some = [m * 10.0**e for e in range(-9, 7) for m in (1.0, 1.2345, 2.5, 5.55, 9.949, 9.995, 9.9999)]
    values = [None, 0.0, 1.0, *TIES, *(t * scale for t in TIES for scale in (1e-3, 1e-6, 1e-9, 100.0)), *some]
    for function in ("duration", "times", "percent", "error"):
        wanted = [getattr(standings, function)(value) for value in values]
        assert page.evaluate("([f, all]) => all.map((v) => standings[f](v))", [function, values]) == wanted
    sizes = [None, -5, 0, 499_999, 500_000, 1_500_000, 2_500_000, 123_456_789, 5 * 10**10]
    assert page.evaluate("(all) => all.map(standings.megabytes)", sizes) == [standings.megabytes(s) for s in sizes]


def test_a_table_says_what_the_terminal_does(look, raced):
    page = look(raced.url)
    for table in some_tables(raced):
        page.goto(raced.url + chosen(table))
        settle(page)
        ranked, unranked = standings.ranked(table), standings.unranked(table)
        assert lines(page) == [said(row) for row in ranked]
        titles = page.eval_on_selector_all(".race tbody tr", "(all) => all.map((r) => r.lastElementChild.title)")
        assert titles == [row.uncounted for row in ranked]
        expect(page.locator("#race-title")).to_have_text(f"{table.title} · {table.cell} · {table.dtype}")
        assert page.locator("#race-unranked li").all_inner_texts() == [
            f"not ranked: {name(row)}: {mark}{row.status}: {row.why}"
            for row in unranked
            for mark in {"failed": "!", "different": "✗", "unfinished": "–"}[row.status]
        ]
        bound = page.locator("#race-bound")
        if table.bound is None:
            expect(bound).to_contain_text("There is no bound")
            continue
        expect(bound).to_contain_text(f"at least {standings.duration(table.bound.seconds)} on this machine")
        for part in ("compute", "memory", "latency"):
            value = getattr(table.bound, part)
            expect(bound).to_contain_text(f"{part} {standings.duration(value) if value else '0'} (")
    statuses = {row.status for table in some_tables(raced) for row in standings.unranked(table)}
    assert statuses == {"failed", "different", "unfinished"}


def test_the_commands(visit, raced):
    page = visit(raced.url)
    commands = page.locator("#race-again")
    assert commands.locator("code").first.is_hidden()
    commands.locator("summary").click()
    rows = tables(raced)[0].rows
    assert commands.locator("li").all_inner_texts() == [f"{name(row)}: {row.command}" for row in rows]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_scripts_the_first_table_is_the_same(chromium, look, raced):
    with_scripts = look(raced.url)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(raced.url)
    for selector in (".race tbody tr", ".race thead th", "#race-unranked li", "#race-again li"):
        there = page.locator(selector).all_text_contents()
        assert len(there) > 1
        assert ["".join(text.split()) for text in there] == [
            "".join(text.split()) for text in with_scripts.locator(selector).all_text_contents()
        ]
    titles = "(all) => all.map((r) => [...r.cells].map((c) => c.title))"
    assert page.eval_on_selector_all(".race tbody tr", titles) == with_scripts.eval_on_selector_all(
        ".race tbody tr", titles
    )
    words = [" ".join(one.locator("#race-bound").inner_text().split()) for one in (page, with_scripts)]
    assert words[0] == words[1]
    assert page.locator("#race-choices").is_hidden()
    context.close()


def test_a_choice_stands_in_the_address_and_is_shared(visit, look, raced):
    page = look(raced.url)
    expect(page.locator("#race")).to_have_value("training-step, chapter")
    assert address(page) == {}
    page.select_option("#race-cell", "gru_reset_after")
    settle(page)
    page.select_option("#race", "gradient, n=64")
    settle(page)
    assert address(page) == {"race": "gradient, n=64", "race-cell": "gru_reset_after"}
    other = visit(raced.url, "#" + page.url.partition("#")[2])
    expect(other.locator("#race-title")).to_have_text("gradient, n=64 · gru_reset_after · float32")
    # What there is of another workload is shown, and the choice is kept for the next.
    other.select_option("#race", "forward, one-sequence")
    settle(other)
    expect(other.locator("#race-title")).to_have_text("forward, one-sequence · gru · float32")
    assert lines(other) == lines(look(raced.url, "#race=forward, one-sequence"))
    assert lines(other)


def test_a_table_is_chosen_at_a_glance(visit, raced):
    page = visit(raced.url, "#race-sort=-seconds")
    glance = page.locator("#race-glance")
    assert glance.locator("table").is_hidden()
    glance.locator("summary").click()
    table = tables(raced)[-1]
    assert table.title != tables(raced)[0].title
    glance.locator("tbody tr").last.get_by_role("button", name=table.title).click()
    settle(page)
    expect(page.locator("#race-title")).to_have_text(f"{table.title} · {table.cell} · {table.dtype}")
    expect(page.locator("#race-title")).to_be_in_viewport()
    # What else was chosen stays.
    assert address(page)["race-sort"] == "-seconds"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "fragment", ["#race=none&race-cell=none&race-dtype=none", "#race-sort=constructor", "#race-sort=-", "#race&&=%%"]
)
def test_addresses_that_name_nothing(look, raced, fragment):
    page = look(raced.url, fragment)
    assert lines(page) == [said(row) for row in standings.ranked(tables(raced)[0])]


@pytest.mark.parametrize("column", standings.COLUMNS)
def test_sorting(look, raced, column):
    page = look(raced.url, "#race-sort=held_back_by")
    rows = standings.ranked(tables(raced)[0])
    heading = page.locator(f'.race th[data-column="{column}"]')
    if column == "held_back_by":
        page.locator('.race th[data-column="rank"] button').click()
        settle(page)

    def value(row):
        if column == "break_even" and standings.break_even(row) != "–":
            return row.break_even or math.inf
        return name(row) if column == "label" else getattr(row, "ratio" if column == "said" else column)

    there = [row for row in rows if value(row) is not None]
    absent = [row for row in rows if value(row) is None]
    for way, reverse in (("ascending", False), ("descending", True), ("ascending", False)):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        settle(page)
        expect(heading).to_have_attribute("aria-sort", way)
        assert page.locator(".race [aria-sort]").count() == 1
        wanted = sorted(there, key=value, reverse=reverse) + absent
        assert [line[1] for line in lines(page)] == [name(row) for row in wanted]
        # The keyboard stays where it was.
        assert page.evaluate("document.activeElement.closest('th').dataset.column") == column
    assert sorted(lines(page)) == sorted(said(row) for row in rows)
    shared = look(raced.url, f"#race-sort=-{column}")
    assert [line[1] for line in lines(shared)] == [name(row) for row in sorted(there, key=value, reverse=True) + absent]


def test_a_choice_elsewhere_leaves_the_table_alone(visit, raced):
    page = visit(raced.url)
    page.evaluate("document.querySelector('.race tbody tr').dataset.known = 'yes'")
    page.locator('#answer .filters input[value="tensorflow"]').uncheck()
    settle(page)
    assert page.locator(".race tr[data-known]").count() == 1


def test_what_was_cut_off_is_a_warning(look, raced):
    page = look(raced.url)
    trouble = raced.report["leaderboard"]["trouble"]
    assert len(trouble) > 1
    assert page.locator(".race-trouble").all_inner_texts() == [f"!Warning: {sentence}" for sentence in trouble]


def test_the_words_of_what_holds_back(look, raced):
    legend = look(raced.url).locator("#fastest .legend").first.inner_text()
    for word, meaning in standings.HELD_BACK.items():
        assert f"held back by {word}: {meaning}" in legend


def test_the_machine(look, raced):
    page = look(raced.url)
    board = raced.report["leaderboard"]
    (limits,) = board["limits"]
    rows = {line[0]: line[1:] for line in page.eval_on_selector_all("#race-limits tbody tr", CELLS)}
    assert rows["products"] == [f"{limits['rates']['product'] / 1e9:.0f} GFLOP/s", limits["by"]["product"]]
    assert rows["tanh"] == [f"{limits['rates']['function'] / 1e9:.2f} G/s", limits["by"]["function"]]
    for key in ("cache", "memory"):
        assert rows[key] == [f"{limits['rates'][key] / 1e9:.0f} GB/s", limits["by"][key]]
    for framework in ("torch", "tensorflow", "jax"):
        wanted = standings.duration(limits["issue"][framework])
        assert rows[f"issuing an operation, {framework}"] == [wanted, ""]
    assert rows["issuing an operation, mxnet"] == ["–", ""]  # Cut off before it was measured.
    where = page.locator("#race-where").inner_text()
    for text in (board["name"], board["machine"]["processor"], board["corpus"], "4 passes", "2 threads", "cpu"):
        assert text in where


def test_the_chart_of_times(visit, raced):
    page = visit(raced.url)
    table = tables(raced)[0]
    rows = {name(row): row for row in standings.ranked(table)}
    marks = page.evaluate(MARKS, "race")
    assert [mark["row"] for mark in marks] == list(rows)
    for mark in marks:
        row = rows[mark["row"]]
        assert mark["left"] == pytest.approx(row.seconds, rel=1e-6)
        assert mark["percent"] == standings.percent(row.percent)
    # Every framework has its colour, every lane its shape.
    assert len({(mark["framework"], mark["fill"]) for mark in marks}) == len({mark["fill"] for mark in marks}) == 4
    assert len({(mark["implementation"], mark["d"]) for mark in marks}) == len({mark["d"] for mark in marks}) == 5
    texts = page.locator("#chart-race svg text").all_text_contents()
    assert texts.count("100%") == 1
    for row in rows.values():
        assert name(row) in texts
        assert standings.percent(row.percent) in texts
    page.locator("#chart-race svg .mark-symbol.role-mark path").last.hover()
    tip = page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    last = list(rows.values())[-1]
    for text in (name(last), standings.duration(last.seconds), standings.interval(last), standings.held_back(last)):
        assert text in tip.inner_text()


def test_the_colours_of_frameworks_are_the_reports(visit, raced, tmp_path):
    """So that one that the page has never heard of is not grey."""
    report = copy.deepcopy(raced.report)
    next(each for each in report["frameworks"] if each["name"] == "jax")["colour"] = "five"
    render.write(msgspec.convert(report, Report), tmp_path)
    page = visit((tmp_path / "index.html").as_uri())
    five = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--five')")
    fills = {(mark["framework"], mark["fill"]) for mark in page.evaluate(MARKS, "race")}
    assert ("jax", five) in fills
    assert len(fills) == 4


def test_the_chart_of_times_without_a_bound(look, raced):
    table = next(t for t in tables(raced) if t.bound is None)
    page = look(raced.url, chosen(table))
    assert len(page.evaluate(MARKS, "race")) == len(standings.ranked(table))
    assert not any("%" in text for text in page.locator("#chart-race svg text").all_text_contents())
    expect(page.locator("#race-caption")).not_to_contain_text("bound")


@pytest.mark.parametrize("symbol", ["T", "n", "h"])
@pytest.mark.parametrize("cell", made_up.SERIES)
def test_a_time_step_as_sizes_grow(look, raced, symbol, cell):
    page = look(raced.url, f"#race-cell={cell}")
    wanted = {
        (name(row), getattr(t.size, symbol)): row.seconds / t.size.T * 1e6
        for t in tables(raced)
        if t.cell == cell and symbol in t.series
        for row in standings.ranked(t)
    }
    assert len({size for _, size in wanted}) >= 3
    marks = page.evaluate(MARKS, f"series-{symbol}")
    assert {(mark["series"], mark["x"]) for mark in marks} == wanted.keys()
    assert len(marks) == len(wanted)
    for mark in marks:
        value = wanted[mark["series"], mark["x"]]
        assert mark["value"] == pytest.approx(value)
        assert mark["left"] == pytest.approx(mark["x"], rel=1e-6)
        assert mark["up"] == pytest.approx(value, rel=1e-6)
        assert mark["said"] == standings.duration(value / 1e6)
    expect(page.locator("#race-series-of")).to_contain_text(f"gradient of {cell} in float32")


def test_the_key_of_the_series(look, raced):
    page = look(raced.url)
    entries = [text.strip() for text in page.locator("#race-key li").all_text_contents()]
    assert entries == ["torch", "tensorflow", "jax", "mxnet", "scratch", "compiled", "compiled-xla", "native", "tuned"]


def test_a_series_needs_two_points(visit, raced, tmp_path):
    timed = (made_up.FIRST, "gradient-chapter-gru-float32", "gradient-n=64-gru-float32")
    board = made_up.board(tmp_path / "passes", passes=1, timed=timed)
    page = visit(sites.raced(tmp_path, raced, board).url)
    assert page.locator("#chart-series-n svg").is_visible()
    for symbol in ("T", "h"):
        assert page.locator(f"#chart-series-{symbol}").is_hidden()
    expect(page.locator("#race-no-ranks")).to_have_text(
        "No ranks: it takes 3 starts to know how much they differ by chance."
    )
    assert {line[0] for line in lines(page)} == {"–"}
    board = made_up.board(tmp_path / "less", timed=timed[:1])
    page = visit(sites.raced(tmp_path / "less", raced, board).url)
    assert page.locator("#race-series").is_hidden()
    assert page.locator("#chart-race svg").is_visible()
    assert page.locator("#race-no-ranks").count() == 0


def test_where_nothing_is_ranked(visit, raced, tmp_path):
    board = made_up.board(tmp_path / "passes", timed=(made_up.FIRST,))
    (table,) = board.tables
    failed = [structs.replace(row, status="failed", why=made_up.WHY) for row in table.rows]
    board = structs.replace(board, tables=[structs.replace(table, rows=failed)])
    page = visit(sites.raced(tmp_path, raced, board).url)
    assert page.locator("#race-table").is_hidden()
    assert page.locator("#race-chart-place").is_hidden()
    assert page.locator("#race-unranked li").count() == len(failed)
    assert page.locator("#fastest .chart").count() == 0


def test_a_reason_stays_text(look, raced):
    page = look(raced.url)
    expect(page.locator("#race-unranked")).to_contain_text(made_up.WHY)
    assert page.locator("#fastest img").count() == 0


def test_hostile_texts_in_every_table(look, hostile):
    page = look(hostile.url)
    for table in tables(hostile)[::7]:
        page.goto(hostile.url + chosen(table))
        settle(page)
        assert sites.NASTY in page.locator("#race-title").inner_text()
        assert page.evaluate("window.hacked") is None
        assert page.locator("#fastest img").count() == 0
    assert sites.NASTY in page.locator("#race-where").inner_text()


def test_nothing_overflows_on_a_phone(visit, raced):
    page = visit(raced.url, width=390, height=844)
    page.locator("#race-again summary").click()
    for table in some_tables(raced):
        page.evaluate("(hash) => { location.hash = hash; }", chosen(table))
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), table.workload
    # Labels of an axis stand apart.
    boxes = page.eval_on_selector_all("#chart-race svg .role-axis-label", BOXES)
    assert sum(map(len, boxes)) > 10
    for axis in boxes:
        for a, b in itertools.combinations(axis, 2):
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
