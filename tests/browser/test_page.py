"""The page as it opens: from a file, in silence, at any width, in both colour schemes, with the report's numbers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from isogru import wording
from reports.pages import render
from tests.browser.conftest import find_chromium, settle

WAYS = {"light": {}, "dark": {"dark": True}, "narrow": {"width": 390, "height": 844}}
MOST_BYTES = 6_000_000


def test_without_chromium_it_says_how_to_install_it(tmp_path):
    with pytest.raises(pytest.UsageError, match=r"no Chromium: none of chromium.*apt-get install chromium"):
        find_chromium(str(tmp_path))


@pytest.mark.parametrize("way", WAYS)
def test_opens_from_a_file_and_fits(visit, site, way, tmp_path):
    page = visit(site.url, **WAYS[way])
    assert page.url.startswith("file://")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#noscript").is_hidden()
    if way == "light":
        # That something is there to see; in the other ways test_accessible.py reads every text.
        assert len(page.screenshot(path=tmp_path / "page.png", full_page=True)) > 50_000


def test_follows_the_colour_scheme_even_when_it_changes(visit, site):
    page = visit(site.url, "#field=jax/scratch/float32/gru/gates&case=gru-ordinary")
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    axis = "() => document.querySelector('#chart-time .role-axis-label text').getAttribute('fill')"
    light, drawn_in = page.evaluate(brightness), page.evaluate(axis)
    page.emulate_media(color_scheme="dark")
    settle(page)
    assert page.evaluate(axis) != drawn_in
    assert min(light) > 200
    assert max(page.evaluate(brightness)) < 60


def test_nothing_overflows_whatever_is_opened(visit, site):
    page = visit(site.url, width=390, height=844)
    # One of each kind: what lanes and dtypes differ in are names and numbers.
    some = {(result["status"], result["cell"], result["case"]): result for result in site.report["results"]}
    assert {status for status, _, _ in some} == {"equal", "different", "failed", "stale", "missing"}
    for result in some.values():
        row = site.implementation(label(result), result["dtype"])
        field = next(f for f in row["fields"] if f["cell"] == result["cell"])
        name = f"{row['label']}/{row['dtype']}/{field['cell']}/{field['column']}"
        page.evaluate("(changes) => state.write(changes)", {"field": name, "case": result["case"]})
        page.wait_for_function("([f, c]) => state.read().get('field') === f", arg=[name, result["case"]])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, result["case"])


def label(result):
    return f"{result['framework']}/{result['implementation']}"


def test_the_heading_is_the_answer(page, site):
    assert page.locator("h1").inner_text() == site.report["summary"]["sentence"]
    assert page.title() == f"isogru: {site.report['summary']['sentence']}"


def test_every_field_of_the_matrix_is_the_reports(page, site):
    shown = page.eval_on_selector_all(
        ".matrix td a", "(links) => Object.fromEntries(links.map((a) => [a.dataset.field, a.innerText.trim()]))"
    )
    wanted = {
        f"{row['label']}/{row['dtype']}/{field['cell']}/{field['column']}": field
        for row in site.report["implementations"]
        for field in row["fields"]
    }
    assert len(wanted) > 30
    assert {field["status"] for field in wanted.values()} >= {"equal", "different", "failed", "stale"}
    assert shown.keys() == wanted.keys()
    for name, field in wanted.items():
        said = [field["status"]] * (field["status"] != "equal")
        said += [wording.ratio(field["ratio"])] * (field["quantity"] is not None)
        assert shown[name].startswith(render.MARKS[field["status"]]), name
        assert shown[name].removeprefix(render.MARKS[field["status"]]).split() == said, name


def test_each_field_stands_in_its_row_and_column(page):
    """The position of a link, by its row's and its columns' headings, says the same as its name."""
    places = page.evaluate("""() => {
      const [cells, columns] = [...document.querySelectorAll(".matrix thead tr")].map((row) => [...row.cells]);
      const over = cells.slice(1).flatMap((th) => Array(th.colSpan).fill(th.textContent));
      return [...document.querySelectorAll(".matrix td a")].map((a) => {
        const at = a.parentElement.cellIndex - 1;
        const row = a.closest("tr").cells[0].textContent.trim().replace(" ", "/");
        return [a.dataset.field, `${row}/${over[at]}/${columns[at].textContent}`];
      });
    }""")
    assert len(places) > 30
    for name, at in places:
        assert name == at


def test_everything_that_is_not_there_is_said(page, site):
    trouble = page.locator("#run table").first
    for row in site.report["results"]:
        if row["status"] != "equal":
            line = trouble.locator("tr", has_text=row["case"]).filter(has_text=f"{row['framework']}/")
            expect(line.filter(has_text=row["why"] or row["sentence"])).to_have_count(1)
    expect(page.locator("#run")).to_contain_text("no compiler here")
    expect(page.locator("#run")).to_contain_text("mxnet")


def test_without_scripts_the_answers_are_there(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    expect(page.locator("h1")).to_have_text(site.report["summary"]["sentence"])
    expect(page.locator("noscript p")).to_be_visible()
    assert page.locator(".matrix td a").count() > 30
    context.close()


def test_size(site, hostile):
    for one in (site, hostile):
        assert one.page.stat().st_size < MOST_BYTES
