"""Two reports, one after the other: what changed verdict, what grew by more than its bound, what appeared or went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.finding import EQUAL, ORDER

Record = dict[str, Any]


def compare(old: Record, new: Record) -> Record:
    """The changes from one report to a later one, as plain data. "is_worse" says whether any of them is for the worse:
    a verdict, an error that grew by more than its bound, or a result that went.
    """
    before, after = ({row["id"]: row for row in report["results"]} for report in (old, new))
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
    worse = [one for one in changed if _rank(one["new"]) > _rank(one["old"])]
    return {"is_worse": bool(worse or found["grew"] or found["went"]), **found}


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
    yield f"{'worse' if found['is_worse'] else 'no worse'}: {counts}"


PARTS = {"changed": "changed verdict", "grew": "grew by more than its bound", "appeared": "appeared", "went": "went"}


def _rank(status: str) -> int:
    """What has no verdict is as bad as a different one."""
    return ORDER.index(status) if status in ORDER else len(ORDER) - 1


def _why(row: Record) -> str:
    return "" if row["status"] == EQUAL else str(row["why"] or row["sentence"])


def _grown(before: Record, after: Record) -> Iterator[Record]:
    known = {finding["quantity"]: finding for finding in before.get("findings", ())}
    for finding in after.get("findings", ()):
        old = known.get(finding["quantity"])
        if old is not None and _size(finding["difference"]) > _size(old["difference"]) + _size(finding["bound"]):
            yield {
                "id": after["id"],
                "quantity": finding["quantity"],
                "old": old["difference"],
                "new": finding["difference"],
                "bound": finding["bound"],
            }


def _versions(old: Record, new: Record) -> Iterator[Record]:
    before, after = ({f["name"]: f.get("versions", {}) for f in report["frameworks"]} for report in (old, new))
    for framework in before.keys() & after.keys():
        for name in sorted(before[framework].keys() | after[framework].keys()):
            versions = {"old": before[framework].get(name, ""), "new": after[framework].get(name, "")}
            if versions["old"] != versions["new"] and before[framework] and after[framework]:
                yield {"framework": framework, "name": name, **versions}


def _specification(old: Record, new: Record) -> Iterator[Record]:
    before, after = ({cell["name"]: cell["digest"] for cell in report["cells"]} for report in (old, new))
    for name in before | after:
        if before.get(name) != after.get(name):
            change = "went" if name not in after else "is new" if name not in before else "has other equations"
            yield {"cell": name, "change": change}


def _size(value: float | None) -> float:
    return float("inf") if value is None else value


def _number(value: float | None) -> str:
    return "∞" if value is None else f"{value:.1e}"
