"""Modules whose states are kept in one precision and whose products are computed in another, and the sentence that says
how a module is judged that does not say so itself.
"""

from __future__ import annotations

import re

import equinox
import jax
import jax.numpy as jnp
import pytest
import torch
from flax import linen

import isogru
from tests.models.test_torch_modules import Mine

FEW = ["ordinary", "zero_start", "drawn_weights"]


@pytest.fixture(autouse=True)
def _own_results(results):
    torch.manual_seed(0)


class Narrow(Mine):
    """Products in bfloat16 by autocast, whatever is around it; states in float32, or as it is said."""

    def __init__(self, fault="", states=torch.float32):
        super().__init__(fault)
        self.states = states

    def forward(self, X, H0):
        with torch.autocast("cpu", torch.bfloat16):
            return tuple(each.to(self.states) for each in super().forward(X, H0))


class Widened(Mine):
    """Weights in bfloat16, and all that is computed from them in float32."""

    def forward(self, X, H0):
        wide = {name: tensor.float() for name, tensor in self.named_parameters()}
        return torch.func.functional_call(Wide(self), {f"inner.{name}": each for name, each in wide.items()}, (X, H0))


class Wide(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, X, H0):
        return Mine.forward(self.inner, X.float(), H0.float())


def followed(sentence):
    """What the sentence says to say, as arguments."""
    said = re.search(r'say (\w+)="(\w+)"( and gradients=False)?', sentence)
    assert said is not None, sentence
    return {said[1]: said[2], **({"gradients": False} if said[3] else {})}


@pytest.mark.parametrize(
    ("module", "start"),
    [
        (lambda: Narrow(), {"products": "bfloat16"}),
        (lambda: Narrow(states=torch.bfloat16), {"dtype": "bfloat16"}),
        (lambda: Widened().bfloat16(), {"dtype": "float32"}),
    ],
)
def test_what_a_module_of_torch_does_not_say_is_told_and_makes_it_equal(module, start):
    gru = module()
    verdict = isogru.check(gru, cases=FEW)
    assert verdict.verdict in ("different", "failed"), verdict.sentence
    said = followed(verdict.sentence)
    assert said.items() >= start.items()
    equal = isogru.check(gru, cases=FEW, **said)
    assert equal.verdict == "equal", equal.sentence
    assert f" in {start.get('dtype') or 'float32 with products in bfloat16'}: states" in equal.sentence


def test_a_fault_under_autocast_is_no_precision():
    verdict = isogru.check(Narrow("update"), cases=FEW)
    assert (verdict.verdict, verdict.hint) == ("different", "")
    assert isogru.check(Narrow("update"), cases=FEW, products="bfloat16", gradients=False).verdict == "different"


def test_autocast_around_the_call_is_known():
    """Also where other weights are put in, of which autocast keeps what it made of those before."""
    with torch.autocast("cpu", torch.bfloat16):
        verdict = isogru.check(Mine(), cases=FEW, gradients=False)
        wrong = isogru.check(Mine("update"), cases=FEW, gradients=False)
    assert verdict.sentence.startswith(
        "equal to gru_reset_after in float32 with products in bfloat16: states of 3 cases"
    )
    assert wrong.verdict == "different"


def test_a_module_in_float64_is_judged_on_its_own_weights():
    gru = torch.nn.GRU(5, 4).double()
    with torch.no_grad():
        gru.weight_hh_l0 += 1e-9 * torch.randn(12, 4, dtype=torch.float64)
    verdict = isogru.check(gru, cases=FEW)
    assert verdict.sentence.startswith("equal to gru_reset_after in float64: states and gradients of 3 cases")


@pytest.mark.parametrize(
    ("computed", "weights", "said", "judged"),
    [
        ("bfloat16", "float32", {}, "float32 with products in bfloat16"),
        ("float32", "bfloat16", {}, "float32"),
        (None, "bfloat16", {}, "bfloat16"),
        (None, "bfloat16", {"dtype": "float32"}, "float32"),
    ],
)
def test_flax_says_what_it_computes_in(computed, weights, said, judged):
    module = linen.GRUCell(4, dtype=computed and jnp.dtype(computed), param_dtype=jnp.dtype(weights))
    made = linen.GRUCell(4).init(jax.random.key(0), jnp.zeros((3, 4)), jnp.zeros((3, 5)))
    variables = jax.tree.map(lambda array: array.astype(weights), made)
    verdict = isogru.check(module, variables=variables, cases=FEW[:1], gradients=False, **said)
    assert verdict.sentence.startswith(f"equal to gru_reset_after in {judged}: states of 1 case"), verdict.sentence


def test_weights_of_equinox_in_bfloat16_with_states_in_float32():
    cell = equinox.nn.GRUCell(5, 4, key=jax.random.key(0))
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if equinox.is_array(leaf) else leaf, cell)
    verdict = isogru.check(narrow, cases=["drawn_weights"], dtype="float32", gradients=False)
    assert verdict.sentence.startswith("equal to gru_reset_after in float32: states of 1 case")
    assert "gradients of the weights are in bfloat16, as the weights are, and not judged" in "; ".join(verdict.notes)
