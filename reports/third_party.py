"""GRUs that nobody here wrote, as people read of them: a table in Markdown, a page, and the records in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from isogru.judge.comparison import EQUAL, UNDETERMINED
from reports.pages import page
from reports.pages.render import MARKS, MEANINGS, template
from shared_spec.files.whole import write_together
from shared_spec.third_party import FAILED, JUDGED, UNAVAILABLE, Package, Record

FORMAT = "isogru-third-party-table/1"


class Row(NamedTuple):
    """A record, with its package and versions."""

    package: str
    versions: str
    record: Record

    @property
    def verdict(self) -> str:
        return self.record.verdict

    @property
    def coarser(self) -> str:
        """What it delivers in less than its dtype, by far: such as "product 3.9e-03"."""
        own = {"float32": 2.0**-24, "float64": 2.0**-53}.get(self.record.dtype)
        if own is None:
            return ""
        roundoff = {name: u for name, u in self.record.roundoff.items() if name != "cell" and u > COARSE * own}
        return ", ".join(f"{name} {u:.1e}" for name, u in roundoff.items())

    @property
    def is_wrong(self) -> bool:
        """Whether it is not equal, and no wonder that it is not."""
        accused = self.verdict not in (EQUAL, UNDETERMINED, UNAVAILABLE)
        return accused and not self.record.expected


COARSE = 8
"""Times the unit roundoff of its dtype: three bits."""


def rows(packages: Sequence[Package]) -> list[Row]:
    """All records, package by package."""
    return [
        Row(package.package, ", ".join(f"{name} {version}" for name, version in package.versions.items()), record)
        for package in packages
        for record in package.records
    ]


def write(packages: Sequence[Package], folder: Path) -> tuple[Path, list[Row]]:
    """Write third-party.html, third-party.md and third-party.json; returns the page's path and its rows."""
    every = rows(packages)
    judged = [row for row in every if row.record.status == JUDGED]
    context = {
        "packages": packages,
        "judged": judged,
        "implementations": len({(row.package, row.record.implementation) for row in judged}),
        "with_gradients": len({(row.package, row.record.implementation) for row in judged if row.record.gradients}),
        "makers": len({row.package for row in judged}),
        "equal": [row for row in judged if row.verdict == EQUAL],
        "wrong": [row for row in judged if row.verdict != EQUAL],
        "failed": [row for row in every if row.record.status == FAILED],
        "unavailable": [row for row in every if row.record.status == UNAVAILABLE],
        "machines": sorted({_machine(package) for package in packages}),
        "marks": {**MARKS, UNAVAILABLE: "–"},
        "meanings": MEANINGS,
    }
    html = page.render_plain(template("third-party.html.jinja", autoescape=True), context)
    brief = template("third-party.md.jinja", autoescape=False).render(context)
    data = msgspec.json.format(msgspec.json.encode({"format": FORMAT, "packages": packages}), indent=1)
    contents = {"third-party.json": data, "third-party.md": brief.encode(), "third-party.html": html.encode()}
    write_together({folder / name: content for name, content in contents.items()})
    return folder / "third-party.html", every


def _machine(package: Package) -> str:
    return ", ".join(f"{name} {value}" for name, value in package.machine.items() if name in ("processor", "cores"))
