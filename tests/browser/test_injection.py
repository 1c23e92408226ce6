"""Text that comes from data stays text, with the Content-Security-Policy and, which is what counts, without."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settle
from tests.browser.sites import IMAGE, LINK, NASTY, NASTY_NAME, SCRIPT

# What scripts could hide in; scripts are counted apart.
STRANGE = """() => [
  ...document.querySelectorAll("img, iframe, object, embed, base, form:not(.vega-bindings), link:not([rel=icon])"),
  ...document.querySelectorAll("script[src], svg[onload]"),
  ...[...document.querySelectorAll("*")].filter((one) => [...one.attributes].some((a) => a.name.startsWith("on"))),
  ...[...document.querySelectorAll("[href], [src], [action]")].filter((one) =>
    [one.href, one.src, one.action].some((address) => /^javascript:/i.test(address?.baseVal ?? address ?? ""))),
].map((one) => one.outerHTML.slice(0, 200))"""


@pytest.fixture(params=["with", "without"])
def url(request, hostile, stripped):
    """The hostile page with its policy and without it. What is opened and chosen on it is tried without: with it there
    is one guard more, and the pages of all other tests have it.
    """
    return hostile.url if request.param == "with" else stripped


def assert_harmless(page, scripts):
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(STRANGE) == []
    assert page.locator("script").count() == scripts


def scripts_of(site, look):
    """As many as the everyday page has: none more came in by data."""
    return look(site.url).locator("script").count()


def test_the_attacks_do_run_where_text_is_taken_for_html(visit, stripped):
    """Otherwise none of these tests could fail."""
    page = visit(stripped, expected=lambda noise: True)
    page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", IMAGE)
    page.wait_for_function("() => window.hacked === 1")
    assert page.evaluate(STRANGE) != []


def test_the_policy_stops_what_escaping_would_miss(visit, hostile):
    page = visit(hostile.url, expected=lambda noise: "Content Security Policy" in noise or "request: " in noise)
    page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", IMAGE)
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.hacked = 1";
      document.body.append(script);
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None


def test_everything_from_data_is_text(visit, look, site, hostile, url):
    page = visit(url)
    assert_harmless(page, scripts_of(site, look))
    run = page.locator("#run")
    # Names and values of versions, switches and machine; last words of two; of a framework that did not start; an
    # implementation, its cell and its reason; the text's source; the machine of the report.
    assert run.inner_text().count(NASTY) == 7 + 2 + 1 + 3 + 1 + 4
    for text in (NASTY_NAME, SCRIPT, LINK):
        assert text in page.locator("body").inner_text()
    assert NASTY_NAME in page.locator(".matrix").inner_text()
    assert NASTY in page.locator(".filters").first.inner_text()
    assert NASTY in page.locator("#trainings table").inner_text()
    assert f'continuation of "{NASTY}"' in page.locator("#trainings table").inner_text()


def test_every_field_and_case_can_be_opened(visit, look, site, hostile, stripped):
    page = visit(stripped)
    scripts = scripts_of(site, look)
    opened = 0
    for row in hostile.report["implementations"]:
        for field in row["fields"]:
            name = f"{row['label']}/{row['dtype']}/{field['cell']}/{field['column']}"
            link = page.locator(".matrix td a").filter(has=page.locator(f"xpath=self::*[@data-field={quoted(name)}]"))
            link.click()
            settle(page)
            assert name.split("/")[1].split(" on ")[0] in page.locator("#field-title").inner_text()
            for option in page.locator("#field-case option").all():
                page.select_option("#field-case", option.get_attribute("value"))
                settle(page)
                assert_harmless(page, scripts)
                opened += 1
    assert opened >= 4
    failed = page.locator("#field-sentence")
    expect(failed).to_contain_text(NASTY)


def quoted(text):
    """A string for XPath, which has no escapes."""
    return "concat(" + ", '\"', ".join(f'"{part}"' for part in text.split('"')) + ")"


def test_charts_and_tooltips(visit, hostile, stripped):
    page = visit(stripped)
    labels = page.locator("#chart-loss svg .role-legend-label text").all_text_contents()
    assert any(label.startswith(f"torch/{IMAGE}"[:24]) for label in labels)
    page.locator("#chart-loss svg .mark-symbol.role-mark path").last.hover()
    marks = page.locator("#chart-distance-float32 svg .mark-symbol.role-mark path")
    marks.first.hover()
    tip = page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    assert NASTY_NAME in tip.inner_text()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(STRANGE) == []


def test_filters_on_hostile_values(visit, look, site, hostile, stripped):
    page = visit(stripped)
    scripts = scripts_of(site, look)
    for box in page.locator(".filters input").all():
        box.click()
        settle(page)
    assert_harmless(page, scripts)
    page.locator("#all").click()
    settle(page)
    assert page.locator(".matrix tbody tr:visible").count() == len(hostile.report["implementations"])


def test_hostile_texts_do_not_widen_the_page(visit, hostile):
    for width in (1280, 390):
        page = visit(hostile.url, width=width)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
