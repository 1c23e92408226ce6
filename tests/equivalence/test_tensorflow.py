"""What is TensorFlow's alone."""

from __future__ import annotations

import pytest

from frameworks.harness.run import run
from frameworks.protocol import find
from frameworks.tensorflow import tuned
from isogru import judge
from shared_spec import frameworks, language_model
from shared_spec.files.interchange import TrainingCase


@pytest.mark.parametrize("name", frameworks.native_cells())
def test_a_training_of_many_tokens_goes_through_steps_and_is_equal(framework, name, text, monkeypatch, results):
    monkeypatch.setattr(tuned, "MANY", 1)
    scanned = []
    scan = tuned.tf.scan
    monkeypatch.setattr(tuned.tf, "scan", lambda *of: (scanned.append(name), scan(*of))[1])
    sizes = {"num_hiddens": 8, "num_steps": 6, "num_train": 128, "num_val": 64, "batch_size": 64, "epochs": 2}
    recipe = language_model.recipe(name, start="uniform", **sizes)
    case = TrainingCase(f"short-training-{name}", language_model.problem(recipe, text))
    # A constructor keeps what it has made, traced for another size of MANY.
    tuned.TUNED[name][0].cache_clear()
    verdict = judge.on(
        case, run(framework, find(framework, "tuned", name, "float32"), case, dtype="float32", device="cpu")
    )
    tuned.TUNED[name][0].cache_clear()
    assert verdict.verdict == "equal", verdict.worst_finding.sentence(verdict.origin)
    assert scanned
