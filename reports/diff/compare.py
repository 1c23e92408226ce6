"""Two reports, one after the other: what changed verdict, what grew by more than its bound, what appeared or went."""

from __future__ import annotations

from collections.abc import Iterator

from isogru.judge.comparison import EQUAL, ORDER
from reports.pages.schema import Record, size

NOT_RUN = ("missing", "unproven")
"""Of a layout; not every report is made where all of them are proven."""


def compare(old: Record, new: Record) -> Record:
    """The changes from one report to a later one, as plain data. "is_worse" says whether any of them is for the worse:
    a verdict, an error that grew by more than its bound, or a result that went.
    """
    before, after = _rows(old), _rows(new)
    both = [name for name in before if name in after]
    changed = [
        {"id": name, "old": before[name]["status"], "new": after[name]["status"], "why": _why(after[name])}
        for name in both
        if before[name]["status"] != after[name]["status"]
    ]
    found = {
        "changed": changed,
        "grew": [grown for name in both for grown in _grown(before[name], after[name])],
        "appeared": [name for name in after if name not in before],
        "went": [name for name in before if name not in after],
        "versions": list(_versions(old, new)),
        "specification": list(_specification(old, new)),
    }
    return {"is_worse": bool(_worse(found) or found["grew"] or found["went"]), **found}


def _worse(found: Record) -> list[Record]:
    return [one for one in found["changed"] if _rank(one["new"]) > _rank(one["old"])]


def lines(found: Record) -> Iterator[str]:
    """The changes as a person reads them."""
    for one in found["versions"]:
        yield f"{one['framework']}: {one['name']} {one['old'] or 'none'} -> {one['new'] or 'none'}"
    for one in found["specification"]:
        yield f"cell {one['cell']}: {one['change']}"
    for one in found["changed"]:
        yield f"{one['id']}: {one['old']} -> {one['new']}{': ' if one['why'] else ''}{one['why']}"
    for one in found["grew"]:
        yield (
            f"{one['id']}: {one['quantity']} grew from {_number(one['old'])} to {_number(one['new'])} off, "
            f"its bound is {_number(one['bound'])}"
        )
    for way in ("appeared", "went"):
        for name in found[way]:
            yield f"{name}: {way}"
    counts = ", ".join(f"{len(found[part])} {said}" for part, said in PARTS.items())
    worse = [
        f"{len(those)} {said}" for those, said in ((_worse(found), "verdicts"), (found["grew"], "errors")) if those
    ]
    worse += [f"{len(found['went'])} gone"] if found["went"] else []
    yield f"worse, by {', '.join(worse)}: {counts}" if found["is_worse"] else f"no worse: {counts}"


PARTS = {"changed": "changed verdict", "grew": "grew by more than its bound", "appeared": "appeared", "went": "went"}


def _rank(status: str) -> int:
    """What has no verdict is as bad as a different one."""
    return ORDER.index(status) if status in ORDER else len(ORDER) - 1


def _why(row: Record) -> str:
    return "" if row["status"] == EQUAL else str(row["why"] or row["sentence"])


def _grown(before: Record, after: Record) -> Iterator[Record]:
    known = {finding["quantity"]: finding for finding in _measured(before)}
    for finding in _measured(after):
        old = known.get(finding["quantity"])
        if old is not None and size(finding["difference"]) > size(old["difference"]) + size(finding["bound"]):
            yield {
                "id": after["id"],
                "quantity": finding["quantity"],
                "old": old["difference"],
                "new": finding["difference"],
                "bound": finding["bound"],
            }


def _measured(row: Record) -> Iterator[Record]:
    """What has a bound; a text has none, and is the verdict's to judge."""
    local = row.get("divergence") or {"forward": (), "backward": ()}
    for finding in (*row.get("findings", ()), *local["forward"], *local["backward"]):
        if finding["basis"] != "text":
            yield finding


def _rows(report: Record) -> dict[str, Record]:
    """Results and layouts, by what they are called."""
    results = {row["id"]: row for row in report["results"]}
    layouts = {f"layout {row['name']}": row for row in report["rosetta"] if row["status"] not in NOT_RUN}
    return results | {name: {"id": name, "sentence": row["worst"], **row} for name, row in layouts.items()}


def _versions(old: Record, new: Record) -> Iterator[Record]:
    before, after = _made_with(old), _made_with(new)
    for framework in (name for name in before if name in after):
        for name in sorted(before[framework].keys() | after[framework].keys()):
            versions = {"old": before[framework].get(name, ""), "new": after[framework].get(name, "")}
            if versions["old"] != versions["new"]:
                yield {"framework": framework, "name": name, **versions}


def _made_with(report: Record) -> dict[str, dict[str, str]]:
    """For each framework the versions that its results were made with; of several, all."""
    found: dict[str, dict[str, list[str]]] = {}
    for setup in report["setups"]:
        of_framework = found.setdefault(setup["framework"], {})
        for name, version in setup["versions"].items():
            if version not in of_framework.setdefault(name, []):
                of_framework[name].append(version)
    return {framework: {name: " and ".join(v) for name, v in names.items()} for framework, names in found.items()}


def _specification(old: Record, new: Record) -> Iterator[Record]:
    before, after = ({cell["name"]: cell["digest"] for cell in report["cells"]} for report in (old, new))
    for name in before | after:
        if before.get(name) != after.get(name):
            change = "went" if name not in after else "is new" if name not in before else "has other equations"
            yield {"cell": name, "change": change}


def _number(value: float | None) -> str:
    return "∞" if value is None else f"{value:.1e}"
