"""What a run is asked: rows, tier, inputs, device and way of computing, the command that says so, and whether it is possible at all."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.checkpoints import checkpoints_of
from bench.executors.choice import Executor
from bench.recording.perturb import perturbed_tier
from bench.rows import Row
from bench.suite import PUBLISHED, Suite
from bench.tiers import Tier
from gptcore.checkpoint import Checkpoints
from gptcore.device import check_precision
from gptcore.errors import UsageError
from gptcore.execution import GIB, Execution, check_seeds
from gptcore.experiment import LARGEST_INTEGER, Experiment
from gptcore.inputs import Sources

CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Request:
    """What to run, where, on which inputs.  `seed` None: the rows' own.

    part: which of `parts_asked` runs, None for all of them, one after another.
    """

    tier: Tier
    rows: Sequence[Row]
    device: torch.device
    sources: Sources = Sources()
    seed: int | None = None
    precision: str = "fp32"
    n_seeds: int = 1
    timing_only: bool = False
    perturbation: float = 0.0
    perturbation_seed: int = 1
    threads: int | None = None
    execution: Execution = Execution()
    checkpoint_every: float = CHECKPOINT_SECONDS
    executor: Executor = Executor()
    part: int | None = None
    suite: Suite = PUBLISHED

    @property
    def command(self) -> str:
        """The command that runs this request's tier with the same inputs; `--rows` makes it one row."""
        options = {
            "--tier": self.tier.name,
            "--device": self.device,
            "--seed": self.seed,
            "--seeds": self.n_seeds if self.n_seeds > 1 else None,
            "--threads": self.threads,
            "--precision": self.precision if self.precision != "fp32" else None,
            "--data-dir": absolute(self.sources.data),
            "--weights-dir": absolute(self.sources.weights),
            "--tokenizer-dir": absolute(self.sources.tokenizer),
            "--limit-train": self.sources.limit_train,
            "--perturb": repr(self.perturbation) if self.perturbation else None,
            "--perturb-seed": self.perturbation_seed if self.perturbation else None,
            "--memory-budget": None if self.execution.memory_budget is None else self.execution.memory_budget / GIB,
            "--keep-states": self.execution.cache.limit / GIB if self.execution.cache else None,
            "--checkpoint-every": None if self.checkpoint_every == CHECKPOINT_SECONDS else repr(self.checkpoint_every),
            **self.executor.options,
        }
        given = (f"{flag} {shlex.quote(str(value))}" for flag, value in options.items() if value is not None)
        switches = {"--plain": self.execution.plain, "--compile": self.execution.compiled, "--timing-only": self.timing_only}
        return " ".join((f"{self.suite.command} run", *given, *(flag for flag, is_on in switches.items() if is_on)))

    @property
    def selection(self) -> tuple[str, ...]:
        """Tier, rows, device and precision as flags: what stays the same when rows are run again under other conditions."""
        rows = ",".join(str(row.number) for row in self.rows)
        return ("--tier", self.tier.name, "--rows", rows, "--device", str(self.device), "--precision", self.precision)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The components that the person replaced, of those figures depend on."""
        replaced = {
            "settings": (self.seed is not None and any(row.experiment.seed != self.seed for row in self.rows)) or self.timing_only,
            "data": self.sources.data or self.sources.limit_train,
            "tokenizer": self.sources.tokenizer,
            "weights": self.sources.weights or self.timing_only or self.perturbation,
        }
        return tuple(component for component, value in replaced.items() if value)

    def execution_of(self, row: Row, folder: Path | None) -> Execution:
        """The way of computing a row, with its checkpoints in the results folder, if that can be reached."""
        return replace(self.execution, checkpoints=Checkpoints(checkpoints_of(folder, row.number), self.checkpoint_every) if folder else None)

    def experiment_of(self, row: Row) -> Experiment:
        """The experiment that runs for a row."""
        experiment = replace(self.tier.scale(row.experiment), precision=self.precision)
        if self.timing_only:
            experiment = replace(experiment, weights="random")
        return experiment if self.seed is None else replace(experiment, seed=self.seed)


def absolute(path: Path | None) -> Path | None:
    """A path that means the same from any folder."""
    return path and path.absolute()


def checked(request: Request) -> Request:
    """The request with the environment's folders filled in, known to be possible here.  Raises UserError otherwise, before anything runs."""
    tier, sources = request.tier, request.sources
    if not tier.takes_sources and sources != Sources():
        others = [f"use --tier {other.name} with the folders you name" for other in request.suite.tiers.values() if other.takes_sources]
        raise UsageError(f"the {tier.name} tier carries its own texts, tokenizer and weights: {next(iter(others), 'leave the folders out')}")
    check_precision(request.precision, request.device)
    check_seeds(max(request.experiment_of(row).seed for row in request.rows), request.n_seeds)
    if request.timing_only and request.sources.weights:
        raise UsageError("--timing-only runs every row with random weights: leave the folder of weights out")
    request = replace(request, sources=sources.with_environment() if tier.takes_sources and not request.timing_only else sources)
    if not 0 <= request.perturbation < 1:
        raise UsageError(f"--perturb {request.perturbation:g} is not possible: give a relative amount such as 1e-6, at least 0 and below 1")
    if not 0 < request.checkpoint_every < math.inf:
        raise UsageError(f"--checkpoint-every {request.checkpoint_every:g} is not possible: give a number of seconds above 0")
    if not 0 <= request.perturbation_seed <= LARGEST_INTEGER:
        raise UsageError(f"--perturb-seed {request.perturbation_seed} is not possible: give a number from 0 to {LARGEST_INTEGER}")
    without_weights = replace(request.experiment_of(request.rows[0]), weights="random")
    tier.gather(without_weights, request.sources)
    if request.perturbation:
        request = replace(request, tier=perturbed_tier(tier, request.perturbation, request.perturbation_seed))
    return request
