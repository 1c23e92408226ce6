"""Right GRUs by hand, forward and back, in the forms that libraries have: fused, hoisted, blocked, summed up late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.false_alarms.machines import Machine

INPUTS = ("apart", "bias first", "joined", "bias in", "hoisted")
"""How the argument of a gate is summed up: two products and a bias, or one product of both, or of all three."""
UPDATES = ("mixed", "towards", "from", "turned")
"""Z H + (1 - Z) C; C + Z (H - C); H + (1 - Z) (C - H); by the sigmoid of what is turned round."""
SLOPES = ("square", "factors", "one by one")
SUMS = ("each step", "at once", "in pairs")
"""Of gradients over time."""


@dataclass(frozen=True)
class Form:
    """In which form a GRU is computed."""

    machine: Machine
    inputs: str = "apart"
    update: str = "mixed"
    slopes: str = "square"
    sums: str = "each step"
    joined_back: bool = False
    """Whether what gates hand back goes through one product."""

    @property
    def label(self):
        """In words."""
        m = self.machine
        flush = ", flush" if m.flushes else ""
        back = ", joined back" if self.joined_back else ""
        forms = "; ".join((self.inputs, self.update, self.slopes, self.sums))
        return f"{m.order}, sigmoid {m.sigmoid}, tanh {m.tanh}{flush}; {forms}{back}"


def drawn(random, machine):
    """A form at random."""
    one_of = [kinds[random.randint(len(kinds))] for kinds in (INPUTS, UPDATES, SLOPES, SUMS)]
    return Form(machine, *one_of, bool(random.randint(2)))


class Gru:
    """A cell by its name, computed in a form."""

    def __init__(self, name, form):
        self.form, self.m = form, form.machine
        self.has_z, self.has_r = name in ("gru", "gru_reset_after", "gru_update_only"), "reset" in name or name == "gru"
        self.after = name == "gru_reset_after"

    def results(self, arrays):
        """All that a result holds, from all that a case does."""
        f = self.m.kept
        p = {name: f(np.ascontiguousarray(array).astype(self.m.dtype)) for name, array in arrays.items()}
        self.p, self.T = p, len(p["X"])
        with np.errstate(all="ignore"):
            self.hoisted = {}
            if self.form.inputs == "hoisted":
                T, n, d = p["X"].shape
                for g in "zrh":
                    if f"W_x{g}" in p:
                        all_at_once = self.m.product(p["X"].reshape(T * n, d), p[f"W_x{g}"])
                        self.hoisted[g] = f(all_at_once + p[f"b_{g}"]).reshape(T, n, -1)
            H, steps = p["H0"], []
            for t in range(self.T):
                steps.append(self.step(t, H))
                H = steps[-1]["new"]
            outputs = {"H": np.stack([s["new"] for s in steps]), "final": H.copy()}
            return outputs | self.back(steps) if "dH" in p else outputs

    def argument(self, t, x, left, g):
        """x W_xg + left W_hg + b_g."""
        f, p, how = self.m.kept, self.p, self.form.inputs
        W, U, b = p[f"W_x{g}"], p[f"W_h{g}"], p[f"b_{g}"]
        if how == "hoisted":
            return f(self.hoisted[g][t] + self.m.product(left, U))
        if how == "joined":
            return f(self.m.product(np.concatenate([x, left], 1), np.concatenate([W, U])) + b)
        if how == "bias in":
            ones = np.ones((len(x), 1), x.dtype)
            return self.m.product(np.concatenate([x, left, ones], 1), np.concatenate([W, U, b[None]]))
        if how == "bias first":
            return f(f(b + self.m.product(x, W)) + self.m.product(left, U))
        return f(f(self.m.product(x, W) + self.m.product(left, U)) + b)

    def step(self, t, H):
        """One step, with all that the way back needs."""
        f, m, p, x = self.m.kept, self.m, self.p, self.p["X"][t]
        one = x.dtype.type(1)
        r = m.of_sigmoid(self.argument(t, x, H, "r")) if self.has_r else None
        inner = None
        if self.after:
            inner = f(m.product(H, p["W_hh"]) + p["b_hh"])
            of_x = self.hoisted["h"][t] if self.hoisted else f(m.product(x, p["W_xh"]) + p["b_h"])
            c = m.of_tanh(f(of_x + f(r * inner)))
        else:
            inner = f(r * H) if self.has_r else H
            c = m.of_tanh(self.argument(t, x, inner, "h"))
        if not self.has_z:
            return {"H": H, "r": r, "inner": inner, "c": c, "z": None, "u": None, "new": c}
        a = self.argument(t, x, H, "z")
        if self.form.update == "turned":
            u = m.of_sigmoid(-a)
            z = f(one - u)
        else:
            z = m.of_sigmoid(a)
            u = f(one - z)
        if self.form.update == "towards":
            new = f(c + f(z * f(H - c)))
        elif self.form.update == "from":
            new = f(H + f(u * f(c - H)))
        else:
            new = f(f(z * H) + f(u * c))
        return {"H": H, "r": r, "inner": inner, "c": c, "z": z, "u": u, "new": new}

    def of_sigmoid_back(self, d, y, other):
        """d times the slope of a sigmoid that gave y, other being 1 - y."""
        f = self.m.kept
        if self.form.slopes == "square":
            return f(d * f(y - f(y * y)))
        if self.form.slopes == "factors":
            return f(d * f(y * other))
        return f(f(d * y) * other)

    def of_tanh_back(self, d, y):
        """d times the slope of a tanh that gave y."""
        f, one = self.m.kept, y.dtype.type(1)
        if self.form.slopes == "factors":
            return f(d * f(f(one - y) * f(one + y)))
        return f(d * f(one - f(y * y)))

    def back(self, steps):
        """Gradients of the sum of dH * H."""
        f, m, p = self.m.kept, self.m, self.p
        parts = {f"grad.{name}": [] for name in p if name not in ("X", "H0", "dH")}
        dX, carried = np.zeros_like(p["X"]), np.zeros_like(p["H0"])
        for t in reversed(range(self.T)):
            s, x = steps[t], p["X"][t]
            d = f(carried + p["dH"][t])
            to_gates, to_state = {}, []
            dc = d
            if self.has_z:
                H, c = s["H"], s["c"]
                dz = f(d * f(H - c)) if self.form.update in ("towards", "from") else f(f(d * H) - f(d * c))
                to_gates["z"] = self.of_sigmoid_back(dz, s["z"], s["u"])
                to_state.append(f(d * s["z"]))
                dc = f(d * s["u"])
            da = to_gates["h"] = self.of_tanh_back(dc, s["c"])
            if self.has_r:
                one = s["r"].dtype.type(1)
                if self.after:
                    through, dr = f(da * s["r"]), f(da * s["inner"])
                    to_state.append(m.product(through, p["W_hh"].T))
                    left = (s["H"], through)
                    parts["grad.b_hh"].append((None, through))
                else:
                    through = m.product(da, p["W_hh"].T)
                    dr = f(through * s["H"])
                    to_state.append(f(through * s["r"]))
                    left = (s["inner"], da)
                to_gates["r"] = self.of_sigmoid_back(dr, s["r"], f(one - s["r"]))
            else:
                to_state.append(m.product(da, p["W_hh"].T))
                left = (s["H"], da)
            parts["grad.W_hh"].append(left)
            for g, d_of in to_gates.items():
                parts[f"grad.W_x{g}"].append((x, d_of))
                parts[f"grad.b_{g}"].append((None, d_of))
                if g != "h":
                    parts[f"grad.W_h{g}"].append((s["H"], d_of))
            dX[t] = self.handed_back(to_gates, "x", tuple(to_gates))
            gates = [g for g in to_gates if g != "h"]
            if gates:
                to_state.append(self.handed_back(to_gates, "h", gates))
            carried = self.added(to_state)
        return {"grad.X": dX, "grad.H0": carried} | {name: self.summed(each) for name, each in parts.items()}

    def handed_back(self, to_gates, side, gates):
        """What gates hand back to the input or the state, through their weights."""
        weights = [self.p[f"W_{side}{g}"].T for g in gates]
        if self.form.joined_back:
            return self.m.product(np.concatenate([to_gates[g] for g in gates], 1), np.concatenate(weights))
        return self.added([self.m.product(to_gates[g], W) for g, W in zip(gates, weights, strict=True)])

    def added(self, arrays):
        total = arrays[0]
        for each in arrays[1:] if self.form.slopes == "square" else arrays[:0:-1]:
            total = self.m.kept(total + each)
        return total

    def summed(self, pairs):
        """The sum over all steps of left' right; of the rows of right where there is no left."""

        def one(left, right):
            left = np.ones((len(right), 1), right.dtype) if left is None else left
            return self.m.product(np.ascontiguousarray(left.T), right)

        bias = pairs[0][0] is None
        if self.form.sums == "at once":
            left = None if bias else np.concatenate([each for each, _ in pairs])
            total = one(left, np.concatenate([each for _, each in pairs]))
        else:
            terms = [one(left, right) for left, right in pairs]
            if self.form.sums == "in pairs":
                while len(terms) > 1:
                    rest = terms[len(terms) // 2 * 2 :]
                    terms = [self.m.kept(a + b) for a, b in zip(terms[::2], terms[1::2], strict=False)] + rest
            total = terms[0]
            for each in terms[1:]:
                total = self.m.kept(total + each)
        return total[0] if bias else total
