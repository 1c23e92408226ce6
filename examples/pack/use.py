"""A GRU held against the golden cases, with NumPy and nothing else: python use.py FOLDER CELL GRU.py

GRU.py has forward(X, H0, weights) -> states (T, n, h) and what the way back needs, and may have
backward(steps, dH, weights) -> gradients by name.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np


def results(gru, given):
    X, H0, dH = (given.pop(name) for name in ("X", "H0", "dH"))  # The weights are left.
    H, steps = gru.forward(X, H0, given)
    pulled = gru.backward(steps, dH, given) if hasattr(gru, "backward") else {}
    return {"H": H, **{f"grad.{name}": array for name, array in pulled.items()}}


def judge(gru, case, dtype):
    """The quantity that is furthest out, and the largest |result - expected| / bound."""
    held = dict(np.load(case))
    made = results(gru, {name: array.astype(dtype) for name, array in held.items() if "." not in name})
    off = {k: np.abs(np.float64(a) - held[f"expected.{k}"]) / held[f"bound.{dtype}.{k}"] for k, a in made.items()}
    worst = {name: np.nan_to_num(ratio, nan=np.inf).max() for name, ratio in off.items()}
    return max(worst.items(), key=lambda item: item[1])


folder, cell, file = sys.argv[1:]
spec = importlib.util.spec_from_file_location("gru", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
wrong = False
for case in json.loads((Path(folder) / "pack.json").read_text())["cases"]:
    for dtype in ("float32", "float64") if case["cell"] == cell else ():
        quantity, ratio = judge(module, Path(folder) / f"{case['name']}.npz", dtype)
        wrong = wrong or bool(ratio > 1)
        print(f"{'wrong' if ratio > 1 else 'right'}: {case['name']} in {dtype}: {quantity}, ratio {ratio:.2g}")
sys.exit(wrong)
