"""Modules of Flax and Equinox, and functions of JAX' arrays, judged in this process."""

from __future__ import annotations

import equinox
import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx

import isogru
from shared_spec.errors import UserError
from tests.models.flax_weights import variables_of

FEW = ["ordinary", "drawn_weights"]
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _own_results(results):
    pass


def initialised(module, *inputs):
    return {"variables": variables_of(module, *inputs)}


CELL = linen.GRUCell(4)
VARIABLES = variables_of(CELL, jnp.zeros((3, 4)), jnp.zeros((3, 5)))
LOOP = linen.RNN(linen.GRUCell(4), reverse=True, keep_order=True, return_carry=True)
MODULES = {
    "linen cell": lambda: (CELL, {"variables": VARIABLES}),
    "linen cell, bound": lambda: (CELL.bind(VARIABLES), {}),
    "linen rnn": lambda: (LOOP, initialised(LOOP, jnp.zeros((3, 7, 5)))),
    "linen simple": lambda: (
        linen.SimpleCell(4),
        initialised(linen.SimpleCell(4), jnp.zeros((3, 4)), jnp.zeros((3, 5))),
    ),
    "nnx cell": lambda: (nnx.GRUCell(5, 4, rngs=nnx.Rngs(0)), {}),
    "nnx rnn": lambda: (nnx.RNN(nnx.GRUCell(5, 4, rngs=nnx.Rngs(0)), time_major=True), {}),
    "equinox": lambda: (equinox.nn.GRUCell(5, 4, key=KEY), {}),
    "equinox without bias": lambda: (equinox.nn.GRUCell(5, 4, use_bias=False, key=KEY), {}),
}
VARIANTS = ("linen cell, bound", "nnx rnn", "equinox without bias")
"""Of what another of them is too: on one case. Each is compiled for each."""


@pytest.mark.parametrize("name", MODULES)
def test_a_right_module_is_equal(name):
    module, asked = MODULES[name]()
    chosen = FEW[: 1 if name in VARIANTS else 2]
    verdict = isogru.check(module, cases=chosen, **asked)
    cell = "rnn" if name == "linen simple" else "gru_reset_after"
    assert (verdict.verdict, verdict.cell, verdict.dtype) == ("equal", cell, "float32"), verdict.report
    assert len(verdict.cases) == len(chosen)
    assert {"H", "grad.X", "grad.W_hh"} <= {each.quantity for each in verdict.cases[0].findings}
    assert (
        verdict.notes[0]
        .partition(" is read as ")[2]
        .startswith(name.partition(" ")[0] if "equinox" in name else "flax.")
    )


class Turned(linen.GRUCell):
    """Its update gate is turned round."""

    @linen.compact
    def __call__(self, H, x):
        after, _ = super().__call__(H, x)
        p = self.variables["params"]
        Z = linen.sigmoid(x @ p["iz"]["kernel"] + p["iz"]["bias"] + H @ p["hz"]["kernel"])
        C = (after - Z * H) / (1 - Z)
        after = Z * C + (1 - Z) * H
        return after, after


class Detached(equinox.nn.GRUCell):
    """No gradient flows from a state to the step before."""

    def __call__(self, x, H, *, key=None):
        return super().__call__(x, jax.lax.stop_gradient(H))


def test_planted_faults_are_named():
    with pytest.raises(AssertionError, match="why: equal if the update gate is turned round"):
        isogru.assert_equal(Turned(4), variables=VARIABLES, gradients=False, cases=FEW)
    with pytest.raises(
        AssertionError, match="why: equal if no gradient flows from a state to the step before, nor to H0"
    ):
        isogru.assert_equal(Detached(5, 4, key=KEY), cases=FEW)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (CELL, "GRUCell of Flax linen holds no weights; say variables="),
        (linen.GRUCell(4, gate_fn=linen.hard_sigmoid).bind(VARIABLES), "GRUCell has the functions gate hard_sigmoid"),
        (nnx.GRUCell(5, 4, activation_fn=nnx.relu, rngs=nnx.Rngs(0)), "GRUCell has the functions candidate relu"),
        (nnx.Linear(5, 4, rngs=nnx.Rngs(0)), "Linear: no recurrent layer was recognised"),
        (equinox.nn.Linear(5, 4, key=KEY), "Linear: no recurrent layer was recognised"),
    ],
)
def test_modules_that_are_not_judged(module, words):
    with pytest.raises(UserError) as refused:
        isogru.check(module)
    assert words in str(refused.value)


def forward(X, H, p):
    def step(H, x):
        Z = jax.nn.sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = jax.nn.sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        H = Z * H + (1 - Z) * jnp.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        return H, H

    return jax.lax.scan(step, H, X)[1]


def test_a_function_with_the_gradients_of_vjp():
    verdict = isogru.check(jax.jit(forward), cell="gru", gradients="auto", cases=["gru-ordinary"])
    assert verdict.verdict == "equal", verdict.report
    assert "[gru · jax/forward · float32 · cpu]" in verdict.worst.sentence(verdict.cases[0].evidence.result.origin)
    verdict = isogru.check(
        lambda X, H, p: jax.lax.stop_gradient(forward(X, H, p)),
        cell="gru", arrays="jax", gradients="auto", cases=["gru-ordinary"],
    )  # fmt: skip
    assert verdict.verdict == "different"
    with pytest.raises(UserError, match="JAX has float64 switched off"):
        isogru.check(forward, cell="gru", arrays="jax", dtype="float64")
    with pytest.raises(UserError, match="jax has no device 'cuda'"):
        isogru.check(forward, cell="gru", arrays="jax", device="cuda")


def test_modules_of_two_packages_are_the_same(tmp_path):
    made = isogru.convert(CELL, tmp_path / "torch.npz", to="torch", variables=(VARIABLES, None))
    assert made.tensors["weight_hh_l0"].shape == (12, 4)
    assert isogru.same(CELL, tmp_path / "torch.npz", variables=(VARIABLES, None)).verdict == "the same"
    other = nnx.GRUCell(5, 4, rngs=nnx.Rngs(0))
    assert isogru.same(CELL, other, variables=(VARIABLES, None)).verdict == "different"
    assert isogru.same(other, nnx.clone(other)).verdict == "the same"
