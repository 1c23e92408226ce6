"""The page of exercises: what is drawn, chosen and read, and that text from trials stays text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from reports.exercises import build, compared, records
from reports.pages import render
from shared_spec.files import store
from shared_spec.language_model import tasks
from shared_spec.sweeps.trials import DIVERGED, FAILED
from tests.browser.conftest import settle
from tests.browser.sites import NASTY
from tests.browser.test_accessible import CONTRAST, serious
from tests.browser.test_injection import STRANGE
from tests.sample_trials import keep, outcome, share_of, study

SCHEMES = {"light": {}, "dark": {"dark": True}, "phone": {"width": 390}}
RATES = (0.5, 1.0, 4.0)


@dataclass(frozen=True)
class Exercises:
    report: records.Exercises
    page: Path

    @property
    def url(self):
        return self.page.as_uri()


@pytest.fixture(scope="session")
def exercises(tmp_path_factory, text):
    """A sweep of which one trial diverged and one failed, whose texts are attacks, and one from two starts; another;
    both studies.
    """
    folder = tmp_path_factory.mktemp("exercises")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_RESULTS", str(folder / "results"))
        sizes = [(T, h) for T in (8, 32, 64) for h in (8, 16, 32)]
        made = [
            outcome(num_steps=T, num_hiddens=h, lr=lr, val=5 + T / 32 + 8 / h + lr / 4, said=NASTY)
            for T, h in sizes
            for lr in RATES
        ]
        made += [outcome(lr=9.0, status=DIVERGED), outcome(lr=10.0, status=FAILED)]
        made += [outcome(lr=0.5, val=12.0, start_seed=8)]
        keep(NASTY, made)
        keep("other", [outcome(cell="rnn", lr=lr) for lr in RATES], cells=["rnn"])
        patch.setattr(compared, "recalled", share_of)
        study(values={"gru": [0.9, 0.8, 0.85], "rnn": [0.15, 0.1, 0.12]})
        store.keep_text(text)
        end = {"rnn": 1.9, "gru_reset_after": 1.7}
        losses = {cell: [loss, loss + 0.01, loss + 0.03] for cell, loss in end.items()}
        study("compare", tasks.TEXT, losses, dict.fromkeys(end, 2.0), text)
        report = build.build()
        yield Exercises(report, render.write_exercises(report, folder / "site"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_can_be_read(visit, exercises, scheme):
    page = visit(exercises.url, **SCHEMES[scheme])
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert [(round(contrast, 2), what) for contrast, _, what in texts if contrast < 4.5] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_axe_finds_nothing_serious(look, exercises):
    assert serious(look(exercises.url)) == []


def test_every_chart_is_drawn_and_has_words(look, exercises):
    page = look(exercises.url)
    drawn = page.evaluate("Object.keys(isogru.charts)")
    assert {"sweep-heat", "sweep-curves", "sweep-cost", "waning", "recall"} <= set(drawn)
    for chart in page.locator(".chart[role=graphics-document]").all():
        assert len(chart.get_attribute("aria-label")) > 20


def test_the_heat_map_has_every_trial_and_marks_what_did_not_finish(look, exercises):
    page = look(exercises.url)
    data = page.evaluate("isogru.charts['sweep-heat'].view.data('source_0')")
    sweep = exercises.report.sweeps.sweeps[0]
    assert len(data) == len(sweep.trials) - 1 == 3 * 3 * 3 + 2
    assert page.locator("#chart-sweep-heat svg text", has_text="✗").count() == 2


def test_starts_share_a_place_of_the_heat_map(look, exercises):
    page = look(exercises.url)
    data = page.evaluate("isogru.charts['sweep-heat'].view.data('source_0')")
    (place,) = [d for d in data if d["trials"] == 2]
    assert (place["num_steps"], place["num_hiddens"], place["rate"]) == (32, 32, "lr 0.5")
    assert math.isclose(place["shown"], math.sqrt(12.0 * (5 + 1 + 0.25 + 0.125)), rel_tol=1e-9)
    assert page.locator("#chart-sweep-heat .mark-rect.role-mark path").count() == len(data) - 2


def test_another_sweep_is_chosen_and_stands_in_the_address(visit, look, exercises):
    page = look(exercises.url)
    page.locator("#sweep").select_option("other")
    settle(page)
    assert "sweep=other" in page.evaluate("location.hash")
    assert page.evaluate("new Set(isogru.charts['sweep-heat'].view.data('source_0').map((t) => t.cell)).size") == 1
    assert page.locator("#sweep-cell").input_value() == "rnn"
    again = visit(exercises.url, "#sweep=other")
    assert again.locator("#sweep").input_value() == "other"


def test_what_is_recalled_stands_where_it_should(look, exercises):
    page = look(exercises.url)
    data = page.evaluate("isogru.charts.recall.view.data('source_0')")
    (gru,) = [point for point in data if point["cell"] == "gru"]
    assert math.isclose(gru["mean"], 0.85, rel_tol=1e-9)
    # What nobody could know is guessed: one in eight.
    assert page.locator("#chart-recall .mark-rule.role-mark line[stroke-dasharray]").count() == 1


def test_text_from_trials_is_text(look, exercises):
    page = look(exercises.url)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(STRANGE) == []
    assert NASTY in page.locator("#sweeps code.text").first.text_content()
