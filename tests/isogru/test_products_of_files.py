"""Files of states that were computed with narrower products: told, judged as such where that is said, and explained."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import isogru as public
from isogru import formats, judge
from isogru.answers import origin
from isogru.runners.verdict import Evidence
from shared_spec import cases as catalogue
from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.files.interchange import Result, read_case, write_case
from shared_spec.readings import floats, value
from shared_spec.readings.arithmetic import Plain
from tests.isogru import grus
from tests.isogru.planted import drawn
from tests.isogru.test_products import computed

FORMATS = [("float32", "bfloat16"), ("float32", "float16"), ("float64", "float32")]
ZERO = np.zeros(1)


def states(case, dtype, products, **fault):
    arrays = {name: array.astype(dtype) for name, array in case.arrays.items()}
    return computed(products, **fault)(arrays["X"], arrays["H0"], arrays)


@pytest.fixture
def asked(tmp_path):
    """A case of the catalogue, as a file, and where an answer is to be."""
    case = catalogue.build("gru-ordinary")
    write_case(tmp_path / "case.safetensors", case)
    return case, tmp_path / "case.safetensors", tmp_path / "H.npy"


@pytest.mark.parametrize(("dtype", "products"), FORMATS)
def test_what_is_said_to_say_makes_it_equal(isogru, asked, dtype, products):
    case, file, H = asked
    np.save(H, states(case, dtype, products))
    plain = isogru("verdict", file, H)
    told = f"equal in {dtype} with products in {products}, where that is meant: say "
    assert (plain.status, told in plain.out) == (1, True), plain
    options = re.search(re.escape(told) + "(.*)", plain.out)[1].split()
    followed = isogru("verdict", file, H, *options)
    assert (followed.status, f"judged in {dtype} with products in {products}, as was said" in followed.out) == (0, True)
    why = isogru("explain", file, H)
    assert (why.status, f"why: equal if its products are in {products} (" in why.out) == (1, True), why
    assert f"remedy: say {' '.join(options)}, where that is meant, or compute products in {dtype}" in why.out
    assert re.search(r"ratio to the bound is \S+, and so 0\.\d", why.out)
    assert f"why: equal if its products are in {products} (" in isogru("verdict", file, H, "--why").out
    assert "nothing to explain" in isogru("explain", file, H, *options).out


@pytest.mark.parametrize(("dtype", "products"), FORMATS)
def test_a_file_is_judged_as_the_function_is(isogru, asked, dtype, products):
    """To the last digit of every ratio."""
    case, file, H = asked
    given = states(case, dtype, products)
    np.savez(H.with_suffix(".npz"), H=given, final=given[-1])
    (record,) = json.loads(isogru("verdict", "--json", file, H.with_suffix(".npz"), "--products", products).out)
    gru = computed(products)
    of = public.check(gru, cell="gru", dtype=dtype, cases=["gru-ordinary"], products=products)
    (checked,) = of.cases
    assert [each["ratio"] for each in record["findings"]] == [each.ratio for each in checked.findings]
    assert [each["judged"] for each in record["findings"]] == [each.judged for each in checked.findings]
    of = public.check(gru, cell="gru", dtype=dtype, cases=["gru-ordinary"])
    if of.verdict != "failed":  # A float64 that is none.
        assert of.explain().causes[0].sentence == f"its products are in {products}"
        assert f"say products={products!r} (".replace("'", '"') in of.explain().remedy


def under_autocast(case, products):
    """States as linear layers under autocast come to them: what comes out of a product stays narrow up to the state."""

    def narrow(array):
        return floats.rounded(array, products).astype("f")

    def product(a, b, bias=ZERO):
        return narrow(narrow(a) @ narrow(b) + narrow(bias))

    p = {name: array.astype("f") for name, array in case.arrays.items()}
    H, states = p["H0"], []
    for x in p["X"]:
        args = {g: narrow(product(x, p[f"W_x{g}"], p[f"b_{g}"]) + product(H, p[f"W_h{g}"])) for g in "zr"}
        Z, R = (narrow(1 / (1 + np.exp(-a))) for a in args.values())
        C = narrow(np.tanh(narrow(product(x, p["W_xh"], p["b_h"]) + product(R * H, p["W_hh"]))))
        H = Z * H + narrow(narrow(1 - Z) * C)
        states.append(H)
    return np.stack(states)


@pytest.mark.parametrize("products", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["gru-ordinary", "gru-one_unit"])
def test_what_stays_narrow_after_a_product_is_told_too(isogru, asked, name, products):
    """Of a single unit the factors alone tell too little: it is functions too."""
    case, (_, file, H) = catalogue.build(name), asked
    write_case(file, case)
    np.save(H, under_autocast(case, products))
    told = isogru("verdict", file, H)
    assert (told.status, f"say --products {products}" in told.out) == (1, True), told
    assert isogru("verdict", file, H, "--products", products).status == 0


def test_another_function_is_told_no_format(isogru, asked):
    case, file, H = asked
    np.save(H, states(case, "float32", "bfloat16", turned=True))
    plain = isogru("verdict", file, H)
    assert (plain.status, "with products" in plain.out) == (1, False), plain
    said = isogru("verdict", file, H, "--products", "bfloat16", "--why")
    assert (said.status, "why: equal if the update gate is turned round" in said.out) == (1, True), said


def test_states_of_a_half_need_no_products_said(isogru, asked):
    """All values are numbers of bfloat16, and are judged in that."""
    case, file, H = asked
    right = oracle.run(case.cell, case.arrays)["H"]
    np.save(H, floats.rounded(right, "bfloat16").astype("f"))
    plain = isogru("verdict", file, H)
    assert (plain.status, "judged in bfloat16: the file is of float32" in plain.out) == (0, True), plain


def test_gradients_that_are_wrong_do_not_hide_the_states(isogru, asked):
    case, file, H = asked
    gradients = {"grad.X": np.zeros(case.arrays["X"].shape, "f")}
    np.savez(H.with_suffix(".npz"), H=states(case, "float32", "bfloat16"), **gradients)
    plain = isogru("verdict", file, H.with_suffix(".npz"), "--why")
    assert (plain.status, "its states are equal in float32 with products in bfloat16, where" in plain.out) == (1, True)
    assert "why: equal if its products are in bfloat16, and gradients are left out (" in plain.out
    assert isogru("verdict", file, H.with_suffix(".npz"), "--products", "bfloat16").status == 1


def test_few_numbers_tell_no_format():
    """Of errors as large as those of bfloat16, which of six numbers are like them by chance now and then."""
    for seed in range(16):
        case = drawn("gru", (3, 1, 2, 2), seed)
        right, random = oracle.run(case.cell, case.arrays)["H"], np.random.RandomState(seed)
        H = (right + 2e-3 * random.standard_normal(right.shape)).astype("f")
        result = Result(origin(case, "own", "float32"), {"H": H})
        verdict = judge.on(case, result, partial=True, kept=False)
        assert verdict.verdict == "different"
        assert formats.narrower([Evidence(case, result, verdict)]) == ("", None)


def test_a_claim_and_products(isogru, asked):
    """Without b_hh and where R is 1 the two cells are one."""
    case, file, H = asked
    np.save(H, states(case, "float32", "bfloat16"))
    told = isogru("verdict", file, H, "--claim", "gru_reset_after", "--products", "bfloat16")
    assert told.status == 1
    assert "with products in" not in isogru("verdict", file, H, "--claim", "gru_reset_after").out


@pytest.mark.parametrize("products", ["float32", "tf32", "float64"])
def test_products_are_coarser_than_the_states_of_the_file(isogru, asked, products):
    case, file, H = asked
    np.save(H, states(case, "float32", "float32"))
    for command in ("verdict", "explain"):
        refused = isogru(command, file, H, "--products", products)
        told = f"isogru: products is {products!r}, should be coarser than float32: float16, bfloat16\n"
        assert (refused.status, refused.err) == (2, told)


# Stacks.


class Rounding(Plain):
    def product(self, a, b):
        return super().product(*(floats.rounded(each, "bfloat16").astype(np.float64) for each in (a, b)))


def test_a_stack_is_judged_so_too(isogru, tmp_path):
    X = np.random.RandomState(3).standard_normal((6, 2, 3)).astype("f")
    save_file(grus.torch_stack(3, 4, directions=("",)), tmp_path / "gru.safetensors")
    np.save(tmp_path / "X.npy", X)
    weights = ("--weights", tmp_path / "gru.safetensors", "--input", tmp_path / "X.npy")
    stack = tmp_path / "stack.safetensors"
    assert isogru("case", *weights, "-o", stack).status == 0
    levels, below = {}, X
    for level in ("l0", "l1"):
        np.save(tmp_path / f"{level}.npy", below)
        alone = ("--weights", tmp_path / "gru.safetensors", "--layer", level, "--input", tmp_path / f"{level}.npy")
        assert isogru("case", *alone, "-o", tmp_path / f"{level}.safetensors").status == 0
        case, given, H = read_case(tmp_path / f"{level}.safetensors"), [], np.zeros((2, 4))
        for x in case.arrays["X"]:
            made = value.step(cell("gru_reset_after"), x, H, case.parameters, arithmetic=Rounding())["H"]
            given.append(H := made.astype("f"))
        levels[level] = below = np.stack(given)
    np.savez(tmp_path / "all.npz", **levels)
    plain = isogru("verdict", stack, tmp_path / "all.npz", "--why")
    told = "equal in float32 with products in bfloat16, where that is meant: say --products bfloat16"
    assert (plain.status, told in plain.out) == (1, True), plain
    assert "l1: why: equal if its products are in bfloat16 (" in plain.out
    followed = isogru("verdict", stack, tmp_path / "all.npz", "--products", "bfloat16")
    assert (followed.status, "judged in float32 with products in bfloat16, as was said" in followed.out) == (0, True)
    # Held against the whole stack, where what is below is not there.
    np.save(tmp_path / "top.npy", levels["l1"])
    assert isogru("verdict", stack, tmp_path / "top.npy").status == 1
    assert isogru("verdict", stack, tmp_path / "top.npy", "--products", "bfloat16").status == 0
    refused = isogru("verdict", stack, tmp_path / "top.npy", "--products", "tf32")
    assert (refused.status, "products is 'tf32', should be coarser than float32" in refused.err) == (2, True)
