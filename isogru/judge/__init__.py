"""The judge: a case, a result of it, a verdict. No tolerance is typed in by hand: docs/verdict.md says how."""

from __future__ import annotations

from isogru.judge import delivered, reference, verdict
from isogru.judge.verdict import ResultVerdict
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import DTYPES, AnyCase, Case, Result, check_result
from shared_spec.readings import floats


def on(
    case: AnyCase,
    result: Result,
    *,
    claim: Cell | None = None,
    name: str = "",
    case_name: str = "",
    partial: bool = False,
    kept: bool = True,
) -> ResultVerdict:
    """The verdict on a result of a case, as if it claimed another cell where one is given. Where it is `partial`, what
    it does not hold is not judged. `kept` is whether the case's reference stays for the next result of that case.

    Raises InterchangeError, with the names of result and case (their files, where they have some), for a result that
    was made of another case, that does not hold what the case asks for, or whose dtype is not what it was computed in;
    UserError for a claim that cannot be judged.
    """
    name = name or f"result of {case.name}"
    if result.origin.lie:
        raise InterchangeError(f"{name}: {result.origin.lie}; no verdict is given on it")
    if result.origin.case_digest != case.digest:
        raise InterchangeError(f"{name}: made of another case than {case_name or case.name}; run it again on this one")
    if result.origin.cell != case.cell.name:
        raise InterchangeError(
            f"{name}: claims to be of the cell {result.origin.cell!r}, and {case_name or case.name} is one of "
            f"{case.cell.name}; judge it with --claim, or run it again"
        )
    check_result(name, result, case, partial=partial)
    if claim is not None:
        if not isinstance(case, Case):
            raise UserError("a claim can be judged on a case of a cell over a sequence, not on a language model")
        case, result = verdict.claim(case, result, claim)
        check_result(name, result, case, partial=partial)
    dtype = delivered.of(result).dtype
    if dtype in floats.HALVES and not isinstance(case, Case):
        raise InterchangeError(f"{name}: a training in {dtype} is not judged; it is in {' and '.join(DTYPES)}")
    return verdict.judge(case, result, reference.get(case, dtype, kept=kept))
