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
from flax import linen, nnx
from flax.errors import FlaxError

import isogru
from shared_spec.errors import UserError
from tests.models.flax_weights import variables_of
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


class Without(Mine):
    """Products in float32, whatever autocast is around it."""

    def forward(self, X, H0):
        with torch.autocast("cpu", enabled=False):
            return super().forward(X, H0)


class Scaled(Mine):
    """States a little too large, by as much as is said."""

    def __init__(self, off):
        super().__init__()
        self.off = off

    def forward(self, X, H0):
        states = []
        for x in X:
            gates = x @ self.weight_ih_l0.T + self.bias_ih_l0 + H0 @ self.weight_hh_l0.T + self.bias_hh_l0
            kept = torch.sigmoid(gates[..., 4:8]) * H0
            H0 = super().forward(x[None], H0)[1] + kept * self.off
            states.append(H0[0])
        return torch.stack(states), H0


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
    pattern = r'say (\w+)="(\w+)"( and gradients=False)? \(isogru check --\1 \2( --gradients no)?\)'
    said = re.search(pattern, sentence)
    assert said is not None, sentence
    assert bool(said[3]) == bool(said[4]), sentence
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
    few = [*FEW, "long"]  # bfloat16 cannot hold all gradients of the long one.
    verdict = isogru.check(gru, cases=few)
    assert verdict.verdict in ("different", "failed"), verdict.sentence
    said = followed(verdict.sentence)
    assert said.items() >= start.items()
    equal = isogru.check(gru, cases=few, **said)
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
    told = "with products in bfloat16, as the autocast around it has"
    assert verdict.sentence.startswith(f"equal to gru_reset_after in float32 {told}: states of 3 cases")
    assert wrong.verdict == "different"
    assert f"; judged {told}" in wrong.sentence


def test_autocast_around_float64_casts_nothing():
    with torch.autocast("cpu", torch.bfloat16):
        right = isogru.check(Mine().double(), cases=FEW)
        wrong = isogru.check(Scaled(1e-3).double(), cases=FEW)
    assert right.sentence.startswith("equal to gru_reset_after in float64: states")
    assert (wrong.verdict, wrong.hint) == ("different", "")


def test_a_module_that_switches_autocast_off_is_judged_in_its_own_precision():
    with torch.autocast("cpu", torch.bfloat16):
        right = isogru.check(Without(), cases=FEW)
    assert right.sentence.startswith("equal to gru_reset_after in float32: states and gradients of 3 cases")


class OffWithin(Scaled):
    """The same, and with products in float32 whatever autocast is around it."""

    def forward(self, X, H0):
        with torch.autocast("cpu", enabled=False):
            return super().forward(X, H0)


@pytest.mark.parametrize("off", [1e-3, 1e-4])
def test_autocast_explains_nothing_of_what_it_does_not_change(off):
    """A fault that is small beside products in bfloat16, in a module that has none."""
    with torch.autocast("cpu", torch.bfloat16):
        heeds = isogru.check(Scaled(off), cases=FEW, gradients=False)
        verdict = isogru.check(OffWithin(off), cases=FEW, gradients=False)
    assert (heeds.verdict, verdict.verdict, verdict.hint) == ("equal", "different", ""), verdict.sentence
    told = "the autocast around it changes nothing of what it gives, to the bit: judged in float32"
    assert told in verdict.notes
    assert "autocast" not in verdict.sentence


def test_autocast_within_as_it_is_around():
    with torch.autocast("cpu", torch.bfloat16):
        verdict = isogru.check(Narrow(), cases=FEW, gradients=False)
    told = "equal to gru_reset_after in float32 with products in bfloat16, as the autocast around it has"
    assert verdict.sentence.startswith(told)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("off", [3e-3, 1e-3, 1e-4])
def test_a_slight_fault_is_no_precision(off, dtype):
    """Its errors are as large as those of a coarse format, or less, and within its bounds."""
    verdict = isogru.check(Scaled(off).to(dtype), cases=FEW, gradients=False)
    assert (verdict.verdict, verdict.hint) == ("different", "")


def test_numbers_beyond_a_format_are_no_refused_request():
    gru = Scaled(1e-3).double()
    with torch.no_grad():
        gru.bias_ih_l0[0] = 1e39
    verdict = isogru.check(gru, cases=["ordinary"], gradients=False)
    assert (verdict.verdict, verdict.hint) == ("different", "")


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
    made = variables_of(linen.GRUCell(4), jnp.zeros((3, 4)), jnp.zeros((3, 5)))
    variables = jax.tree.map(lambda array: array.astype(weights), made)
    verdict = isogru.check(module, variables=variables, cases=FEW[:1], gradients=False, **said)
    assert verdict.sentence.startswith(f"equal to gru_reset_after in {judged}: states of 1 case"), verdict.sentence


@pytest.mark.parametrize("raised", [RuntimeError, AssertionError, FlaxError])
def test_what_a_module_of_jax_raises_is_a_verdict(raised):
    class Cell(linen.GRUCell):
        def __call__(self, H, x):
            raise raised("out of order")

    variables = variables_of(linen.GRUCell(4), jnp.zeros((3, 4)), jnp.zeros((3, 5)))
    verdict = isogru.check(Cell(4), variables=variables, cases=FEW[:1], gradients=False)
    assert verdict.verdict == "failed"
    assert f"{raised.__name__}: out of order" in verdict.sentence


@pytest.mark.parametrize(
    ("dtype", "told"),
    [
        ("double", "no dtype 'double'; the dtypes are float32, float64, float16, bfloat16"),
        ("bfloat16", "GRUCell computes in float32, and bfloat16 is asked for; convert the module"),
    ],
)
def test_a_dtype_that_a_module_cannot_have(dtype, told):
    with pytest.raises(UserError, match=re.escape(told)):
        isogru.check(nnx.GRUCell(5, 4, rngs=nnx.Rngs(0)), dtype=dtype, cases=FEW[:1])


def test_weights_of_equinox_in_bfloat16_with_states_in_float32():
    cell = equinox.nn.GRUCell(5, 4, key=jax.random.key(0))
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if equinox.is_array(leaf) else leaf, cell)
    verdict = isogru.check(narrow, cases=["drawn_weights"], dtype="float32", gradients=False)
    assert verdict.sentence.startswith("equal to gru_reset_after in float32: states of 1 case")
    assert "gradients of the weights are in bfloat16, as the weights are, and not judged" in "; ".join(verdict.notes)
