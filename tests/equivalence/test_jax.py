"""What only JAX decides by itself, on a CPU and, pretended, on a GPU."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from frameworks.jax import tuned


@pytest.mark.parametrize(("on_cpu", "rows"), [(True, {128}), (False, {1024})])
def test_a_cpu_goes_through_the_batch_in_parts_and_a_gpu_takes_it_whole(monkeypatch, on_cpu, rows):
    monkeypatch.setattr(tuned, "_on_cpu", lambda: on_cpu)
    seen = set()

    def mean(inputs, targets):
        seen.add(len(inputs))
        return jnp.mean(1.0 * inputs * targets)

    inputs = jnp.arange(1024 * 32).reshape(1024, 32) % 28
    assert tuned._by_parts(mean, inputs, inputs) == pytest.approx(float(jnp.mean(1.0 * inputs * inputs)), rel=1e-5)
    assert seen == rows


@pytest.mark.parametrize(("on_cpu", "shares"), [(True, 2), (False, 1)])
def test_a_cpu_has_a_share_of_the_batch_for_each_core_and_a_gpu_one(monkeypatch, on_cpu, shares):
    monkeypatch.setattr(tuned, "_on_cpu", lambda: on_cpu)
    monkeypatch.setattr(tuned, "_threads", lambda: 2)
    seen = []

    def gradients(parameters, inputs, targets):
        seen.append(len(inputs))
        return jnp.mean(1.0 * inputs), {"w": parameters["w"]}

    step = tuned._side_by_side(gradients, lambda parameters, total: (total, 0.0))
    step({"w": jnp.ones(3)}, jnp.ones((6, 2)), jnp.ones((6, 2)))
    # Traced once: the shares have one shape.
    assert seen == [6 // shares]
