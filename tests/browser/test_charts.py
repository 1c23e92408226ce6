"""Every chart is drawn, and what is drawn is what report.json says."""

from __future__ import annotations

import pytest

from tests.browser.conftest import settle

TRACED = ("jax/scratch/float32/gru/gates", "gru-ordinary")
ALL = ("time", "heat-time", "heat-batch", "gates", "cotangents", "loss", "distance-float32", "distance-float64")
# The points as the chart has them, and where each mark stands, turned back into a value.
READ = """(name) => {
  const { view } = isogru.charts[name];
  const svg = document.querySelector(`#chart-${name} svg`);
  const symbols = [...svg.querySelectorAll(".mark-symbol.role-mark path")].map((p) => {
    const [x, y] = p.getAttribute("transform").match(/-?\\d[\\d.e-]*/g).map(Number);
    const datum = p.__data__.datum;
    return { series: datum.series, x: datum.x, shown: datum.shown,
      at: [view.scale("x").invert(x), view.scale("y").invert(y)] };
  });
  return {
    points: view.data("source_0").map((datum) => ({ ...datum })),
    symbols,
    lines: [...svg.querySelectorAll(".mark-line.role-mark path")].map((p) => p.getAttribute("d").match(/[ML]/g).length),
    rects: [...svg.querySelectorAll(".mark-rect.role-mark path")].map((p) => getComputedStyle(p).fill),
    size: [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height],
    text: [...svg.querySelectorAll("text")].map((t) => t.textContent),
  };
}"""


def opened(look, site, field, case):
    return look(site.url, f"#field={field}&case={case}")


def curve(series, values, block=1):
    return [(series, i * block + 1, value) for i, value in enumerate(values)]


def of_time(site, result):
    curves = result["curves"]
    envelope = next(e for e in site.report["envelopes"] if (e["case"], e["dtype"]) == (result["case"], result["dtype"]))
    return [
        *curve("one step off, worst element", curves["difference"], curves["block"]),
        *curve("its rounding bound", curves["bound"], curves["block"]),
        *curve("off the float64 oracle", curves["from_oracle"], curves["block"]),
        *curve("10 × the twins", envelope["twins"], envelope["block"]),
    ]


def of_way(result, way):
    block = result["curves"]["block"]
    return [
        point
        for one in result["divergence"][way]
        for point in curve(one["quantity"].removeprefix("trace."), one["by_step"], block)
    ]


def of_heat(heat):
    rows, columns = heat["blocks"]
    return [(i * rows, j * columns, value) for i, row in enumerate(heat["ratio"]) for j, value in enumerate(row)]


def training(site, dtype):
    (record,) = [t for t in site.report["training"] if t["dtype"] == dtype]
    return record


def assert_lines(page, name, wanted):
    chart = page.evaluate(READ, name)
    assert sorted((p["series"], p["x"], p["value"]) for p in chart["points"]) == sorted(wanted)
    series = {series for series, _, _ in wanted}
    assert sorted(chart["lines"]) == sorted(sum(s == one for s, _, _ in wanted) for one in series)
    assert all(p["shown"] == p["value"] for p in chart["points"] if p["value"])
    # Marks stand where the axes say that their values are.
    assert len(chart["symbols"]) in (0, len(wanted))
    for symbol in chart["symbols"]:
        assert symbol["at"][0] == pytest.approx(symbol["x"], abs=1e-6)
        assert symbol["at"][1] == pytest.approx(symbol["shown"], rel=1e-6)
    for one in series:
        assert one in chart["text"]
    assert min(chart["size"]) > 100
    return chart


def test_all_are_drawn(look, site):
    page = opened(look, site, *TRACED)
    assert sorted(page.evaluate("Object.keys(isogru.charts)")) == sorted(ALL)
    for name in ALL:
        assert page.locator(f"#chart-{name} svg").is_visible()


def test_error_against_time(look, site):
    result = site.result("jax/scratch/float32/gru-ordinary")
    page = opened(look, site, *TRACED)
    chart = assert_lines(page, "time", of_time(site, result))
    assert len(chart["symbols"]) == len(chart["points"])
    # The planted error is in sight: from the fifth step on far outside the bound, before inside.
    far = [a / b for a, b in zip(result["curves"]["difference"], result["curves"]["bound"], strict=True)]
    assert max(far[:4]) < 1 < 1000 < min(far[4:])


def test_a_zero_is_drawn_at_the_end_of_the_axis_and_told_as_zero(look, site):
    page = opened(look, site, "torch/scratch/float64/gru/states", "gru-ordinary")
    chart = assert_lines(page, "time", of_time(site, site.result("torch/scratch/float64/gru-ordinary")))
    zeros = [p for p in chart["points"] if p["value"] == 0]
    assert zeros
    assert all(p["shown"] > 0 and p["said"] == "0" for p in zeros)


@pytest.mark.parametrize("way", [("gates", "forward"), ("cotangents", "backward")])
@pytest.mark.parametrize("case", ["gru-ordinary", "gru-long"])
def test_first_divergence(look, site, way, case):
    name, direction = way
    page = opened(look, site, "jax/scratch/float32/gru/gates", case)
    assert_lines(page, name, of_way(site.result(f"jax/scratch/float32/{case}"), direction))


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    ("field", "case"),
    [TRACED, ("jax/scratch/float32/gru/states", "gru-chapter"), ("torch/scratch/float64/gru/states", "gru-long")],
)
def test_heat(look, site, field, case, at):
    page = opened(look, site, field, case)
    result = site.result("/".join([*field.split("/")[:3], case]))
    chart = page.evaluate(READ, ("heat-time", "heat-batch")[at])
    wanted = of_heat(result["heat"][at])
    assert sorted((p["row"], p["column"], p["value"]) for p in chart["points"]) == sorted(wanted)
    assert len(chart["rects"]) == len(wanted)
    assert min(chart["size"]) > 50


def test_the_heat_of_an_error_in_one_row_of_the_batch_shows_that_row(look, site):
    page = opened(look, site, *TRACED)
    chart = page.evaluate(READ, "heat-batch")
    fills = dict.fromkeys(range(3))
    for point, fill in zip(chart["points"], chart["rects"], strict=True):
        red, _, blue = (float(part) for part in fill.removeprefix("rgb(").removesuffix(")").split(","))
        fills[point["row"]] = (fills[point["row"]] or []) + [red > blue]
    assert fills == {0: [False] * 4, 1: [False] * 4, 2: [True] * 4}


def test_loss(look, site):
    record = training(site, "float64")
    wanted = [point for run in record["runs"] for point in curve(run["label"], run["loss"])]
    assert_lines(look(site.url), "loss", [*wanted, *curve("oracle", record["oracle"]["loss"])])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distance_from_the_oracle(look, site, dtype):
    record = training(site, dtype)
    wanted = [point for run in record["runs"] for point in curve(run["label"], run["distance"])]
    page = look(site.url)
    assert_lines(page, f"distance-{dtype}", [*wanted, *curve("10 × the twins", record["oracle"]["envelope"])])


def test_charts_of_a_field_that_has_none_are_taken_away(look, site):
    page = opened(look, site, *TRACED)
    page.select_option("#field-case", "gru-chapter")
    settle(page)
    assert page.evaluate("Object.keys(isogru.charts)").count("gates") == 0
    assert page.locator("#divergence-charts").is_hidden()
    assert page.locator("#chart-time svg").is_visible()
    page.goto(f"{site.url}#field=tensorflow/scratch/float32/gru_reset_after/states")
    settle(page)
    assert page.locator("#field-charts").is_hidden()
    assert set(page.evaluate("Object.keys(isogru.charts)")) == {"loss", "distance-float32", "distance-float64"}


def test_only_the_last_of_several_choices_is_drawn(visit, site):
    """Charts are drawn while others are asked for: what comes late must not land on what is newer."""
    page = opened(visit, site, *TRACED)
    page.evaluate("""() => {
      const embed = window.vegaEmbed;
      let first = true;
      window.vegaEmbed = async (...all) => {
        if (first) { first = false; await new Promise((done) => setTimeout(done, 500)); }
        return embed(...all);
      };
    }""")
    for case in ("gru-chapter", "gru-long"):
        page.select_option("#field-case", case)
        page.wait_for_timeout(50)
    page.wait_for_timeout(700)
    settle(page)
    assert page.locator("#chart-time svg").count() == 1
    assert_lines(page, "time", of_time(site, site.result("jax/scratch/float32/gru-long")))


def test_pointing_at_a_mark_says_what_it_is(visit, site):
    page = opened(visit, site, *TRACED)
    page.locator("#chart-time svg .mark-symbol.role-mark path").nth(3).hover()
    tip = page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    assert "one step off" in tip.inner_text()
    curve = site.result("jax/scratch/float32/gru-ordinary")["curves"]["difference"]
    assert len({f"{value:.1e}" for value in curve}) > 3, "no two steps alike, or nearly"
    assert f"{curve[3]:.1e}" in tip.inner_text()
