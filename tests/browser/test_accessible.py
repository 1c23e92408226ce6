"""What everybody can use: names, headings, headers, and colours that can be read."""

from __future__ import annotations

import itertools

import pytest
from axe_playwright_python.sync_playwright import Axe

PLANTED = "#field=jax/scratch/float32/gru/gates"
# The contrast of colours is measured by CONTRAST, of each page in every scheme: axe takes four seconds to do it in one.
BUT_COLOURS = {"rules": {"color-contrast": {"enabled": False}}, "resultTypes": ["violations"]}
SCHEMES = {"light": {}, "dark": {"dark": True}, "narrow": {"width": 390, "height": 844}}
# Every text that is visible, and the contrast of its colour with what is painted behind it. WCAG 2.2, 1.4.3.
CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = (c) => { const s = c / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const back = rgb(getComputedStyle(one).backgroundColor);
      if ((back[3] ?? 1) === 1) return back;
      if (back[3] > 0) throw new Error(`half transparent: ${one.outerHTML.slice(0, 80)}`);
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), one = walker.currentNode.parentElement;
    if (!text || !one.checkVisibility() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(one.tagName)) continue;
    const style = getComputedStyle(one), svg = one.closest("svg");
    if (svg && (one.tagName === "title" || style.opacity === "0")) continue;
    const both = [rgb(svg ? style.fill : style.color), behind(svg ?? one)].map(luminance);
    const [a, b] = both.sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), svg ? "svg" : "html", `${one.className} ${text.slice(0, 40)}`]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_can_be_read(look, raced, scheme):
    page = look(raced.url, PLANTED, **SCHEMES[scheme])
    texts = page.evaluate(CONTRAST)
    assert len([1 for _, kind, _ in texts if kind == "svg"]) > 50
    assert len([1 for _, kind, _ in texts if kind == "html"]) > 300
    assert [(round(contrast, 2), what) for contrast, _, what in texts if contrast < 4.5] == []


def test_contrast_is_measured(visit, site):
    """A text made too pale is found."""
    page = visit(site.url)
    page.evaluate("document.getElementById('shown').style.color = '#999'")
    pale = [what for contrast, _, what in page.evaluate(CONTRAST) if contrast < 4.5]
    assert len(pale) == 1
    assert "implementations shown" in pale[0]


def test_axe_finds_nothing_serious(look, raced):
    """What depends on the scheme are colours, which are measured above."""
    page = look(raced.url, PLANTED)
    assert serious(page) == []


def serious(page):
    """What axe finds that is serious, but for colours."""
    report = Axe().run(page, options=BUT_COLOURS).response
    assert len(report["passes"]) > 15
    return [
        (one["id"], node["html"][:120], node["failureSummary"])
        for one in report["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_every_control_has_a_name(look, raced):
    page = look(raced.url)
    unnamed = page.evaluate("""() => {
      const labelled = (one) => [...(one.labels ?? [])].some((label) => label.textContent.trim());
      const named = (one) => one.getAttribute("aria-label") || labelled(one) ||
        (one.tagName !== "SELECT" && one.textContent.trim());
      const all = [...document.querySelectorAll("input, select, button, a")];
      return all.filter((one) => !named(one)).map((one) => one.outerHTML);
    }""")
    assert unnamed == []


def test_structure(look, raced):
    page = look(raced.url)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    levels = page.eval_on_selector_all("h1, h2, h3", "(all) => all.map((h) => Number(h.tagName[1]))")
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    headless = page.eval_on_selector_all(
        "table", "(all) => all.filter((t) => !t.querySelector('thead th')).map((t) => t.outerHTML.slice(0, 100))"
    )
    assert headless == []
    assert page.locator("table").count() > 6


def test_a_status_is_a_word_and_a_chart_has_words(look, site):
    page = look(site.url, "#field=jax/scratch/float32/gru/gates&case=gru-ordinary")
    for status in ("equal", "different", "failed", "stale", "missing"):
        words = page.locator(f"#answer .legend .{status}").all_inner_texts()
        assert [word.strip()[1:] for word in words] == [status]
    silent = page.eval_on_selector_all(
        ".matrix td a", "(all) => all.filter((a) => !a.ariaLabel.includes(': ')).map((a) => a.outerHTML)"
    )
    assert silent == []
    charts = page.locator(".chart[role=graphics-document]").all()
    assert len(charts) == page.locator(".chart").count() == 8
    for chart in charts:
        assert len(chart.get_attribute("aria-label")) > 20
