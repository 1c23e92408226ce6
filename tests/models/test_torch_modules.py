"""Modules and functions of PyTorch, judged in this process: right ones are equal, planted faults are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isogru
from shared_spec import cells
from shared_spec.errors import UserError

FEW = ["ordinary", "drawn_weights"]


@pytest.fixture(autouse=True)
def _own_results(results):
    torch.manual_seed(0)


class Mine(torch.nn.Module):
    """A GRU by hand with torch.nn.GRU's weights, and one fault."""

    def __init__(self, fault=""):
        super().__init__()
        for name, parameter in torch.nn.GRU(5, 4).named_parameters():
            setattr(self, name, parameter)
        self.fault = fault

    def forward(self, X, H0):
        H, states = H0[0], []
        for x in X:
            if self.fault == "truncated":
                H = H.detach()
            r_x, z_x, n_x = (x @ self.weight_ih_l0.T + self.bias_ih_l0).chunk(3, -1)
            r_h, z_h, n_h = (H @ self.weight_hh_l0.T + self.bias_hh_l0).chunk(3, -1)
            if self.fault == "gates":
                r_h, z_h = z_h, r_h
            R, Z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            if self.fault == "detached":
                R = R.detach()
            if self.fault == "reset":
                n_h, R = (R * H) @ self.weight_hh_l0[8:].T + self.bias_hh_l0[8:], 1
            C = torch.tanh(n_x + R * n_h)
            if self.fault == "dropout":
                C = torch.nn.functional.dropout(C, 0.5)
            H = Z * C + (1 - Z) * H if self.fault == "update" else Z * H + (1 - Z) * C
            states.append(H)
        return torch.stack(states), H[None]


def test_gates_at_their_ends_are_drawn_until_float32_can_hold_their_gradients():
    """The first draw of that case for these sizes has gradients that rounding alone moves by as much as they are."""
    assert isogru.check(torch.nn.GRU(3, 4), cases=["drawn_saturated"]).verdict == "equal"


class Held(torch.nn.Module):
    """What torch.jit.script needs: a module that calls the layer."""

    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(5, 4, batch_first=True)

    def forward(self, X: torch.Tensor, H0: torch.Tensor):
        return self.gru(X, H0)


class Loop(torch.nn.Module):
    """A module that goes through the steps itself, over a cell that it holds."""

    def __init__(self, fault="", *, batch_first=False):
        super().__init__()
        self.cell, self.fault, self.batch_first = torch.nn.GRUCell(5, 4), fault, batch_first

    def forward(self, X, H):
        states = []
        for x in X.transpose(0, 1) if self.batch_first else X:
            state = self.cell(x, H.detach() if self.fault == "detached" else H)
            H = H if self.fault == "not carried" else state
            states.append(state)
        return torch.stack(states, dim=1 if self.batch_first else 0)


class Whole(torch.nn.Module):
    """The same in nn.GRU's own form: H0 (1, n, h) in, all states and the last ones (1, n, h) out. Given rows alone it
    goes through these.
    """

    def __init__(self, cell, *, batch_first=False):
        super().__init__()
        self.cell, self.batch_first = cell, batch_first

    def forward(self, X, H0):
        H, states = H0[0], []
        for x in X.transpose(0, 1) if self.batch_first else X:
            H = self.cell(x, H)
            states.append(H)
        return torch.stack(states, dim=1 if self.batch_first else 0), H[None]


class Step(torch.nn.Module):
    """One step with the weights of a cell that it holds, which takes arrays with more axes, too."""

    def __init__(self):
        super().__init__()
        self.cell = torch.nn.GRUCell(5, 4)

    def forward(self, x, H):
        given = torch.nn.functional.linear(x, self.cell.weight_ih, self.cell.bias_ih).chunk(3, -1)
        kept = torch.nn.functional.linear(H, self.cell.weight_hh, self.cell.bias_hh).chunk(3, -1)
        R, Z = (torch.sigmoid(a + b) for a, b in zip(given[:2], kept[:2], strict=True))
        return (1 - Z) * torch.tanh(given[2] + R * kept[2]) + Z * H


def traced(*inputs):
    return torch.jit.trace(torch.nn.GRU(5, 4), inputs)


def exported(*inputs):
    return torch.export.export(torch.nn.GRU(5, 4), inputs)


def without_numbers():
    gru = torch.nn.GRU(5, 4).requires_grad_(False)
    gru.weight_hh_l0[0, 0] = torch.nan
    return gru


MODULES = {
    "gru": (lambda: torch.nn.GRU(5, 4), "gru_reset_after", 7),
    "batch first": (lambda: torch.nn.GRU(5, 4, batch_first=True), "gru_reset_after", 2),
    "both ways": (lambda: torch.nn.GRU(5, 4, bidirectional=True), "gru_reset_after", 4),
    "without bias": (lambda: torch.nn.GRU(5, 4, bias=False).double(), "gru_reset_after", 7),
    "frozen": (lambda: torch.nn.GRU(5, 4).requires_grad_(False), "gru_reset_after", 2),
    "cell": (lambda: torch.nn.GRUCell(5, 4), "gru_reset_after", 2),
    "rnn": (lambda: torch.nn.RNN(5, 4), "rnn", 7),
    "float16": (lambda: torch.nn.GRU(5, 4).half(), "gru_reset_after", 7),
    "mine": (Mine, "gru_reset_after", 2),
    "compiled": (lambda: torch.compile(torch.nn.GRU(5, 4), backend="eager"), "gru_reset_after", 2),
    "scripted": (lambda: torch.jit.script(Held()), "gru_reset_after", 2),
    "scripted cell": (lambda: torch.jit.script(torch.nn.GRUCell(5, 4)), "gru_reset_after", 2),
    "traced": (lambda: traced(torch.zeros(7, 3, 5), torch.zeros(1, 3, 4)), "gru_reset_after", 7),
    # Those have lengths, and one a start, of their own.
    "exported": (lambda: exported(torch.zeros(6, 2, 5), torch.zeros(1, 2, 4)), "gru_reset_after", 6),
    "exported without H0": (lambda: exported(torch.zeros(6, 2, 5)), "gru_reset_after", 5),
    # Each layer by itself, and the upper one in the stack, with its own weights.
    "stack": (lambda: torch.nn.GRU(5, 4, num_layers=2, bidirectional=True), "gru_reset_after", 4 * 2 + 2 * 1),
}
"""The module, the cell that it is, and of how many cases it is judged: where they are few, on those of FEW."""


@pytest.mark.filterwarnings("ignore")  # Scripting and tracing are deprecated, and export says what it does.
@pytest.mark.parametrize("name", MODULES)
def test_a_right_module_is_equal_and_is_left_as_it_was(name):
    make, cell, count = MODULES[name]
    module = make()
    state = module.state_dict if isinstance(module.state_dict, dict) else module.state_dict()
    before = {key: tensor.clone() for key, tensor in state.items()}
    verdict = isogru.check(module, cases=None if 5 <= count <= 7 else FEW)
    assert (verdict.verdict, verdict.cell) == ("equal", cell), verdict.report
    assert len(verdict.cases) == count
    assert verdict.sentence.startswith(
        f"equal to {verdict.cell} in {verdict.dtype}: states and gradients of {count} cases"
    )
    quantities = {each.quantity for each in verdict.cases[0].findings}
    assert {"H", "final", "grad.X", "grad.W_hh"} <= quantities
    assert ("grad.b_h" in quantities) == (name != "without bias")
    assert all(torch.equal(tensor, before[key]) for key, tensor in state.items())
    if name == "frozen":
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_loop_over_a_cell(batch_first):
    given = {"batch_first": True} if batch_first else {}
    verdict = isogru.check(Loop(batch_first=batch_first), cases=FEW, **given)
    assert (verdict.verdict, len(verdict.cases)) == ("equal", 2), verdict.report


@pytest.mark.parametrize("how", ["whole", "whole, batch first", "whole, by hand", "step by hand"])
def test_what_goes_through_the_steps_is_told_by_what_comes_back(how):
    """All of these take (n, d) and (n, h) as well as sequences, or seem to."""
    batch_first = how == "whole, batch first"
    cell = Step() if "hand" in how else torch.nn.GRUCell(5, 4)
    module = cell if how == "step by hand" else Whole(cell, batch_first=batch_first)
    given = {"batch_first": True} if batch_first else {}
    verdict = isogru.check(module, cases=FEW, **given)
    assert (verdict.verdict, len(verdict.cases)) == ("equal", 2), verdict.report


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("not carried", "why: equal if the state is not carried on: every step starts from H0"),
        ("detached", "why: equal if no gradient flows from a state to the step before, nor to H0"),
    ],
)
def test_a_fault_of_a_loop_is_named(fault, words):
    with pytest.raises(AssertionError) as failure:
        isogru.assert_equal(Loop(fault), cases=FEW)
    assert words in str(failure.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gates", "why: equal if the gates r and z are exchanged in W_h and the second bias"),
        ("reset", "why: equal if the reset gate acts before the product with W_hh, not after it"),
        ("update", "why: equal if the update gate is turned round"),
        ("detached", "why: equal if no gradient flows through R"),
        ("truncated", "why: equal if no gradient flows from a state to the step before, nor to H0"),
        ("dropout", "no function of its arguments"),
    ],
)
def test_a_planted_fault_is_named(fault, words):
    with pytest.raises(AssertionError) as failure:
        isogru.assert_equal(Mine(fault), cases=FEW)
    assert words in str(failure.value)
    assert "note: Mine is read as torch.nn.GRU (torch, reset gate after the product; d = 5, h = 4)" in str(
        failure.value
    )


def test_a_module_that_is_another_cell():
    """Its second bias of the candidate stands outside of the reset gate, and is added to the first."""
    verdict = isogru.check(Mine("reset"), cell="gru", cases=FEW)
    assert (verdict.verdict, verdict.cell) == ("equal", "gru"), verdict.report
    assert {"grad.b_h", "grad.b_hh"} <= {each.quantity for each in verdict.cases[0].findings}
    verdict = isogru.check(Mine(), cell="gru", cases="ordinary")
    assert verdict.verdict == "different"
    assert verdict.explain().sentence.startswith(
        "equal if the reset gate acts after the product with W_hh, not before it"
    )
    with pytest.raises(UserError, match="Mine has W_xr not zero, and gru_update_only has no W_xr: claim another cell"):
        isogru.check(Mine(), cell="gru_update_only")


class Named(torch.nn.Module):
    """With the specification's own names, called with H0 (n, h), and giving H alone."""

    def __init__(self):
        super().__init__()
        for name, symbols in cells.cell("gru").parameters.items():
            self.register_parameter(name, torch.nn.Parameter(torch.randn([{"d": 5, "h": 4}[s] for s in symbols]) / 2))

    def forward(self, X, H0):
        return forward(X, H0, dict(self.named_parameters()))[0]


def test_a_module_with_the_names_of_the_specification():
    verdict = isogru.check(Named(), cases=FEW)
    assert (verdict.verdict, verdict.cell) == ("equal", "gru"), verdict.report


def test_weights_that_cannot_be_put_in_are_its_own():
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.GRU(5, 4), "weight_hh_l0")
    verdict = isogru.check(module, cases="ordinary")
    assert verdict.verdict == "equal", verdict.report
    assert "grad.W_hh" not in {each.quantity for each in verdict.cases[0].findings}
    assert any(note.startswith("no other weights could be put into") for note in verdict.notes)


def test_dropout_between_layers_that_is_on():
    stack = torch.nn.GRU(5, 4, num_layers=2, dropout=0.5)
    assert "no function of its arguments" in isogru.check(stack, cases="ordinary").sentence
    assert isogru.check(stack.eval(), cases="ordinary").verdict == "equal"


def test_references_of_ones_own_weights_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOGRU_REFERENCE", str(tmp_path))
    isogru.check(torch.nn.GRU(5, 4), cases="ordinary")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.nn.LSTM(5, 4), "LSTM is an LSTM, which is not judged"),
        (lambda: torch.nn.Linear(5, 4), "no recurrent layer was recognised by the names of its weights (weight, bias)"),
        (lambda: torch.nn.RNN(5, 4, nonlinearity="relu"), "RNN has the nonlinearity relu"),
        (lambda: torch.nn.Sequential(torch.nn.GRU(5, 4), torch.nn.Linear(4, 2)), "holds more than a recurrent layer"),
        (lambda: torch.nn.ModuleList([torch.nn.GRU(5, 4), torch.nn.GRU(4, 4)]), "check each by itself"),
        (lambda: torch.nn.GRU(5, 4, device="meta"), "the weight weight_ih_l0 cannot be read: Cannot copy out of meta"),
        (lambda: without_numbers(), "GRU: weight_hh_l0[0, 0] is nan; weights are finite numbers"),
        (lambda: torch.nn.GRU(5, 4).to(dtype=torch.float8_e5m2), "GRU computes in float8_e5m2; modules are judged in"),
    ],
)
def test_modules_that_are_not_judged(make, words):
    with pytest.raises(UserError) as refused:
        isogru.check(make())
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"dtype": "float64"}, "GRU computes in float32, and float64 is asked for"),
        ({"arrays": "torch"}, "a module has arrays and a device of its own"),
        ({"gradients": abs}, "a module's gradients come from its framework"),
        ({"cases": ["nothing"]}, "no case 'nothing' of a module; its cases are ordinary, zero_start"),
        ({"cases": []}, "no case chosen"),
        ({"layout": "keras"}, "its weights (weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0) are none of keras"),
    ],
)
def test_requests_about_a_module_that_are_wrong(asked, words):
    with pytest.raises(UserError) as refused:
        isogru.check(torch.nn.GRU(5, 4), **asked)
    assert words in str(refused.value)


def test_the_direction_and_the_batch_are_those_that_are_said():
    """A reverse layer read as a forward one, and batch and time exchanged, are seen."""
    gru = torch.nn.GRU(5, 4, bidirectional=True)
    forward = gru.forward
    gru.forward = lambda X, H0: forward(X.flip(0), H0)
    verdict = isogru.check(gru, gradients=False, cases="ordinary")
    assert [each.verdict for each in verdict.cases] == ["different", "different"]
    assert isogru.check(torch.nn.GRU(5, 4), batch_first=True, cases="ordinary").verdict == "failed"


def test_a_fault_between_the_layers_of_a_stack_is_seen():
    stack = torch.nn.GRU(5, 4, num_layers=2)
    forward = stack.forward
    stack.forward = lambda X, H0: forward(X.roll(1, 0), H0)
    verdict = isogru.check(stack, gradients=False, cases="ordinary")
    assert {each.case: each.verdict for each in verdict.cases} == {
        "l0 ordinary": "equal",
        "l1 ordinary": "equal",
        "l1 in the stack ordinary": "different",
    }


# Functions of torch's arrays.


def step(X, H, p):
    Z = torch.sigmoid(X @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
    R = torch.sigmoid(X @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
    C = torch.tanh(X @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
    return Z * H + (1 - Z) * C


def forward(X: torch.Tensor, H: torch.Tensor, p):
    states = []
    for x in X:
        H = step(x, H, p)
        states.append(H)
    return torch.stack(states), H


CASES = ["gru-ordinary", "gru-zero_start"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_function_with_the_gradients_of_autograd(dtype):
    verdict = isogru.check(forward, cell="gru", gradients="auto", dtype=dtype, cases=CASES)
    assert verdict.verdict == "equal", verdict.report
    assert {"H", "final", "grad.X", "grad.H0", "grad.W_hr"} <= {each.quantity for each in verdict.cases[0].findings}
    assert "[gru · torch/forward · " in verdict.worst.sentence(verdict.worst_case.evidence.result.origin)


def test_a_compiled_function_takes_torchs_arrays():
    compiled = torch.compile(lambda X, H, p: forward(X, H, p), backend="eager")
    verdict = isogru.check(compiled, cell="gru", gradients="auto", cases=CASES[:1])
    assert verdict.verdict == "equal", verdict.report


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda H: H.transpose(0, 1), "H has shape (3, 7, 4), should be (T, n, h) = (7, 3, 4)"),
        (lambda H: H.double(), "H is float64, should be float32"),
        (lambda H: None, "H is NoneType, should be an array of numbers"),
        (lambda H: H.to("meta"), "H is on meta, should be on cpu"),
        (lambda H: H.detach(), "H has no gradient: it is detached from everything that it is computed from"),
        (lambda H: H.detach().numpy(), "H has no gradient: it is detached from everything that it is computed from"),
        (lambda H: H + torch.rand(()), "no function of its arguments: H[0,0,0] = "),
        (lambda H: H * torch.nan, "different: gru-ordinary: H[0,0,0] = nan"),
        (lambda H: H[0, 0, 7], "IndexError: index 7 is out of bounds"),
    ],
)
def test_what_bad_functions_give_is_told(bad, words):
    verdict = isogru.check(
        lambda X, H, p: bad(forward(X, H, p)[0]), cell="gru", arrays="torch", gradients="auto", cases=CASES[:1]
    )
    assert words in verdict.sentence


def test_a_view_of_the_input_and_a_change_in_place_do_no_harm():
    def in_place(X, H, p):
        states = forward(X.clone(), H.clone(), p)[0]
        X.zero_()
        H.zero_()
        return states

    assert isogru.check(in_place, cell="gru", arrays="torch", gradients="auto", cases=CASES[:1]).verdict == "equal"

    def in_its_input(X, H, p):
        states = X.new_empty(*X.shape[:2], H.shape[1])
        states[:] = forward(X, H, p)[0]
        return states[:]

    assert isogru.check(in_its_input, cell="gru", arrays="torch", cases=CASES[:1]).verdict == "equal"


def test_a_device_that_is_not_there():
    with pytest.raises(UserError, match="torch has no device 'nowhere'"):
        isogru.check(forward, cell="gru", arrays="torch", device="nowhere")
    verdict = isogru.check(lambda X, H, p: forward(X, H, p)[0].cpu(), cell="gru", arrays="torch", cases=CASES[:1])
    assert verdict.verdict == "equal"


def test_the_command_judges_a_module(command, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import torch\ntorch.manual_seed(0)\nlayer = torch.nn.GRU(5, 4)\n")
    done = command("isogru", "check", f"{file}:layer", "--case", "ordinary")
    assert (done.returncode, done.stderr) == (0, "")
    _, note, sentence = done.stdout.splitlines()
    assert note == "GRU is read as torch.nn.GRU (torch, reset gate after the product; d = 5, h = 4)"
    assert sentence.startswith("equal to gru_reset_after in float32: states and gradients of 1 case, ")
    ignored = "run = layer.forward\nlayer.forward = lambda X, H0: run(X, 0 * H0)\n"
    file.write_text(file.read_text() + ignored)
    done = command("isogru", "check", f"{file}:layer", "--case", "ordinary", "--why")
    assert done.returncode == 1
    assert "why: equal if the start state H0 is ignored" in done.stdout


def test_same_and_convert_of_modules(tmp_path):
    one, other = torch.nn.GRU(3, 4, num_layers=2), torch.nn.GRU(3, 4, num_layers=2)
    assert isogru.same(one, other).verdict == "different"
    other.load_state_dict(one.state_dict())
    assert isogru.same(one, other).verdict == "the same"
    torch.save(one.state_dict(), tmp_path / "one.pt")
    assert isogru.same(tmp_path / "one.pt", other).verdict == "the same"
    isogru.convert(torch.nn.GRU(3, 4), tmp_path / "keras.npz", to="keras")
    assert set(np.load(tmp_path / "keras.npz")) == {"kernel", "recurrent_kernel", "bias"}
    fresh = torch.nn.GRU(3, 4, num_layers=2)
    made = isogru.convert(tmp_path / "one.pt", into=fresh)
    fresh.load_state_dict({name: torch.from_numpy(array) for name, array in made.tensors.items()})
    assert isogru.same(one, fresh).verdict == "the same"
