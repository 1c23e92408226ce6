"""A GRU in NumPy, forward and back, as a program: python gru.py CASE.npz RESULT.npz"""

import sys

import numpy as np


def sigmoid(a):
    with np.errstate(over="ignore"):  # exp(-a) is infinite where the gate is shut: 1 / (1 + inf) is 0, as it should be.
        return 1 / (1 + np.exp(-a))


def forward(X, H, p):
    """X (T, n, d), H (n, h) -> all states (T, n, h), and what each step needs on the way back."""
    states, steps = [], []
    for x in X:
        Z = sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        C = np.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        steps.append((x, H, Z, R, C))
        H = Z * H + (1 - Z) * C
        states.append(H)
    return np.stack(states), steps


def backward(steps, dH, p):
    """dH (T, n, h), the cotangent of every state -> gradients by name."""
    grad, back, dX = {name: np.zeros_like(array) for name, array in p.items()}, 0, []
    for (x, H, Z, R, C), of_state in zip(steps[::-1], dH[::-1], strict=True):
        g = of_state + back
        dC = g * (1 - Z) * (1 - C * C)
        dZ = g * (H - C) * Z * (1 - Z)
        reset = dC @ p["W_hh"].T
        dR = reset * H * R * (1 - R)
        for gate, d, hidden in (("z", dZ, H), ("r", dR, H), ("h", dC, R * H)):
            grad[f"W_x{gate}"] += x.T @ d
            grad[f"W_h{gate}"] += hidden.T @ d
            grad[f"b_{gate}"] += d.sum(0)
        dX.append(dZ @ p["W_xz"].T + dR @ p["W_xr"].T + dC @ p["W_xh"].T)
        back = g * Z + reset * R + dZ @ p["W_hz"].T + dR @ p["W_hr"].T
    return {"X": np.stack(dX[::-1]), "H0": back, **grad}


def main(case_file, result_file):
    p = dict(np.load(case_file))
    X, H0, dH = p.pop("X"), p.pop("H0"), p.pop("dH", None)  # Parameters are left.
    H, steps = forward(X, H0, p)
    grad = {} if dH is None else {f"grad.{name}": array for name, array in backward(steps, dH, p).items()}
    np.savez(result_file, H=H, **grad)


if __name__ == "__main__":
    main(*sys.argv[1:])
