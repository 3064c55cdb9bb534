"""What is drawn of each row, as numbers: its accuracy with an interval, what it cost, and its losses, each with what it is held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from bench.comparison.circumstances import seeds_of
from bench.expectations import Baseline, Expectations
from bench.recording.bands import seed_values, seeds_grain
from bench.results import Results, RowResult, RunInfo
from bench.statistics import Interval, count_interval, mean_interval, seeds_band
from bench.verdicts.recorded import is_another_seed
from bench.verdicts.verdict import RowVerdict
from gptcore.packing import unpack_floats
from gptcore.result import Result

CONFIDENCE = 0.95
ENOUGH_SEEDS = 3
METRIC = "test_accuracy"


class Basis(StrEnum):
    """Where an interval of a test accuracy comes from."""

    SEEDS = "seeds of this run"
    RECORDED = "recorded seeds"
    TEXTS = "test texts"


EXPLANATIONS = {
    Basis.SEEDS: "95 % interval of the mean over the seeds that ran (Student); it speaks of other seeds on these texts",
    Basis.RECORDED: "one seed ran, so the interval is that of the recorded seeds: where one more seed falls with 95 % probability (Student's prediction "
    "interval)",
    Basis.TEXTS: "one seed ran and no seeds were recorded of the same work, so the interval is the exact binomial one (Clopper & Pearson): it speaks of other "
    "texts like these, not of other seeds",
}


@dataclass(frozen=True)
class AccuracyMark:
    """A row's test accuracy, all as fractions: the mean over its seeds, each seed's, the interval and where it comes from.

    recorded: the mean of the baseline's same seeds, or of its own seed.  published: where this run did the published work.
    """

    row: int
    name: str
    found: float
    seeds: tuple[float, ...]
    interval: Interval
    basis: Basis
    recorded: float | None
    published: float | None


@dataclass(frozen=True)
class DurationMark:
    """What a row cost alone, in seconds, and what was recorded, at the pace of this run, with its band where it was judged.

    published: seconds, where this run did the published work; minutes: as published, whatever ran here.
    memory: the most bytes held meanwhile.
    """

    row: int
    name: str
    seconds: float
    recorded: float | None
    band: Interval | None
    published: float | None
    minutes: float | None
    memory: int | None
    note: str


@dataclass(frozen=True)
class Curve:
    """Losses of one seed at its evaluations, by training step, and of every batch; the latter empty where they were not kept."""

    steps: tuple[int, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    batches: tuple[float, ...] = ()


@dataclass(frozen=True)
class LossCurves:
    """A row's losses, and the curve they are held against, None where there is none of the same work."""

    row: int
    name: str
    own: Curve
    behind: Curve | None


def baselines_of(info: RunInfo, expectations: Expectations) -> Mapping[int, Baseline]:
    """What was recorded for runs of this tier and kind."""
    return expectations.baselines.get(info.tier, {}).get(info.kind, {})


def accuracy_marks(verdicts: Sequence[RowVerdict], baselines: Mapping[int, Baseline]) -> list[AccuracyMark]:
    """One for every row with figures."""
    return [accuracy_mark(verdict, result, figures, baselines.get(verdict.row)) for verdict, result, figures in _finished(verdicts)]


def accuracy_mark(verdict: RowVerdict, result: RowResult, figures: Result, baseline: Baseline | None) -> AccuracyMark:
    """The mark of a row with figures."""
    found = {seed: one.counts["test"] for seed, one in seeds_of(result).items()}
    accuracies = tuple(count.accuracy for count in found.values())
    same = baseline if baseline and is_same_but_for_the_seed(result, baseline) else None
    recorded = None
    if same:
        common = [same.seeds[seed] for seed in found if seed in same.seeds] or [*same.seeds.values()]
        recorded = fmean(one.counts["test"].accuracy for one in common)
    if len(accuracies) > 1:
        interval, basis = mean_interval(accuracies, CONFIDENCE, grain=1 / figures.counts["test"].n), Basis.SEEDS
    elif same and len(same.seeds) >= ENOUGH_SEEDS:
        seeds = [*same.seeds.values()]
        interval, basis = seeds_band(seed_values(METRIC, seeds), 1 - CONFIDENCE, grain=seeds_grain(METRIC, seeds)), Basis.RECORDED
    else:
        interval, basis = count_interval(figures.counts["test"].right, figures.counts["test"].n, CONFIDENCE), Basis.TEXTS
    published = {one.expected for one in verdict.judgements if one.metric == METRIC and one.against == "published"}
    clipped = Interval(max(0.0, interval.low), min(1.0, interval.high))
    return AccuracyMark(verdict.row, result.name, fmean(accuracies), accuracies, clipped, basis, recorded, next(iter(published), None))


def is_same_but_for_the_seed(result: RowResult, baseline: Baseline) -> bool:
    """Whether a result may be held against what was recorded of seeds."""
    differing = {name for name in result.digests | baseline.digests if result.digests.get(name) != baseline.digests.get(name)}
    return not differing or (differing == {"settings"} and is_another_seed(result, baseline))


def duration_marks(verdicts: Sequence[RowVerdict], expectations: Expectations) -> list[DurationMark]:
    """One for every row with figures."""
    marks = []
    for verdict, result, figures in _finished(verdicts):
        judged = {judgement.against: judgement for judgement in verdict.judgements if judgement.metric == "duration"}
        recorded = judged.get("baseline")
        band = Interval(recorded.low, recorded.high) if recorded and recorded.low is not None and recorded.high is not None else None
        published = expectations.published.rows.get(verdict.row)
        marks.append(
            DurationMark(
                row=verdict.row,
                name=result.name,
                seconds=figures.train_seconds,
                recorded=recorded.expected if recorded else None,
                band=band,
                published=verdict.published_seconds,
                minutes=published.minutes if published else None,
                memory=result.peak_memory,
                note=recorded.explanation if recorded else "",
            )
        )
    return marks


def loss_curves(verdicts: Sequence[RowVerdict], baselines: Mapping[int, Baseline], base: Results | None = None) -> list[LossCurves]:
    """One for every row with figures, its own seed's.  Behind it BASE's where that was given, else the recorded one of the same seed."""
    curves = []
    for verdict, result, figures in _finished(verdicts):
        behind = _base_curve(base, result) if base else _recorded_curve(baselines.get(verdict.row), result, figures)
        curves.append(LossCurves(verdict.row, result.name, curve_of(figures), behind))
    return curves


def curve_of(figures: Result) -> Curve:
    """The losses of one fine-tuning."""
    history = figures.history
    of_evaluations = (tuple(one.train_loss for one in history), tuple(one.validation_loss for one in history))
    return Curve(tuple(one.step for one in history), *of_evaluations, unpack_floats(figures.attestation.batch_losses))


def _base_curve(base: Results, result: RowResult) -> Curve | None:
    other = base.rows.get(result.row)
    return curve_of(other.figures) if other and other.figures else None


def _recorded_curve(baseline: Baseline | None, result: RowResult, figures: Result) -> Curve | None:
    """The recorded losses; the same work is evaluated at the same steps."""
    if baseline is None or baseline.digests != result.digests or len(baseline.own.train_loss) != len(figures.history):
        return None
    return Curve(tuple(one.step for one in figures.history), baseline.own.train_loss, baseline.own.validation_loss)


def figures_of(verdict: RowVerdict) -> Result | None:
    """A row's figures, None where it failed or never came."""
    return verdict.result.figures if verdict.result else None


def _finished(verdicts: Sequence[RowVerdict]) -> list[tuple[RowVerdict, RowResult, Result]]:
    return [(one, one.result, one.result.figures) for one in verdicts if one.result and one.result.figures]
