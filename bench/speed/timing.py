"""Plain against fast, in turn, in one run: what the savings are worth on this machine, at GPT-2's real size with random weights."""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from bench.environment import describe_environment
from bench.plan import make_plan
from bench.report.text import say
from bench.rows import Row
from bench.smoke.messages import smoke_dataset
from bench.smoke.tokenizer import smoke_tokenizer
from bench.speed.arithmetic import needed_flops
from bench.speed.peak import matmul_peak
from gptcore.batches import encode_dataset, padded_length
from gptcore.dataset import Dataset
from gptcore.device import name_device
from gptcore.errors import AssetError, UsageError
from gptcore.execution import Execution
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, Experiment
from gptcore.features import FrozenStates, block_flops
from gptcore.files import write_text_atomically
from gptcore.inputs import Inputs, Sources, gather_inputs
from gptcore.sharing import own_states
from gptcore.training import finetune

HEADER = ("row", "what it changes", "plain s", "fast s", "ratio", "this run s", "share of peak")


@dataclass(frozen=True)
class Workload:
    """What is timed.  inputs: the first training texts.  about: in words."""

    inputs: Inputs
    length: int
    about: str

    def experiment_of(self, row: Row) -> Experiment:
        """The row with random weights, at the length the whole training split would give it, and with evaluations shortened like the training."""
        length = str(self.length) if row.experiment.context_length == LONGEST_TRAINING_EXAMPLE else row.experiment.context_length
        return replace(row.experiment, weights="random", eval_iter=1, context_length=length)


@dataclass(frozen=True)
class RowSpeed:
    """One row, in seconds.  alone: fast, from cold.  this_run: fast, with what rows before had paid for.  share: of the matrix-product peak, when alone."""

    row: Row
    plain: float
    alone: float
    this_run: float
    share: float

    @property
    def ratio(self) -> float:
        """How many times faster than plain, alone."""
        return self.plain / self.alone


@dataclass(frozen=True)
class FrozenSpeed:
    """The passes over one frozen part: rows that shared it, seconds, and their share of the matrix-product peak."""

    rows: tuple[int, ...]
    seconds: float
    share: float


def time_rows(rows: Sequence[Row], limit_train: int, device: torch.device, threads: int, path: Path, command: str, console: Console) -> None:
    """Measure the rows, print each measurement as it ends, and write them all to `path` as Markdown.  Raises UsageError where something stands there."""
    check_new(path)
    workload = make_workload(limit_train, Sources())
    say(console, f"plain and fast in turn on {name_device(device)}, threads: {threads}; {workload.about}")
    peak = matmul_peak(device)
    measured: list[RowSpeed | FrozenSpeed] = []
    for one in measure_rows(distinct_rows(rows, workload), workload, device, peak):
        measured.append(one)
        say(console, speed_line(one))
    environment = describe_environment(device)
    about = (
        f"`{command}` on {environment.device_name}, threads: {threads}, torch {environment.packages['torch']}, {environment.date}; {workload.about}; "
        f"measured peak {peak / 1e9:.0f} GFLOP/s."
    )
    write_text_atomically(path, render_speed(measured, about))
    say(console, f"{as_one_run(measured)}\nwritten to {path}")


def check_new(path: Path) -> None:
    """Raise UsageError, before any work is done, where no new file can be written; make its folder."""
    if path.exists():
        raise UsageError(f"--out {path} exists: name a new file, or move the old one away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(None, "not writable")
    except OSError as error:
        raise UsageError(f"--out {path} cannot be written ({error.strerror}): name a file in a folder you may write to") from error


def make_workload(limit_train: int, sources: Sources) -> Workload:
    """The published texts where they can be had, else those of the smoke tier."""
    try:
        inputs = gather_inputs(Experiment(weights="random"), replace(sources, limit_train=None))
        about = "the SMS Spam Collection"
    except AssetError as error:
        warnings.warn(f"made-up texts are timed instead: {error}", stacklevel=2)
        inputs = Inputs(smoke_dataset(), smoke_tokenizer(), None)
        about = "the smoke tier's made-up messages"
    batch = Experiment().batch_size
    if limit_train < batch:
        raise UsageError(f"--limit-train {limit_train} is less than one batch: give {batch} or more")
    encoded = [inputs.tokenizer.encode(text) for text in inputs.dataset.train.texts]
    length = padded_length(encoded, Experiment())
    # Of the other splits no more is read than one evaluation wants.
    splits = (inputs.dataset.limit_train(limit_train).train, inputs.dataset.validation.head(batch), inputs.dataset.test.head(1))
    n_steps, n_evaluated = Experiment().num_epochs * (len(splits[0]) // batch), 2 * (Experiment().num_epochs + 1)
    weight = f"{n_steps} steps of {batch} and about {n_evaluated} batches of evaluation, of which the whole data have 180 for 650 steps"
    return Workload(replace(inputs, dataset=Dataset(*splits)), length, f"the first {len(splits[0])} training texts of {about}: {weight}")


def distinct_rows(rows: Sequence[Row], workload: Workload) -> tuple[Row, ...]:
    """The rows without those that random weights make equal to an earlier one."""
    first: dict[Experiment, Row] = {}
    for row in rows:
        first.setdefault(workload.experiment_of(row), row)
    return tuple(first.values())


def measure_rows(rows: Sequence[Row], workload: Workload, device: torch.device, peak: float) -> Iterator[RowSpeed | FrozenSpeed]:
    """Each row plain, then fast; after the last row that shares a frozen part, its passes.  peak: FLOP/s, from `matmul_peak`."""
    inputs = workload.inputs
    plan = make_plan({row.number: workload.experiment_of(row) for row in rows}, lambda experiment: inputs, device, Execution())
    for row in rows:
        experiment = workload.experiment_of(row)
        states = plan.states_for(row) or own_states(experiment, inputs, device=device, execution=Execution())
        plain = finetune(experiment, inputs, device=device, execution=Execution(plain=True))
        fast = finetune(experiment, inputs, device=device, states=states)
        flops = needed_flops(experiment, encode_dataset(inputs.dataset, experiment, inputs.tokenizer, needed_only=True))
        yield RowSpeed(row, plain.train_seconds, fast.train_seconds, fast.real_seconds, flops / fast.train_seconds / peak)
        plan.done(row)
        group = plan.group_of(row)
        if states and states.seconds and not (group and group.states):
            yield frozen_speed(tuple(sorted(group.needs)) if group else (row.number,), states, peak)


def frozen_speed(rows: tuple[int, ...], states: FrozenStates, peak: float) -> FrozenSpeed:
    """What the passes that were computed reached."""
    flops = sum(
        states.passes[number].depths[-1] * block_flops(len(states.rows[index]), states.width)
        for number in states.seconds
        for index in states.passes[number].rows
    )
    seconds = sum(states.seconds.values())
    return FrozenSpeed(rows, seconds, flops / seconds / peak)


def speed_cells(speed: RowSpeed) -> tuple[str, ...]:
    """The cells of one row, in the order of HEADER."""
    return (
        str(speed.row.number),
        speed.row.name,
        f"{speed.plain:.2f}",
        f"{speed.alone:.2f}",
        f"{speed.ratio:.1f}",
        f"{speed.this_run:.2f}",
        f"{speed.share:.0%}",
    )


def speed_line(speed: RowSpeed | FrozenSpeed) -> str:
    """One measurement as a sentence."""
    if isinstance(speed, FrozenSpeed):
        return f"frozen part of rows {', '.join(map(str, speed.rows))}: {speed.seconds:.2f} s at {speed.share:.0%} of the peak"
    return (
        f"row {speed.row.number} ({speed.row.name}): plain {speed.plain:.2f} s, fast {speed.alone:.2f} s, {speed.ratio:.1f} times faster; "
        f"{speed.this_run:.2f} s in this run; {speed.share:.0%} of the peak"
    )


def as_one_run(measured: Sequence[RowSpeed | FrozenSpeed]) -> str:
    """All rows together as a sentence."""
    rows = [one for one in measured if isinstance(one, RowSpeed)]
    plain, fast = sum(one.plain for one in rows), sum(one.this_run for one in rows)
    return f"rows {', '.join(str(one.row.number) for one in rows)} as one run: plain {plain:.2f} s, fast {fast:.2f} s, {plain / fast:.1f} times faster"


def render_speed(measured: Sequence[RowSpeed | FrozenSpeed], about: str) -> str:
    """The whole measurement as Markdown, `about` first."""
    table = [HEADER, ("---",) * len(HEADER), *(speed_cells(one) for one in measured if isinstance(one, RowSpeed))]
    sentences = [as_one_run(measured), *(speed_line(one) for one in measured if isinstance(one, FrozenSpeed))]
    lines = [about, "", *(f"| {' | '.join(cells)} |" for cells in table), *(f"\n{sentence}." for sentence in sentences)]
    return "\n".join(lines) + "\n"
