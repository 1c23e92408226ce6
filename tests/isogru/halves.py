"""GRUs in float16 and bfloat16, by loops of our own that round after every operation: nothing here is isogru's."""

from __future__ import annotations

import numpy as np

BITS = {"float16": 11, "bfloat16": 8}
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38}
LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
"""The smallest positive number, and the step between those that are not normal."""


def rounded(array, dtype):
    """To nearest, to even in the middle, of float64; infinite beyond the format."""
    array = np.asarray(array, np.float64)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(array)
        step = np.maximum(np.ldexp(1.0, exponent - BITS[dtype]), LEAST[dtype])
        numbers = np.where(np.isfinite(array), np.rint(array / step) * step, array)
        return np.where(np.abs(numbers) > LARGEST[dtype], np.copysign(np.inf, numbers), numbers)


class Half:
    """Arithmetic in a format; products summed up in float32, or in the format itself, term after term."""

    def __init__(self, dtype, *, narrow_sums=False):
        self.dtype, self.narrow_sums = dtype, narrow_sums

    def __call__(self, array):
        return rounded(array, self.dtype)

    def product(self, a, b):
        if not self.narrow_sums:
            return self((a.astype(np.float32) @ b.astype(np.float32)).astype(np.float64))
        total = np.zeros((len(a), b.shape[1]))
        for k in range(a.shape[1]):
            total = self(total + self(a[:, k : k + 1] * b[k]))
        return total

    def gate(self, x, H, p, name):
        total = self(self.product(x, p[f"W_x{name}"]) + self.product(H, p[f"W_h{name}"]))
        return self(1 / (1 + np.exp(-self(total + p[f"b_{name}"]))))

    def states(self, arrays, *, after, turned=False):
        """All states (T, n, h) as float64; reset gate before or after, the update gate as it is or turned round."""
        p = {name: self(array) for name, array in arrays.items()}
        H, states = p["H0"], []
        for x in p["X"]:
            with np.errstate(all="ignore"):
                z, r = self.gate(x, H, p, "z"), self.gate(x, H, p, "r")
                if after:
                    recurrent = self(self.product(H, p["W_hh"]) + p.get("b_hh", 0.0))
                    c = self(self(self.product(x, p["W_xh"]) + p["b_h"]) + self(r * recurrent))
                else:
                    c = self(self.product(x, p["W_xh"]) + self.product(self(r * H), p["W_hh"]))
                    c = self(c + p["b_h"])
                c, other = self(np.tanh(c)), self(1 - z)
                H = self(self(z * c) + self(other * H)) if turned else self(self(z * H) + self(other * c))
            states.append(H)
        return np.stack(states)

    def results(self, arrays, *, after, lost=0.0):
        """States and the gradients of the sum of dH * H, by hand; a part of the candidate's gradient may be lost."""
        p = {name: self(array) for name, array in arrays.items()}
        H = self.states(arrays, after=after)
        gradients = {f"grad.{name}": np.zeros(p[name].shape) for name in p if name != "dH"}
        d, one = np.zeros_like(p["H0"]), np.ones((1, len(p["H0"])))

        def add(name, part):
            gradients[f"grad.{name}"] = self(gradients[f"grad.{name}"] + part)

        for t in reversed(range(len(H))):
            x, before, d = p["X"][t], H[t - 1] if t else p["H0"], self(d + p["dH"][t])
            z, r = self.gate(x, before, p, "z"), self.gate(x, before, p, "r")
            inner = self(self.product(before, p["W_hh"]) + p["b_hh"]) if after else self(r * before)
            product = self(r * inner) if after else self.product(inner, p["W_hh"])
            c = self(np.tanh(self(self(self.product(x, p["W_xh"]) + p["b_h"]) + product)))
            dz = self(self(d * self(before - c)) * self(z * self(1 - z)))
            dc = self(self((1 - lost) * self(d * self(1 - z))) * self(1 - self(c * c)))
            to_inner = self(dc * r) if after else self.product(dc, p["W_hh"].T)
            dr = self(self(dc * inner if after else to_inner * before) * self(r * self(1 - r)))
            back = self.product(to_inner, p["W_hh"].T) if after else self(to_inner * r)
            back = self(back + self(d * z))
            for name, da in (("z", dz), ("r", dr), ("h", dc)):
                add(f"W_x{name}", self.product(x.T, da))
                add(f"b_{name}", self.product(one, da)[0])
                gradients["grad.X"][t] = self(gradients["grad.X"][t] + self.product(da, p[f"W_x{name}"].T))
            for name, da in (("z", dz), ("r", dr)):
                add(f"W_h{name}", self.product(before.T, da))
                back = self(back + self.product(da, p[f"W_h{name}"].T))
            add("W_hh", self.product(before.T, to_inner) if after else self.product(inner.T, dc))
            if after:
                add("b_hh", self.product(one, to_inner)[0])
            d = back
        gradients["grad.H0"] = d
        return {"H": H, "final": H[-1].copy(), **gradients}
