"""How far a run has come, from what its rows report, and how long the rest may take."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench.estimates import estimate_row
from bench.expectations import Expectations
from bench.results import RowResult, RunInfo
from bench.rows import Row
from bench.verdicts.verdict import RowVerdict
from gptcore.dataset import SPLITS
from gptcore.experiment import Experiment
from gptcore.result import EpochAccuracy, Evaluation, Event, Progress, Report


@dataclass
class RowProgress:
    """One row as far as it has come.  Times are seconds of the run's clock.

    expected: seconds of training, as known beforehand.  took: seconds that its figures took, None where it has none.  accuracies: fractions of train,
    validation and test, the last ones known.  steps: fraction of the training steps done.  in_passes: seconds that went into frozen passes.
    """

    row: Row
    n_epochs: int
    expected: float | None
    phase: str = "waiting"
    epoch: int = 0
    loss: float | None = None
    accuracies: tuple[float, ...] = ()
    steps: float = 0.0
    in_passes: float = 0.0
    pass_began: float | None = None
    began: float | None = None
    trains_since: float | None = None
    ended: float | None = None
    took: float | None = None
    holds: bool = True

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.began is not None and self.ended is None

    def hear(self, event: Event | Progress, now: float) -> None:
        """Take in what the row's fine-tuning reports."""
        self.trains_since = now if self.trains_since is None else self.trains_since
        match event:
            case Evaluation():
                self.loss = event.train_loss
            case EpochAccuracy():
                self.accuracies = (event.train_accuracy, event.validation_accuracy)
            case Progress("frozen pass", done, of):
                # One is reported before it is computed, and after.
                self.phase = f"frozen pass {done / of:.0%}"
                if self.pass_began is None:
                    self.pass_began = now
                else:
                    self.in_passes += now - self.pass_began
                    self.pass_began = None
            case Progress("training", done, of):
                self.steps = done / of
                self.epoch = 1 + (done - 1) * self.n_epochs // of
                self.phase = f"training {self.steps:.0%}"
            case Progress("final counts", done, of):
                self.phase = f"counting {done}/{of}"
            case Progress("further seeds", done, of):
                self.phase = f"seeds {done}/{of}"

    def end(self, result: RowResult, verdict: RowVerdict, now: float) -> None:
        """Take in what came of the row."""
        self.began = now if self.began is None else self.began
        self.ended = now
        self.phase, self.holds = str(verdict.verdict), verdict.holds
        if result.figures:
            self.accuracies = tuple(result.figures.counts[split].accuracy for split in SPLITS)
            self.loss = result.figures.history[-1].train_loss
            self.took = None if self.trains_since is None else now - self.began  # a row that the folder held already took no time

    def elapsed(self, now: float) -> float | None:
        """Seconds since it began, up to its end; None where it has not begun."""
        return None if self.began is None else (now if self.ended is None else self.ended) - self.began

    def rest(self, pace: float, now: float) -> float | None:
        """Seconds that are left of it, None where nothing tells.  pace: how many times longer than expected rows take in this run.

        While no step is done that is what is left of the expectation; the more steps are done, the more of it is what the remaining steps take at the speed
        of those done.  Frozen passes, which come first, are left out of that speed.
        """
        if self.ended is not None:
            return 0.0
        if self.trains_since is None:
            return None if self.expected is None else self.expected * pace
        spent = now - self.trains_since
        stepping = spent - self.in_passes - (0.0 if self.pass_began is None else now - self.pass_began)
        if self.expected is None:
            return stepping * (1 - self.steps) / self.steps if self.steps else None
        return (1 - self.steps) * (max(self.expected * pace - spent, 0.0) + stepping)


@dataclass
class RunProgress:
    """All rows of a run, in order.  phase: what goes on beside them."""

    rows: Mapping[int, RowProgress]
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    phase: str = ""

    def __post_init__(self) -> None:
        self.began = self.clock()

    def begin(self, row: Row) -> Report:
        """A row begins.  Returns what hears its events."""
        progress = self.rows[row.number]
        progress.began, progress.phase = self.clock(), "loading"
        return lambda event: progress.hear(event, self.clock())

    def end(self, result: RowResult, verdict: RowVerdict) -> None:
        """A row has ended."""
        self.rows[result.row].end(result, verdict, self.clock())

    @property
    def n_ended(self) -> int:
        """How many rows have ended."""
        return sum(progress.ended is not None for progress in self.rows.values())

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.began

    @property
    def pace(self) -> float:
        """How many times longer than expected the rows that have their figures took, all in all; 1 before any has."""
        known = [(progress.took, progress.expected) for progress in self.rows.values() if progress.took and progress.expected]
        return sum(took for took, _ in known) / sum(expected for _, expected in known) if known else 1.0

    def rest(self) -> tuple[float, bool]:
        """Seconds that are left of the rows, as far as anything tells, and whether something tells of each.  Rows that run side by side share the rest."""
        pace, now = self.pace, self.clock()
        rests = [progress.rest(pace, now) for progress in self.rows.values()]
        at_once = sum(progress.is_running for progress in self.rows.values())
        return sum(rest for rest in rests if rest is not None) / max(at_once, 1), None not in rests


def watch(rows: Iterable[Row], experiment_of: Callable[[Row], Experiment], info: RunInfo, expectations: Expectations) -> RunProgress:
    """The progress of a run that begins now."""

    def at_the_start(row: Row) -> RowProgress:
        estimate = estimate_row(row.number, info, expectations)
        return RowProgress(row, experiment_of(row).num_epochs, estimate.seconds if estimate else None)

    return RunProgress({row.number: at_the_start(row) for row in rows})
