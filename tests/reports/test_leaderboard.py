"""From passes to rankings: intervals, ranks, bounds, break-even, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs
from rich.console import Console

from isogru.judge.comparison import EQUAL
from reports.pages import render, schema, terminal
from reports.race import against, leaderboard, paired, roofline, standings
from reports.race.records import Leaderboard, Row
from shared_spec.errors import UserError
from shared_spec.race import rows, workloads
from shared_spec.race.workloads import Workload

PUBLISHED = Path(schema.__file__).parents[1] / "published"
WORKLOAD = "training-step-chapter-gru-float32"
LIMITS = rows.Reached(
    product=5e11,
    function=4e9,
    cache=1e11,
    memory=4e10,
    issue=1e-6,
    step=((1024, 32, 32, 1e-5), (1024, 32, 64, 2e-5), (1024, 32, 96, 3e-5)),
)
KNOWN = {"versions": {"lib": "1"}, "switches": {}, "machine": {"processor": "one", "cores": "2"}, "corpus": "built-in"}


def record(seconds, **changes):
    known = {"verdict": EQUAL, "ratio": 0.1, "error": 1e-7, "seconds": (seconds,), "first": 1.0, "issue": 1e-4}
    return rows.Outcome(**known | changes)


def write(folder, framework, number, those, *, done=True, **changes):
    """A pass of records by implementation, on the chapter's training step."""
    file = rows.file(folder, framework, "cpu", number)
    writer = rows.Writer(file, goes_on=False)
    planned = {rows.Row(WORKLOAD, name, name): outcome for name, outcome in those.items()}
    known = {"device": "cpu", "threads": 2, "tf32": False, "plan": tuple(planned), "number": number, "import_": 0.5}
    writer.header(rows.Header(**{"framework": framework, **known, **KNOWN, **changes}))
    for row, outcome in planned.items():
        if outcome is not None:
            writer.write(rows.Begin(row))
            writer.write(rows.End(row, outcome))
    if done:
        writer.write(rows.Limits("float32", LIMITS))
        writer.write(rows.Done())
    return rows.read(file)


def build(passes, memory=()):
    board = leaderboard.build(passes, memory, name="now")
    # Whatever is built is what its type says, and holds no infinity: read back it is the same.
    assert msgspec.json.decode(msgspec.json.encode(board), type=Leaderboard) == board
    return board


def race(folder, times, **changes):
    """Passes of several frameworks: seconds by framework, one for each pass."""
    return [
        write(folder, framework, number, {"scratch": record(seconds)}, **changes)
        for framework, of_passes in times.items()
        for number, seconds in enumerate(of_passes, start=1)
    ]


def test_the_interval_of_paired_ratios():
    """By hand: three ratios, 1, 2 and 4, whose logarithms have the mean ln 2 and the deviation ln 2."""
    ratio = paired.ratio({1: 1.0, 2: 2.0, 3: 4.0}, {1: 1.0, 2: 1.0, 3: 1.0})
    assert ratio.value == pytest.approx(2)
    half = 4.303 * math.log(2) / math.sqrt(3)
    assert (ratio.low, ratio.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))


def test_the_interval_holds_what_it_says():
    """Of 400 races between equals, about 5 in a hundred say otherwise."""
    random = np.random.RandomState(0)
    wrong = 0
    for _ in range(400):
        # The machine drifts from pass to pass; both drift with it.
        drift = np.exp(random.standard_normal(5))
        one, two = (drift * np.exp(0.05 * random.standard_normal(5)) for _ in range(2))
        ratio = paired.ratio(dict(enumerate(one)), dict(enumerate(two)))
        wrong += ratio.is_slower or ratio.is_faster
    assert 8 <= wrong <= 34


def test_pairs_are_of_one_pass():
    """Both slow down tenfold in the second pass: that says nothing about which is faster."""
    ratio = paired.ratio({1: 1.1, 2: 11.0, 3: 1.1}, {1: 1.0, 2: 10.0, 3: 1.0})
    assert ratio.low == pytest.approx(1.1)
    assert ratio.high == pytest.approx(1.1)
    with pytest.raises(ValueError, match="no pass has both"):
        paired.ratio({1: 1.0}, {2: 1.0})


def test_one_pass_has_no_spread():
    ratio = paired.ratio({1: 9.0}, {1: 1.0})
    assert (ratio.value, ratio.low, ratio.high) == (pytest.approx(9), 0, math.inf)


def test_two_dates():
    """Welch's interval, by hand for equal variances: two samples of three, a factor e apart."""
    one, two = ([math.exp(x) for x in (a - 0.1, a, a + 0.1)] for a in (1.0, 0.0))
    ratio = paired.unpaired(one, two)
    half = 2.776 * 0.1 * math.sqrt(2 / 3)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((math.e, math.exp(1 - half), math.exp(1 + half)))


def test_a_leaderboard(tmp_path):
    passes = race(tmp_path, {"torch": [1.0, 1.1, 1.2], "jax": [0.5, 0.54, 0.61], "mxnet": [0.51, 0.53, 0.6]})
    board = build(passes, [rows.Memory("jax", WORKLOAD, "scratch", 7)])
    (table,) = board.tables
    assert [(row.framework, standings.rank(row)) for row in table.rows] == [
        ("mxnet", "1–2"),
        ("jax", "1–2"),
        ("torch", "3"),
    ]
    assert [row.said.partition(" ")[0] for row in table.rows] == ["the", "undecided:", "80%"]
    best = table.rows[0]
    assert (best.ratio, best.low, best.high) == (1.0, 1.0, 1.0)
    torch = table.rows[2]
    assert 1 < torch.low < torch.ratio < torch.high
    assert torch.command == f"tox -e bench-torch -- --workload {WORKLOAD} --implementation scratch"
    assert [row.memory for row in table.rows] == [None, 7, None]
    assert board.passes == 3
    assert board.trouble == []
    assert table.bound.seconds == pytest.approx(sum(getattr(table.bound, p) for p in ("compute", "memory", "latency")))


def test_compiling_pays(tmp_path):
    those = {
        "scratch": record(1.0, first=1.0),
        "compiled": record(0.5, first=11.0),
        "tuned": record(2.0, first=11.0),
        "native": record(0.5, first=1.0),
    }
    (table,) = build([write(tmp_path, "torch", 1, those)]).tables
    break_evens = {row.implementation: (row.break_even, standings.break_even(row)) for row in table.rows}
    # 11 + 20 x 0.5 = 1 + 20 x 1
    assert break_evens == {"scratch": (None, "–"), "compiled": (21, "21"), "tuned": (None, "never"), "native": (1, "1")}
    assert [row.implementation for row in table.rows if row.uncounted] == ["scratch"]
    assert list(standings.uncounted(table)) == []


def test_without_a_scratch_lane_nothing_is_counted(tmp_path):
    """Never is said of what does not pay, and of nothing else: neither where there is nothing to count against, nor
    where a first call was not timed.
    """
    passes = [
        write(tmp_path, "torch", 1, {"compiled": record(0.5), "tuned": record(0.4)}),
        write(tmp_path, "jax", 1, {"scratch": record(1.0), "tuned": record(0.4, first=None)}),
        write(tmp_path, "mxnet", 1, {"scratch": record(1.0, first=None), "tuned": record(2.0)}),
        # A scratch lane that is not ranked is none.
        write(tmp_path, "tensorflow", 1, {"scratch": record(1.0, verdict="different"), "tuned": record(2.0)}),
    ]
    board = build(passes)
    (table,) = board.tables
    said = {f"{row.framework}/{row.implementation}": row.uncounted for row in standings.ranked(table)}
    absent, counted_against = "no scratch lane to count against", "the others are counted against it"
    assert said == {
        "torch/compiled": absent,
        "torch/tuned": absent,
        "jax/scratch": counted_against,
        "jax/tuned": "its first call was not timed",
        "mxnet/scratch": counted_against,
        "mxnet/tuned": "the scratch lane's first call was not timed",
        "tensorflow/tuned": absent,
    }
    assert {standings.break_even(row) for row in table.rows} == {"–"}
    markdown = render.template("leaderboard.md.jinja", autoescape=False).render(standings.context(board))
    assert "- *pays after* is a dash: its first call was not timed: jax/tuned\n" in markdown
    assert f"- *pays after* is a dash: {absent}: torch/tuned, torch/compiled, tensorflow/tuned\n" in markdown
    assert "never" not in markdown


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_a_first_call_on_a_gpu_is(tmp_path, device):
    board = build(race(tmp_path, {"torch": [1.0]}, device=device))
    context = standings.context(board)
    markdown = render.template("leaderboard.md.jinja", autoescape=False).render(context)
    page = render.template("leaderboard.html.jinja", autoescape=True).render(context)
    assert ("\n\nA first call is beside those of the other rows, a core for each.\n" in markdown) == (device == "cuda")
    assert ("</strong>: beside those of the other rows, a core for each</li>" in page) == (device == "cuda")


def test_of_an_earlier_version_nobody_knows_why(tmp_path):
    """Its records do not say why nothing was counted; what shows in the row itself is a dash as it was."""
    (table,) = build(race(tmp_path, {"torch": [1.0]})).tables
    earlier = msgspec.to_builtins(table.rows[0])
    del earlier["uncounted"]
    assert standings.break_even(msgspec.convert(earlier, Row)) == "–"
    assert standings.break_even(msgspec.convert(earlier | {"implementation": "tuned"}, Row)) == "never"


def test_only_what_is_always_equal_is_ranked(tmp_path):
    wrong = record(0.1, verdict="different", why="H[0] = 1, should be 2")
    first = write(tmp_path, "torch", 1, {"scratch": record(1.0), "tuned": record(0.1)})
    second = write(tmp_path, "torch", 2, {"scratch": record(1.0), "tuned": wrong})
    (table,) = build([first, second]).tables
    assert [(row.implementation, row.status, row.rank) for row in table.rows] == [
        ("scratch", "equal", None),
        ("tuned", "different", None),
    ]
    assert table.rows[1].why == "H[0] = 1, should be 2"


def test_a_pass_that_was_cut_off_keeps_what_was_complete(tmp_path):
    one_pass = write(tmp_path, "torch", 1, {"scratch": record(1.0), "tuned": None}, done=False)
    with one_pass.path.open("a") as stream:
        stream.write('{"line":"begin","row":{"workload":"' + WORKLOAD)
    board = build([rows.read(one_pass.path)])
    assert [(row.implementation, row.status) for row in board.tables[0].rows] == [
        ("scratch", "equal"),
        ("tuned", "unfinished"),
    ]
    assert board.tables[0].bound is None
    assert board.trouble == ["torch.cpu.1.jsonl: cut off after 1 of 2 rows; race again"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": {"processor": "one", "cores": "4"}}, "their machine differs (cores: 2 and 4)"),
        ({"device": "cuda"}, "their device differs (cpu and cuda)"),
        ({"threads": 1}, "their threads differs (2 and 1)"),
        ({"tf32": True}, "their tf32 differs (False and True)"),
        ({"corpus": "given x"}, "their corpus differs (built-in and given x)"),
    ],
)
def test_mixed_passes_are_refused(tmp_path, change, words):
    passes = [*race(tmp_path, {"torch": [1.0]}), *race(tmp_path, {"jax": [1.0]}, **change)]
    with pytest.raises(UserError, match="are no one ranking") as error:
        leaderboard.build(passes, [], name="now")
    assert words in str(error.value)


def test_no_pass_at_all():
    with pytest.raises(UserError, match="no pass of benchmarks is there; run tox -e bench"):
        leaderboard.build([], [], name="now")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a pass of benchmarks; race again"),
        ("{}\n", "not a pass of benchmarks; race again"),
        ("no json\n", "not a pass of benchmarks; race again"),
        ('{"format": "isogru-rows/9"}\n', "format isogru-rows/9, this isogru reads isogru-rows/2; race again"),
        ('{"format": "isogru-rows/1"}\n', "format isogru-rows/1, this isogru reads isogru-rows/2; race again"),
        ('{"format": "isogru-rows/2"}\n', "damaged: line 1: object missing required field framework; race again"),
        ('{"format": 2}\n', "not a pass of benchmarks; race again"),
    ],
)
def test_files_that_are_no_passes(tmp_path, content, words):
    file = tmp_path / "torch.cpu.1.jsonl"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        rows.read(file)
    assert words in str(error.value)


@pytest.mark.parametrize("file", sorted(PUBLISHED.glob("*/leaderboard.json")), ids=lambda file: file.parent.name)
def test_what_is_published_can_be_held_against(file):
    """A leaderboard outlives the rows that it was made of."""
    board = schema.read_leaderboard(file)
    beside = against.compare(board, board)
    assert len(beside.rows) == sum(row.status == EQUAL for table in board.tables for row in table.rows) > 0
    assert not against.slower(beside)


def test_a_line_in_the_middle_is_damage(tmp_path):
    one_pass = write(tmp_path, "torch", 1, {"scratch": record(1.0)})
    lines = one_pass.path.read_text().splitlines()
    one_pass.path.write_text("\n".join([lines[0], "no json", *lines[1:]]))
    with pytest.raises(UserError, match=r"damaged: line 2: JSON is malformed.*; race again"):
        rows.read(one_pass.path)
    with pytest.raises(UserError, match="no such file; race again"):
        rows.read(tmp_path / "none.jsonl")


def test_a_row_of_another_version(tmp_path):
    plan = (rows.Row("training-step-gone-gru-float32", "scratch", "scratch"),)
    one_pass = write(tmp_path, "torch", 1, {"scratch": record(1.0)}, plan=plan)
    with pytest.raises(UserError, match="these benchmarks are of another version; race again"):
        leaderboard.build([one_pass], [], name="now")


def test_the_bound_by_hand():
    """The chapter's training step, written out."""
    limits = roofline.best([("torch", LIMITS)])
    n, T, h, v = 1024, 32, 32, 28
    recurrent, output = 2 * n * h * 3 * h, 2 * n * h * v
    batched = T * (3 * output + recurrent)
    functions = T * (3 * n * h + n * v)
    waiting = 2 * T * 3e-5
    bound = roofline.bound(Workload("training-step", workloads.chapter(), "gru"), limits)
    serial = 2 * T * recurrent
    assert bound.compute == pytest.approx((batched + serial) / 5e11 + functions / 4e9)
    assert bound.latency == pytest.approx(waiting - serial / 5e11)
    assert bound.seconds == pytest.approx(batched / 5e11 + functions / 4e9 + waiting + bound.memory)
    after = roofline.bound(Workload("training-step", workloads.chapter(), "gru_reset_after"), limits)
    # One product in the place of two: here as fast as both, so that only rounding is between them.
    assert after.seconds == pytest.approx(bound.seconds)


def test_characters_need_no_product_with_the_inputs():
    limits = roofline.best([("torch", LIMITS)])
    of_cell = roofline.bound(Workload("gradient", workloads.chapter(), "gru"), limits)
    of_model = roofline.bound(Workload("training-step", workloads.chapter(), "gru"), limits)
    # Dense inputs: three products with W_x, forward, for X and for W_x, where the model has three of its output layer.
    dense, output = 3 * 2 * 1024 * 28 * 96 * 32, 3 * 2 * 1024 * 32 * 28 * 32
    without_softmax = of_model.compute - 32 * 1024 * 28 / 4e9
    assert of_cell.compute - without_softmax == pytest.approx((dense - output) / 5e11)


@pytest.mark.parametrize("workload", workloads.catalogue(), ids=lambda w: w.name)
def test_every_workload_has_a_bound(workload):
    measured = structs.replace(LIMITS, step=tuple((*shape, 1e-6) for shape in workload.products()))
    assert roofline.bound(workload, roofline.best([("torch", measured)])).seconds > 0


def test_the_best_of_all_frameworks_is_the_limit():
    other = structs.replace(LIMITS, product=6e11, issue=1e-5, step=((1024, 32, 32, 5e-6),))
    limits = roofline.best([("torch", LIMITS), ("jax", other)])
    assert limits.rates["product"] == 6e11
    assert limits.by == {"product": "jax", "function": "torch", "cache": "torch", "memory": "torch"}
    assert limits.steps[1024, 32, 32] == 5e-6
    assert limits.issue == {"torch": 1e-6, "jax": 1e-5}


@pytest.mark.parametrize(
    ("parts", "issue", "word"),
    [
        ((8.0, 0.0, 1.0), 0.5, "compute"),
        ((1.0, 0.0, 8.0), 0.5, "latency"),
        ((1.0, 0.0, 1.0), 7.0, "host"),
        ((1.0, 8.0, 0.5), None, "memory"),
        # Nothing was measured of what is left, and it is more than any part.
        ((1.0, 3.0, 1.0), None, None),
        ((2.0, 2.0, 2.0), 1.0, None),
    ],
)
def test_what_holds_back(parts, issue, word):
    held_back_by, unexplained = roofline.held_back_by(10.0, roofline.Bound(*parts), issue)
    assert held_back_by == word
    assert unexplained == 10.0 - sum(parts) - (issue or 0.0)


def test_what_is_unexplained_is_said_with_how_much(tmp_path):
    (table,) = build([write(tmp_path, "torch", 1, {"scratch": record(1.0)})]).tables
    (row,) = table.rows
    # The bound is milliseconds, and to issue it takes a tenth of one.
    assert row.held_back_by is None
    assert row.unexplained == pytest.approx(100 * (1.0 - table.bound.seconds - 1e-4), rel=0.01)
    assert standings.held_back(row) == "unexplained, 100%"


def test_a_time_below_the_bound_is_no_time(tmp_path):
    """Not all of the work was timed; or the machine was measured at a bad moment."""
    passes = race(tmp_path, {"torch": [1.0] * 3, "jax": [1e-5] * 3})
    (table,) = build(passes).tables
    assert [(row.framework, row.status, row.rank) for row in table.rows] == [
        ("torch", "equal", 1),
        ("jax", "failed", None),
    ]
    assert table.rows[1].why.startswith("took 1.00e-05 s, less than the bound, ")


def test_side_by_side(tmp_path):
    before = {"torch": [1.0, 1.01, 1.02], "jax": [2.0, 2.01, 2.02], "mxnet": [3.0, 3.1, 3.0]}
    after = {"torch": [3.0, 3.01, 3.02], "jax": [2.0, 2.02, 2.01], "tensorflow": [1.0, 1.0, 1.0]}
    then, now = build(race(tmp_path / "then", before)), build(race(tmp_path / "now", after))
    now = structs.replace(now, against=against.compare(now, then))
    assert msgspec.json.decode(msgspec.json.encode(now), type=Leaderboard) == now
    changes = {row.framework: row.change for row in now.against.rows}
    assert changes == {"torch": "slower", "jax": "alike"}
    lines = list(standings.side_by_side(now))
    assert lines[0] == "against now, the same machine: 1 slower, 0 faster, 1 alike, 1 new, 1 gone"
    assert lines[1].startswith(f"  slower: torch: {WORKLOAD}-scratch: 1.01 s, now 3.01 s: 2.98 (2.9")
    assert lines[2] == f"  reversed: {WORKLOAD}: jax/scratch is now faster than torch/scratch, and was not"
    assert list(against.reversed_ranks(now, now)) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (123.4, "123 s"),
        (1.0, "1.00 s"),
        (0.99996, "1.00 s"),
        (0.01407, "14.1 ms"),
        (2.5e-6, "2.50 µs"),
        (3e-9, "3.00 ns"),
    ],
)
def test_durations(seconds, words):
    assert standings.duration(seconds) == words


def test_rows_that_were_never_in_one_pass(tmp_path):
    """Passes that were cut off: nothing is known of the two, and nothing is said."""
    first = write(tmp_path, "torch", 1, {"scratch": record(1.0)})
    second = write(tmp_path, "jax", 2, {"scratch": record(2.0)})
    board = build([first, second])
    (table,) = board.tables
    places = [(row.framework, row.rank, row.ratio) for row in table.rows]
    assert places == [("torch", None, 1.0), ("jax", None, None)]
    assert table.rows[1].status == "unfinished"
    assert list(against.reversed_ranks(board, board)) == []


def test_ranks_are_of_passes_that_all_have(tmp_path):
    """The machine was slower in the passes that only one of two has: that is not its fault."""
    passes = race(tmp_path, {"torch": [1.0, 1.0, 1.0], "jax": [0.9, 0.9, 0.91, 9.0]})
    (table,) = build(passes).tables
    assert [(row.framework, row.rank, set(row.passes)) for row in table.rows] == [
        ("jax", 1, {"1", "2", "3", "4"}),
        ("torch", 2, {"1", "2", "3"}),
    ]
    assert table.rows[0].seconds == pytest.approx((0.9 * 0.9 * 0.91) ** (1 / 3))


@pytest.mark.parametrize("passes", [1, 2])
def test_few_passes_give_no_rank(tmp_path, passes):
    """Rather than rank 1 to all."""
    (table,) = build(race(tmp_path, {"torch": [1.0] * passes, "jax": [9.0] * passes})).tables
    assert [(row.framework, standings.rank(row)) for row in table.rows] == [("torch", "–"), ("jax", "–")]
    assert [row.low for row in table.rows] == [1.0, None]
    assert {row.said for row in table.rows} == {"no rank: it takes 3 starts to say anything"}


def test_a_bound_needs_the_shapes_of_its_steps(tmp_path):
    one_pass = write(tmp_path, "torch", 1, {"scratch": record(1.0)})
    lines = one_pass.path.read_text().replace("[1024,32,64,0.00002],", "")
    one_pass.path.write_text(lines)
    (table,) = build([rows.read(one_pass.path)]).tables
    assert table.bound is None
    assert table.rows[0].percent is None


def test_a_full_disk(tmp_path):
    writer = rows.Writer(tmp_path / "torch.cpu.1.jsonl", goes_on=False)
    writer.write(rows.Done())
    (tmp_path / "torch.cpu.1.jsonl").unlink()
    (tmp_path / "torch.cpu.1.jsonl").mkdir()
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        writer.write(rows.Done())


def test_a_line_that_was_cut_off_is_written_again(tmp_path):
    one_pass = write(tmp_path, "torch", 1, {"scratch": record(1.0), "tuned": None}, done=False)
    with one_pass.path.open("a") as stream:
        stream.write('{"line":"begin","row":{"workload":"' + WORKLOAD)
    rows.Writer(one_pass.path, goes_on=True).write(rows.Done())
    assert rows.read(one_pass.path).is_done


def test_in_a_terminal_of_80_columns_every_number_is_whole():
    board = msgspec.json.decode((PUBLISHED / "2-cores" / "leaderboard.json").read_bytes(), type=Leaderboard)
    console = Console(width=80)
    with console.capture() as capture:
        terminal.show_leaderboard(board, console)
    lines = capture.get().splitlines()
    assert max(map(len, (line for line in lines if not line.startswith("control")))) <= 80
    for row in board.tables[0].rows:
        who = f"{row.framework}/{row.implementation}"
        (line,) = [line for line in lines if line.split()[1:2] == [who]]
        assert f" {standings.duration(row.seconds)} " in line
        assert f" {standings.percent(row.percent)} " in line
