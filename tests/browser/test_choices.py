"""Filters, fields, pairs and trainings: what is chosen is shown, stands in the address, and can be undone."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import msgspec
import pytest
from playwright.sync_api import expect

from reports.diff.verdicts import Finding
from reports.pages import render
from tests.browser.conftest import settle

PLANTED = "jax/scratch/float32/gru/gates"
NASTY_FRAGMENTS = (
    "#field=nothing/of/this/name&case=none",
    "#field=<img src=x onerror=window.hacked=1>&case=<script>window.hacked=1</script>",
    "#framework=none&cell=none&dtype=&training=none&pair-cell=none&pair-kind=constructor&pair-quantity=__proto__",
    "#field&case&&&=%%%",
)


def rows(page):
    return page.eval_on_selector_all(
        ".matrix tbody tr", "(all) => all.filter((r) => r.checkVisibility()).map((r) => r.cells[0].textContent.trim())"
    )


def columns(page):
    return page.eval_on_selector_all(
        ".matrix thead tr:first-child th[data-cell]",
        "(all) => all.filter((c) => c.checkVisibility()).map((c) => c.textContent)",
    )


def cells_of_body(page):
    return set(
        page.eval_on_selector_all(
            ".matrix td, .matrix thead tr:nth-child(2) th",
            "(all) => all.filter((c) => c.checkVisibility()).map((c) => c.dataset.cell)",
        )
    )


def address(page):
    """What stands in the address, decoded."""
    return {name: values[0] for name, values in parse_qs(page.evaluate("location.hash").removeprefix("#")).items()}


def untick(page, name, value):
    page.locator(f'.filters input[name="{name}"][value="{value}"]').uncheck()
    settle(page)


def of(site, **wanted):
    return [
        f"{row['label']} {row['dtype']}"
        for row in site.report["implementations"]
        if all(row[name] in values for name, values in wanted.items())
    ]


def test_all_is_shown_at_first(visit, site):
    page = visit(site.url)
    assert rows(page) == of(site)
    # Of the specification's cells those that anybody ran.
    assert columns(page) == ["gru", "gru_reset_after", "rnn"]
    assert address(page) == {}
    expect(page.locator("#shown")).to_have_text("9 of 9 implementations shown.")


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("framework", "torch", {"tensorflow", "jax"}),
        ("lane", "native", {"scratch"}),
        ("dtype", "float64", {"float32"}),
    ],
)
def test_a_filter_hides_rows(page, site, name, value, left):
    untick(page, name, value)
    wanted = of(site, **{name: left})
    assert 0 < len(wanted) < 9
    assert rows(page) == wanted
    assert set(address(page)[name].split(",")) == left
    expect(page.locator("#shown")).to_have_text(f"{len(wanted)} of 9 implementations shown.")


def test_with_nothing_ticked_nothing_is_shown(page):
    for value in ("scratch", "native"):
        untick(page, "lane", value)
    assert rows(page) == []
    expect(page.locator("#shown")).to_have_text("0 of 9 implementations shown.")


def test_the_filter_of_cells_hides_columns(page):
    untick(page, "cell", "gru")
    assert columns(page) == ["gru_reset_after", "rnn"]
    assert cells_of_body(page) == {"gru_reset_after", "rnn"}


def test_filters_together_in_a_shared_address_and_shown_all_again(visit, page, site):
    untick(page, "framework", "tensorflow")
    untick(page, "dtype", "float32")
    untick(page, "cell", "gru")
    wanted = of(site, framework={"torch", "jax"}, dtype={"float64"})
    assert rows(page) == wanted
    other = visit(page.url.partition("#")[0], "#" + page.url.partition("#")[2])
    assert rows(other) == wanted
    assert columns(other) == columns(page) == ["gru_reset_after", "rnn"]
    assert not other.locator('input[value="tensorflow"]').is_checked()
    assert other.locator('input[value="torch"]').is_checked()
    other.get_by_role("button", name="Show all").click()
    settle(other)
    assert rows(other) == of(site)
    assert len(columns(other)) == 3
    assert address(other) == {}
    assert other.locator(".filters input:not(:checked)").count() == 0


def test_a_field_opens(page, site):
    untick(page, "framework", "tensorflow")
    page.locator(f'.matrix a[data-field="{PLANTED}"]').click()
    settle(page)
    assert address(page) == {"framework": "torch,jax", "field": PLANTED}
    result = site.result("jax/scratch/float32/gru-ordinary")
    expect(page.locator("#field-title")).to_have_text("✗different jax/scratch · float32 · gru · gates")
    expect(page.locator("#field-sentence")).to_have_text(f"✗different: {result['sentence']}")
    expect(page.locator("#field-case")).to_have_value("gru-ordinary")
    expect(page.locator('.matrix a[aria-current="true"]')).to_have_attribute("data-field", PLANTED)
    expect(page.locator("#field h2")).to_be_in_viewport()


def test_the_findings_are_the_reports(look, site):
    for field, id in (
        (PLANTED, "jax/scratch/float32/gru-ordinary"),
        ("torch/native/float64/rnn/states", "torch/native/float64/rnn-ordinary"),
    ):
        page = look(site.url, f"#field={field}")
        result = site.result(id)
        shown = page.eval_on_selector_all(
            "#field-findings tbody tr", "(all) => all.map((r) => [...r.cells].map((c) => c.textContent))"
        )
        assert len(shown) == len(result["findings"])
        for line, finding in zip(shown, result["findings"], strict=True):
            assert line[0] == f"{render.MARKS[finding['verdict']]}{finding['verdict']}"
            assert line[1] == render.place(msgspec.convert(finding, Finding))
            assert float(line[2]) == pytest.approx(finding["value"], rel=1e-8)
            assert float(line[3]) == pytest.approx(finding["should_be"], rel=1e-8)
            assert line[4:6] == [render.scientific(finding["difference"]), render.scientific(finding["bound"])]
            assert float(line[6]) == pytest.approx(finding["ratio"], rel=0.06)
            assert float(line[7]) == pytest.approx(finding["ulp"], rel=0.06)
            outside = finding["outside"]
            assert line[8] == (f"{outside}, from {finding['first_outside'] or 0}" if outside else "0")
            assert line[9:] == [render.scientific(finding[name]) for name in ("max_absolute", "max_relative")]


def test_the_first_divergence_is_told(visit, look, site):
    page = visit(site.url, f"#field={PLANTED}")
    expect(page.locator("#first-forward")).to_contain_text("R is the first that is wrong by itself from step 5 on; R[")
    expect(page.locator("#first-forward")).to_contain_text("only heirs: C, H.")
    expect(page.locator("#first-backward")).to_have_text("Backward: every quantity is right, given its own inputs.")
    page.get_by_text("Each quantity, from its own inputs").click()
    local = site.result("jax/scratch/float32/gru-ordinary")["divergence"]
    shown = page.eval_on_selector_all(
        "#field-divergence tbody tr", "(all) => all.map((r) => [...r.cells].map((c) => c.textContent))"
    )
    every = [*local["forward"], *local["backward"]]
    assert [line[0] for line in shown] == [one["quantity"].removeprefix("trace.") for one in every]
    assert [line[1][1:] for line in shown] == [one["verdict"] for one in every]
    assert [bool(line[2]) for line in shown] == [one["inherits"] for one in every]
    native = look(site.url, "#field=torch/native/float32/rnn/states")
    expect(native.locator("#field-divergence")).to_contain_text("keeps no gates")


@pytest.mark.parametrize(
    ("field", "cell", "target"),
    [
        (PLANTED, "gru", "R"),
        ("torch/native/float32/gru_reset_after/states", "gru_reset_after", "H"),
        ("torch/scratch/float32/rnn/states", "rnn", "H"),
    ],
)
def test_the_equations_of_the_cell_with_the_worst_marked(look, site, field, cell, target):
    page = look(site.url, f"#field={field}")
    assert page.eval_on_selector_all(
        ".formulas", "(all) => all.filter((l) => l.checkVisibility()).map((l) => l.dataset.cell)"
    ) == [cell]
    (known,) = [c for c in site.report["cells"] if c["name"] == cell]
    lines = page.locator(f'.formulas[data-cell="{cell}"] li')
    assert lines.count() == len(known["equations"]) == page.locator(".formulas:visible math").count()
    worst = page.locator(".formulas li.worst")
    expect(worst).to_have_count(1)
    expect(worst).to_have_attribute("data-target", target)
    expect(worst).to_contain_text("the equation that fits worst")


def test_a_case_is_chosen_and_shared(visit, page, site):
    page.goto(f"{site.url}#field=jax/scratch/float32/gru/states")
    settle(page)
    names = page.eval_on_selector_all("#field-case option", "(all) => all.map((o) => [o.value, o.textContent])")
    assert [name for name, _ in names] == ["gru-ordinary", "gru-long", "gru-chapter"]
    assert all(text.startswith(mark) for (_, text), mark in zip(names, "✗✓✓", strict=True))
    page.select_option("#field-case", "gru-chapter")
    settle(page)
    sentence = site.result("jax/scratch/float32/gru-chapter")["sentence"]
    expect(page.locator("#field-sentence")).to_have_text(f"✓equal: {sentence}")
    shared = page.locator("#field-link").get_attribute("href")
    other = visit(site.url, shared)
    expect(other.locator("#field-sentence")).to_have_text(f"✓equal: {sentence}")
    expect(other.locator("#field-case")).to_have_value("gru-chapter")
    assert address(page) == address(other)


def test_back_and_forward(page):
    page.locator(f'.matrix a[data-field="{PLANTED}"]').click()
    settle(page)
    page.locator('.matrix a[data-field="torch/scratch/float64/rnn/states"]').click()
    settle(page)
    title = page.locator("#field-title")
    expect(title).to_contain_text("torch/scratch · float64 · rnn · states")
    page.go_back()
    expect(title).to_contain_text("jax/scratch · float32 · gru · gates")
    page.go_forward()
    expect(title).to_contain_text("torch/scratch · float64 · rnn · states")
    page.go_back()
    page.go_back()
    # Where nothing is asked for the worst of all is open.
    expect(title).to_contain_text("failed")


@pytest.mark.parametrize("status", ["failed", "stale", "missing"])
def test_a_field_without_a_result_says_why(look, site, status):
    result = next(r for r in site.report["results"] if r["status"] == status)
    field = f"{result['framework']}/scratch/float32/{result['cell']}/states"
    page = look(site.url, f"#field={field}&case={result['case']}")
    expect(page.locator("#field-sentence")).to_contain_text(f"{render.MARKS[status]}{status}: {result['why']}")
    expect(page.locator("#field-sentence code")).to_have_text(result["mend"])
    expect(page.locator("#field-findings")).to_have_text("There is no result to look into.")


@pytest.mark.parametrize("fragment", NASTY_FRAGMENTS)
def test_an_address_that_nothing_fits_does_no_harm(visit, look, site, fragment):
    page = (visit if fragment == NASTY_FRAGMENTS[0] else look)(site.url, fragment)
    expect(page.locator("#field-title")).not_to_be_empty()
    expect(page.locator("#pairs-table tbody tr")).not_to_have_count(0)
    assert page.evaluate("typeof window.hacked") == "undefined"
    page.locator("#all").click()
    settle(page)
    assert rows(page) == of(site)


def test_parts_can_be_jumped_to(page):
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(link.get_attribute("href"))
        expect(target.locator("h2")).to_be_in_viewport()


def test_jumping_to_a_part_keeps_what_is_chosen(page, site):
    untick(page, "framework", "tensorflow")
    page.locator('nav a[href="#pairs"]').click()
    settle(page)
    assert rows(page) == of(site, framework={"torch", "jax"})


def number(text):
    return None if text == "∞" else float(text)


def test_pairs(page, site):
    seen = 0
    for record in site.report["pairs"]:
        page.select_option("#pair-cell", record["cell"])
        page.select_option("#pair-dtype", record["dtype"])
        offered = page.locator("#pair-quantity option").all_inner_texts()
        assert offered == [measured["quantity"] for measured in record["quantities"]]
        # All of them would take minutes: the first, which are states, and one in the middle.
        for measured in record["quantities"][:: len(offered) // 2 + 1]:
            page.select_option("#pair-quantity", measured["quantity"])
            for kind in ("absolute", "relative", "ulp"):
                page.select_option("#pair-kind", kind)
                settle(page)
                assert address(page)["pair-kind"] == kind
                lines = page.eval_on_selector_all(
                    "#pairs-table tr", "(all) => all.map((r) => [...r.cells].map((c) => c.textContent))"
                )
                assert lines[0][1:] == record["labels"] == [line[0] for line in lines[1:]]
                for i, line in enumerate(lines[1:]):
                    for j, shown in enumerate(line[1:]):
                        value = "none" if i == j else measured[kind][max(i, j)][min(i, j)]
                        if value == "none":
                            assert shown == ""
                        elif value is None or value == 0:
                            assert shown == render.scientific(value)
                        else:
                            assert number(shown) == pytest.approx(value, rel=0.06)
                            seen += 1
    assert seen > 50


def test_pairs_in_a_shared_address(visit, site):
    page = visit(site.url, "#pair-cell=rnn&pair-dtype=float64&pair-quantity=grad.W_hh&pair-kind=ulp")
    chosen = page.eval_on_selector_all("#pairs select", "(all) => all.map((s) => s.value)")
    assert chosen == ["rnn", "float64", "grad.W_hh", "ulp"]


def test_who_agrees_to_the_bit(look, site):
    page = look(site.url, "#pair-cell=rnn&pair-dtype=float32")
    expect(page.locator("#same-bits")).to_have_text(
        "The same bits in every quantity of every case they share: "
        "torch/scratch = torch/native = tensorflow/scratch = jax/scratch = jax/native."
    )
    page = look(site.url, "#pair-cell=gru_reset_after&pair-dtype=float32&pair-quantity=H")
    expect(page.locator("#pairs-table")).to_contain_text(re.compile(r"Furthest apart: .*torch/native.* 2\.5e-01 in H"))


def test_training(page, site):
    trainings = site.report["training"]
    assert [t["dtype"] for t in trainings] == ["float32", "float64"]
    name = trainings[0]["case"]
    expect(page.locator("#training")).to_have_value(name)
    for training in trainings:
        block = page.locator(f'[data-training="{name}"]', has_text=f"{name}, {training['dtype']}")
        expect(block).to_be_visible()
        lines = block.locator("tbody tr").evaluate_all(
            "(all) => all.map((r) => [...r.cells].map((c) => c.textContent))"
        )
        oracle, runs = lines[0], lines[1:]
        assert oracle[4:] == [
            f"{training['oracle']['perplexity_train']:.8f}",
            f"{training['oracle']['perplexity_val']:.8f}",
            "".join(training["oracle"]["text"]),
        ]
        assert len(runs) == len(training["runs"]) == 3
        for line, run in zip(runs, training["runs"], strict=True):
            assert line[:3] == [run["label"], f"{render.MARKS[run['status']]}{run['status']}", f"{run['digits']:.1f}"]
            assert [part.strip() for part in line[4:]] == [
                f"{run['perplexity_train']:.8f}",
                f"{run['perplexity_val']:.8f}",
                "".join(run["text"]).strip(),
            ]


def test_keyboard(visit, site):
    page = visit(site.url)
    reached, unseen = set(), []
    for _ in range(160):
        page.keyboard.press("Tab")
        name, outlined = page.evaluate("""() => {
          const one = document.activeElement, style = getComputedStyle(one);
          const named = one.name ? `${one.name}=${one.value}` : one.id || one.getAttribute("href") || one.className;
          return [one.dataset.field ?? named,
            one === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1)];
        }""")
        reached.add(name)
        if not outlined:
            unseen.append(name)
    assert unseen == []
    for box in page.locator(".filters input").all():
        assert f"{box.get_attribute('name')}={box.get_attribute('value')}" in reached
    for link in page.locator(".matrix td a").all():
        assert link.get_attribute("data-field") in reached
    assert reached >= {"all", "field-case", "field-link", "#answer", "#run", "training"}
    assert reached >= {"pair-cell", "pair-dtype", "pair-quantity", "pair-kind"}


def test_a_field_opens_by_keyboard(page):
    page.locator(f'.matrix a[data-field="{PLANTED}"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator("#field-title")).to_contain_text("jax/scratch · float32 · gru · gates")
    page.locator('.filters input[value="tensorflow"]').focus()
    page.keyboard.press("Space")
    expect(page.locator("#shown")).to_have_text("8 of 9 implementations shown.")
