"""What the errata measured beside their verdicts, in sentences: each number in them is a record's or a result's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from isogru.judge.comparison import EQUAL, significant
from reports.diff.collect import FRAMEWORKS, current_case
from reports.exercises.memory import damaged_is_told
from shared_spec import cases
from shared_spec.errata.records import Clipping, Perplexity, Record, ResetPlacement, TimeAxis, UpdateOnly
from shared_spec.files.interchange import DTYPES, Result, TrainingCase, read_origin, read_result
from shared_spec.files.store import Job
from shared_spec.sweeps.place import Tell
from shared_spec.weights import layouts

Sentences = list[str]


def sentences(name: str, records: Sequence[Record], tell: Tell | None = None) -> Sentences:
    """Those of one erratum; none where none of its records is there. Of the chapter's training too, where that is; one
    that is damaged is told by `tell`, and without that InterchangeError is raised for it.
    """
    said = SENTENCES[name](records) if records else []
    if said and name in OF_TRAINING and (trained := fifty_epochs(tell)) is not None:
        said.append(OF_TRAINING[name](records[0], *trained))
    return said


def listed(words: Sequence[str]) -> str:
    """Such as "torch, jax and mxnet"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _reset_placement(records: Sequence[Record]) -> Sentences:
    after = [record.measured.layer for record in records if _is(record, "concise-after", EQUAL)]
    said = [f"The concise GRU is gru_reset_after in {len(after)} of {len(records)}: {'; '.join(after) or 'none'}."]
    for record in records:
        data: ResetPlacement = record.measured
        if data.reset_after:
            also = "; with False it is the one from scratch" if _is(record, "reset-before", EQUAL) else ""
            said.append(f"In Keras that is a default, reset_after={data.reset_after}{also}.")
    return said


def _time_axis(records: Sequence[Record]) -> Sentences:
    data: TimeAxis = records[0].measured
    right, wrong = significant(data.seconds_right, 2), significant(data.seconds_wrong, 2)
    times = significant(data.seconds_wrong / data.seconds_right, 2)
    return [
        f"At the chapter's sizes, T = {data.T} and n = {data.n}, the layer takes {data.steps_wrong} steps instead "
        f"of {data.steps_right}. Forward and backward, eager as in the book, took {wrong:g} s instead of {right:g} s, "
        f"{times:g} times as long (passes timed of each: {data.rounds}; {records[0].machine['processor']}).",
        f"Trained in batches of {data.batch_size or data.n} for {data.epochs} epochs from one start, the training "
        f"perplexity was {data.perplexity_wrong:.2f} instead of {data.perplexity_right:.2f}. Whoever sees the current "
        f"character alone cannot come below {data.perplexity_of_character:.2f} on these windows. Text: {data.corpus}.",
    ]


def _reset_only(records: Sequence[Record]) -> Sentences:
    refused = [data.refused for record in records for data in [record.measured] if data.refused]
    return [f"As it is written the specification refuses it: {words}." for words in refused]


def _update_only(records: Sequence[Record]) -> Sentences:
    measurements: list[UpdateOnly] = [record.measured for record in records]
    wrong, right = max(each.gradient_wrong for each in measurements), min(each.gradient_right for each in measurements)
    return [
        f"The largest gradient of W_xz, W_hz and b_z is {wrong:g} where the candidate takes the blend's place, and "
        f"should be {significant(right, 3):g}."
    ]


def _turned_gate(records: Sequence[Record]) -> Sentences:
    every = list(layouts.layouts().values())
    turned = [layout.layer for layout in every if layouts.renews(layout)]
    return [f"Of the {len(every)} layouts that isogru knows, Z renews in {len(turned)}: {listed(turned) or 'none'}."]


def _acts(clip_norm: float, norms: Sequence[float]) -> str:
    count = sum(norm > clip_norm for norm in norms)
    return f"in {count} of {len(norms)} steps (largest {max(norms):.2f})"


def _clipping(records: Sequence[Record]) -> Sentences:
    data: Clipping = records[0].measured
    return [
        f"The verdicts are on the book's RNN, at its rate, T and h, from a uniform start: its norm exceeds "
        f"{data.clip_norm:g} {_acts(data.clip_norm, data.norms_of_rnn)}. With the GRU of 10.2 in its place it does "
        f"{_acts(data.clip_norm, data.norms_of_gru)}. Text: {data.corpus}."
    ]


def _clipping_in_training(record: Record, case: TrainingCase, result: Result) -> str:
    clip_norm, norms = record.measured.clip_norm, [float(norm) for norm in result.arrays["norm"]]
    none = " There it makes no difference." if max(norms) <= clip_norm else ""
    return f"In the chapter's own training of its GRU ({result.origin.label}) it does {_acts(clip_norm, norms)}.{none}"


def _perplexity(records: Sequence[Record]) -> Sentences:
    data: Perplexity = records[0].measured
    pairs = zip(data.exact, data.plotted, strict=True)
    told = listed([f"{plotted:.3f} instead of {exact:.3f}" for exact, plotted in pairs])
    return [f"In the first epochs of a short training ({records[0].framework}): {told}. Text: {data.corpus}."]


def _perplexity_in_training(record: Record, case: TrainingCase, result: Result) -> str:
    recipe = case.problem.recipe
    last = result.arrays["loss"][-recipe.steps_per_epoch :].astype(np.float64)
    return (
        f"In the last of the chapter's {recipe.epochs} epochs ({result.origin.label}): "
        f"{float(np.exp(last).mean()):.3f} instead of {float(result.arrays['perplexity.train'][-1]):.3f}."
    )


SENTENCES: Mapping[str, Callable[[Sequence[Record]], Sentences]] = {
    "reset-placement": _reset_placement,
    "time-axis": _time_axis,
    "reset-only": _reset_only,
    "update-only": _update_only,
    "turned-gate": _turned_gate,
    "clipping": _clipping,
    "perplexity": _perplexity,
}

OF_TRAINING: Mapping[str, Callable[[Record, TrainingCase, Result], str]] = {
    "clipping": _clipping_in_training,
    "perplexity": _perplexity_in_training,
}
"""What else is said of the chapter's own training."""


def fifty_epochs(tell: Tell | None = None) -> tuple[TrainingCase, Result] | None:
    """The chapter's training of its GRU from scratch, where one is there that is not stale. One that is damaged is told
    by `tell` and passed over; without that InterchangeError is raised for it.
    """
    for job in (
        Job(framework, f"{cases.FULL_TRAINING}-gru", "scratch", dtype, "cpu")
        for framework in FRAMEWORKS
        for dtype in reversed(DTYPES)
    ):
        if job.result_file.exists():
            with damaged_is_told(job, tell):
                case = current_case(job.case)
                if isinstance(case, TrainingCase) and read_origin(job.result_file).case_digest == case.digest:
                    return case, read_result(job.result_file, case)
    return None


def _is(record: Record, what: str, verdict: str) -> bool:
    return any(held.what == what and held.verdict == verdict for held in record.held)
