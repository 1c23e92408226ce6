"""The page Referee: drawn, readable in both schemes and on a phone, and texts from records stay texts."""

from __future__ import annotations

import pytest

from isogru.score import records as score
from isogru.suites import records as suites
from reports.referee import build, page
from tests.browser.sites import NASTY
from tests.browser.test_accessible import CONTRAST, serious

SCHEMES = {"light": {}, "dark": {"dark": True}, "phone": {"width": 390}}


@pytest.fixture(scope="session")
def referee(tmp_path_factory):
    """One matrix with every outcome, a suite with every text an attack, and a curve."""
    folder = tmp_path_factory.mktemp("referee")
    outcomes = dict(zip(("killed", "equivalent", "alive"), score.OUTCOMES, strict=False))
    mutants = [score.TriedMutant(f"{name} {NASTY}", "weights", NASTY) for name in outcomes]
    trials = [
        score.Trial(each.id, "weights", "gru", "gru-ordinary", outcome, "grad.W_hz", 12345.0, NASTY)
        for each, outcome in zip(mutants, outcomes.values(), strict=True)
    ]
    of = [suites.ListedMutant(NASTY, "weights", NASTY)]
    row = suites.Judged("s", NASTY, "gru", "rtol 1e-05", 1, {}, [NASTY], 9, 1, [NASTY], NASTY)
    off = [suites.Off(str(i), 10.0**-i, [10.0**-i], True) for i in range(1, 9)]
    curve = suites.Tolerances("gru", ["gru-ordinary"], off[:4], off[4:], [(1e-9, 1e-6)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_RESULTS", str(folder / "results"))
        score.write(score.Matrix("numpy", "float32", 7, NASTY, "0", {}, mutants, [], trials))
        suites.write(suites.Suites({"gru": of}, [row], [curve]))
        yield page.write(build.build(), folder / "site").as_uri()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_can_be_read(visit, referee, scheme):
    opened = visit(referee, **SCHEMES[scheme])
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    texts = opened.evaluate(CONTRAST)
    assert len([1 for _, kind, _ in texts if kind == "svg"]) > 10
    assert [(round(contrast, 2), what) for contrast, _, what in texts if contrast < 4.5] == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_axe_finds_nothing_serious(look, referee):
    opened = look(referee)
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert serious(opened) == []


def test_the_curve_is_drawn_from_the_record_with_words(look, referee):
    opened = look(referee)
    assert opened.evaluate("Object.keys(isogru.charts)") == ["curve-gru"]
    chart = opened.locator(".chart[role=graphics-document]")
    assert "against tolerance" in chart.get_attribute("aria-label")
    # Three lines of 121 points, and the band of the derived bounds.
    assert len(opened.evaluate("isogru.report.curves[0].points")) == 121
    assert opened.locator("#chart-curve-gru .mark-line path").count() == 3
    assert opened.locator("#chart-curve-gru .mark-rect path").count() == 1


def test_what_records_say_stays_text(look, referee):
    opened = look(referee)
    assert opened.evaluate("window.hacked") is None
    assert opened.get_by_text("7 * 7").count() > 0
    assert opened.locator("img, main svg[onload]").count() == 0
