"""Cells that the specification does not have, for what has to work with any: other names and senses, more, or fewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared_spec import cells

EQUATIONS: Mapping[str, list[str]] = {
    # The minimal gated unit: Zhou et al. 2016, arXiv:1603.09420.
    "minimal": [
        "F = sigmoid(X @ W_xf + H @ W_hf + b_f)",
        "C = tanh(X @ W_xh + (F * H) @ W_hh + b_h)",
        "H = (1 - F) * H + F * C",
    ],
    "odd": [
        "pre = X @ U_p + H @ V_p + c_p",
        "keep = sigmoid(pre)",
        "look = sigmoid(X @ U_q + H @ V_q + c_q)",
        "new = tanh(X @ U + (look * H) @ V + c)",
        "H = H - keep * (H - new)",
    ],
    "without_biases": [
        "Z = sigmoid(X @ W_xz + H @ W_hz)",
        "R = sigmoid(X @ W_xr + H @ W_hr)",
        "C = tanh(X @ W_xh + (R * H) @ W_hh)",
        "H = Z * H + (1 - Z) * C",
    ],
    "linear": ["F = sigmoid(X @ W_xf + b_f)", "H = F * H + (1 - F) * (X @ W_x)"],
    "blind": [
        "Z = sigmoid(H @ W_hz + b_z)",
        "C = tanh(X @ W_xh + H @ W_hh + b_h)",
        "H = Z * H + (1 - Z) * C",
    ],
    "tanh_of_tanh": [
        "O = sigmoid(X @ W_xo + H @ W_ho + b_o)",
        "G = tanh(X @ W_xg + H @ W_hg + b_g)",
        "H = O * tanh(G)",
    ],
    "squeezed": ["H = sigmoid(X @ W_xh + H @ W_hh + b_h)"],
    "cancelling": ["F = sigmoid(X @ W_xf + b_f)", "H = (1 - F) * H - F * H"],
    # Its gate comes out as 1 - F alone.
    "leaky": ["F = sigmoid(X @ W_xf + b_f)", "H = (1 - F) * H"],
}


def table(name: str, equations: list[str]) -> str:
    """A cell as a table of cells.toml; the shapes of its parameters follow from their first letter and, of weights,
    from what stands before them.
    """
    words = dict.fromkeys(" ".join(equations).replace("(", " ").replace(")", " ").split())
    texts = " ".join(equations)
    shapes = {w: ["d", "h"] for w in words if f"X @ {w}" in texts}
    shapes |= {w: ["h", "h"] for w in words if f"H @ {w}" in texts or f"H) @ {w}" in texts}
    shapes |= {w: ["h"] for w in words if w[0] in "bc" and w not in shapes}
    lines = [f"[{name}]", f'title = "{name}"', f"equations = {equations!r}", f"[{name}.parameters]"]
    return "\n".join([*lines, *(f"{w} = {shapes[w]!r}" for w in words if w in shapes), ""])


def written(folder: Path) -> Mapping[str, cells.Cell]:
    """All of them, read from a file that is written there."""
    file = folder / "cells.toml"
    file.write_text("\n".join([f'format = "{cells.FORMAT}"', *(table(*each) for each in EQUATIONS.items())]))
    return cells.cells(file)
