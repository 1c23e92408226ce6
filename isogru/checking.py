"""Is this the GRU that it claims to be? A function on the catalogue's cases of a cell, or a module with its weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from isogru.judge.comparison import EQUAL
from isogru.runners import arrays as kinds
from isogru.runners import modules
from isogru.runners.callable import AUTO, Call, Forward, Gradients
from isogru.runners.hints import hinted, no_products
from isogru.runners.reading import Asked
from isogru.runners.verdict import CaseVerdict as CaseVerdict
from isogru.runners.verdict import Verdict as Verdict
from shared_spec import cases as catalogue
from shared_spec import cells
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, Case
from shared_spec.files.origins import coarser
from shared_spec.readings.floats import HALVES


def check(
    gru: Forward | Any,
    *,
    cell: str = "",
    dtype: str = "",
    gradients: Gradients | str | bool | None = None,
    cases: Iterable[str] | None = None,
    arrays: str = "",
    device: str = "",
    variables: Any = None,
    layout: str = "",
    batch_first: bool | None = None,
    seed: int = 0,
    products: str = "",
) -> Verdict:
    """Judge a GRU of one's own, a function or a module of a framework, on several cases.

    A **function** `gru(X, H0, parameters)` takes X (T, n, d), H0 (n, h) and the parameters by their names, all in
    `dtype`, and gives H (T, n, h), or H and the final state (n, h). It runs the catalogue's cases of `cell` (`isogru
    cells` lists them), or those named in `cases`. `arrays` says what it takes: "numpy", "torch", "jax" or "tensorflow";
    where it is not said, its annotations or the compiler that made it tell, and else it is NumPy. `gradients` is a
    function (X, H0, parameters, dH) -> gradients by name, or "auto" for the framework's own autodiff. dtype is float32,
    unless another is said: float64, float16 or bfloat16; `device` where its arrays lie, the CPU unless it is said.

    A **module** of PyTorch, Keras, Flax (linen with `variables=`, nnx), Equinox or MXNet is judged as it is, with its
    own weights, dtype and device, and also with weights drawn anew where they can be put in; it is left as it was.
    Gradients come from its framework unless `gradients` is False. `layout` says how its weights are packed where their
    names leave it open, `batch_first` which axis is time where it does not say, `seed` which inputs are drawn; `cell`
    what it should be where that is not what its layout computes.

    `products` says that products and functions are computed in a coarser format than the states are kept in, as
    autocast does: "bfloat16", "float16" or, of float64, "float32"; the verdict says so too. Without it a GRU is judged
    in the precision of its dtype, and where another would make it equal the sentence says which.

    What a GRU raises is a verdict, "failed". Raises UserError for a request that cannot be judged, such as a cell, a
    dtype or a case that is not there.
    """
    if modules.runner(gru) is not None:
        if arrays or device:
            raise UserError("a module has arrays and a device of its own; leave arrays and device out")
        if callable(gradients) or gradients not in (None, True, False, AUTO):
            raise UserError(
                "a module's gradients come from its framework; say gradients=False (--gradients no) to leave them out"
            )
        if dtype:
            _check_dtype(dtype)
        chosen = None if cases is None else [cases] if isinstance(cases, str) else list(cases)

        def judged(dtype: str, products: str, pulled: bool) -> Verdict:
            asked = Asked(variables, layout, batch_first, dtype)
            return modules.check(gru, asked, claim=cell, products=products, gradients=pulled, cases=chosen, seed=seed)

        pulled = gradients is not False
        return hinted(
            judged(dtype, products, pulled),
            lambda other, of, pulled: judged(other or dtype, of, pulled),
            products=products,
            gradients=pulled,
        )
    of_module = {"variables": variables, "layout": layout, "batch_first": batch_first}
    if said := [name for name, value in of_module.items() if value not in (None, "")]:
        raise UserError(
            f"{said[0]} goes with a module, and {type(gru).__qualname__} is none of a framework that is loaded"
        )
    return _check_function(gru, cell, dtype or "float32", gradients, cases, arrays, device or "cpu", products)


def _check_dtype(dtype: str) -> None:
    if dtype not in (*DTYPES, *HALVES):
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join((*DTYPES, *HALVES))}")


def _check_function(
    forward: Any,
    name: str,
    dtype: str,
    gradients: Any,
    cases: Iterable[str] | None,
    arrays: str,
    device: str,
    products: str,
) -> Verdict:
    if not callable(forward):
        raise UserError(f"{type(forward).__qualname__} is neither a function nor a module that is known")
    if not name:
        raise UserError(f'say which cell it claims to be: cell="gru", or another of {", ".join(cells.cells())}')
    of = cells.cell(name)
    _check_dtype(dtype)
    if not (gradients is None or gradients is False or gradients == AUTO or callable(gradients)):
        raise UserError(f"gradients is {gradients!r}, should be a function or {AUTO!r}")
    kind = kinds.of(arrays or kinds.wanted_by(forward), device)
    if gradients == AUTO and isinstance(kind, kinds.Numpy):
        kind.pull(lambda leaves: None, {}, None)
    names = case_names(of, cases)
    if products and products not in coarser(dtype):
        raise UserError(no_products(products, dtype))
    call = Call(forward, gradients or None, of, dtype, kind, device, products)
    return hinted(
        _judged(call, names),
        lambda other, of, pulled: _judged(
            replace(call, dtype=other or dtype, products=of, gradients=call.gradients if pulled else None), names
        ),
        products=products,
        gradients=call.gradients is not None,
    )


def _judged(call: Call, names: Iterable[str]) -> Verdict:
    roundoff, unmeasured = call.measured()
    judged: list[CaseVerdict] = []
    for name in names:
        case = catalogue.build(name)
        assert isinstance(case, Case)
        judged.append(call.judged(case, roundoff, twice=not judged))
    return Verdict(call.cell.name, call.dtype, call.covers, roundoff, tuple(judged), unmeasured, products=call.products)


def assert_equal(gru: Forward | Any, **asked: Any) -> None:
    """`check`, for tests, with the same arguments. Raises AssertionError unless the verdict is equal, with the
    verdict's sentence, the convention under which it would be equal if one is known, and the remedy.
    """
    __tracebackhide__ = True
    verdict = check(gru, **asked)
    if verdict.verdict != EQUAL:
        raise AssertionError(verdict.report)


def case_names(of: Cell, chosen: Iterable[str] | None) -> list[str]:
    """The catalogue's cases of a cell, or those chosen. Raises UserError for one that is not there, and for none."""
    there = [name for name in catalogue.cell_case_names() if catalogue.cell_name_of(name) == of.name]
    if chosen is None:
        return there
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if unknown := [name for name in names if name not in there]:
        raise UserError(f"no case {unknown[0]!r} of {of.name}; its cases are {', '.join(there)}")
    if not names:
        raise UserError(f"no case chosen; the cases of {of.name} are {', '.join(there)}")
    return names
