"""From results to baselines: raw figures, what they depend on, and the bands that follow from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.expectations import Baseline, DurationPolicy, ExpectationError, Expectations, Provenance, Repeat, SeedFigures, Timing
from bench.recording.bands import METHODS, cost_of, derive_bands, peaks_of, spread_factors
from bench.recording.traces import grain_of, traces_of
from bench.results import Results, ResultsError, RowResult, RunInfo
from bench.wording import row_ranges
from gptcore.result import Result

RowTimings = Mapping[int, tuple[Timing, ...]]
RowRepeats = Mapping[int, tuple[Repeat, ...]]


@dataclass(frozen=True)
class Recording:
    """Results to be recorded, with every timing of their rows and what their repeats under other conditions said."""

    results: Results
    timings: RowTimings
    repeats: RowRepeats


def with_recording(expectations: Expectations, recording: Recording) -> Expectations:
    """The expectations with the recorded rows as the new baselines of their tier and kind; rows that failed keep the old one."""
    info = recording.results.info
    policy = expectations.policies[info.tier].duration
    old = expectations.baselines.get(info.tier, {}).get(info.kind, {})
    whole = {number: result for number, result in recording.results.rows.items() if result.figures and not result.error}
    new = {number: make_baseline(info, result, recording.timings[number], recording.repeats.get(number, ())) for number, result in whole.items()}
    of_tier = expectations.baselines.get(info.tier, {}) | {info.kind: with_cost_bands(dict(sorted((old | new).items())), policy)}
    return replace(expectations, methods=METHODS, baselines=expectations.baselines | {info.tier: of_tier})


def with_baselines(expectations: Expectations, results: Results) -> Expectations:
    """The same from one run alone, with the spread of rounding that was recorded before where a row is still the same."""
    old = expectations.baselines.get(results.info.tier, {}).get(results.info.kind, {})
    rows = {number: result for number, result in results.rows.items() if result.figures}
    timings = {number: (timing_of(results.info, result),) for number, result in rows.items()}
    repeats = {number: old[number].repeats for number, result in rows.items() if number in old and fits(old[number], result)}
    return with_recording(expectations, Recording(results, timings, repeats))


def fits(baseline: Baseline, result: RowResult) -> bool:
    """Whether what was recorded about a row is about these figures: they depend on the same, and are as many."""
    lengths = {name: len(values) for name, values in traces_of(figures_of(result)).items()}
    return baseline.digests == result.digests and lengths == {name: len(values) for name, values in baseline.traces.items()}


def with_cost_bands(baselines: Mapping[int, Baseline], policy: DurationPolicy) -> dict[int, Baseline]:
    """The baselines of one tier and kind with bands for durations and peaks of memory, from the timings of all rows on the same machine and threads."""
    places = {number: (one.provenance.machine, one.provenance.threads) for number, one in baselines.items()}
    costs = {number: [cost_of(timing, policy) for timing in one.timings] for number, one in baselines.items()}
    peaks = {number: peaks_of(one.timings) for number, one in baselines.items()}
    bands = {}
    for place in places.values():
        there = [number for number in baselines if places[number] == place]
        bands[place] = spread_factors([costs[number] for number in there]), spread_factors([peaks[number] for number in there])
    widened = {}
    for number, one in baselines.items():
        duration, peak_memory = bands[places[number]]
        widened[number] = replace(one, bands=replace(one.bands, duration=duration, peak_memory=peak_memory))
    return widened


def make_baseline(info: RunInfo, result: RowResult, timings: tuple[Timing, ...], repeats: tuple[Repeat, ...]) -> Baseline:
    """One row's figures as a baseline, with its bands but for its duration's."""
    figures = figures_of(result)
    seeds = {result.seed: seed_figures(figures)} | {seed: seed_figures(other) for seed, other in result.others.items()}
    traces, margins = traces_of(figures), dict(figures.margins)
    grains = {name: grain_of(name, result, figures) for name in traces}
    return Baseline(
        digests=result.digests,
        seed=result.seed,
        provenance=provenance_of(info),
        timings=timings,
        traces=traces,
        margins=margins,
        seeds=seeds,
        repeats=repeats,
        bands=derive_bands(traces, grains, margins, seeds[result.seed], [*seeds.values()], repeats),
    )


def provenance_of(info: RunInfo) -> Provenance:
    """Where the figures of a run come from."""
    environment = info.environment
    return Provenance(
        git_commit=environment.git_commit,
        git_dirty=environment.git_dirty,
        torch=environment.packages["torch"],
        machine=environment.device_name,
        threads=environment.threads,
        date=environment.date,
        rows=row_ranges(info.rows),
    )


def seed_figures(figures: Result) -> SeedFigures:
    """What is kept of one seed."""
    return SeedFigures(
        counts=dict(figures.counts),
        answers=dict(figures.answers),
        train_loss=tuple(evaluation.train_loss for evaluation in figures.history),
        validation_loss=tuple(evaluation.validation_loss for evaluation in figures.history),
    )


def timing_of(info: RunInfo, result: RowResult) -> Timing:
    """What the row cost in this run, in time and memory."""
    return Timing(figures_of(result).train_seconds, info.calibration_seconds, result.peak_memory)


def repeat_of(condition: str, perturbation: float, draw: int, recorded: RowResult, repeated: RowResult) -> Repeat:
    """How far the figures moved, in three significant digits.  Raises ExpectationError where the repeat failed or made other figures altogether."""
    if repeated.figures is None or repeated.error:
        raise ExpectationError(f"row {repeated.row} failed under {condition} ({repeated.error}): nothing is recorded until every row runs")
    before, after = traces_of(figures_of(recorded)), traces_of(repeated.figures)
    if {name: len(values) for name, values in before.items()} != {name: len(values) for name, values in after.items()}:
        raise ExpectationError(f"row {repeated.row} made other figures under {condition}: nothing is recorded until all repeats make the same ones")
    margins = figures_of(recorded).margins
    return Repeat(
        condition=condition,
        perturbation=perturbation,
        draw=draw,
        deviations={name: tuple(map(rounded, differences(values, after[name]))) for name, values in before.items()},
        margins={split: rounded(max(map(abs, differences(values, repeated.figures.margins[split])))) for split, values in margins.items()},
    )


def differences(before: tuple[float, ...], after: tuple[float, ...]) -> list[float]:
    """After minus before, number by number."""
    return [new - old for old, new in zip(before, after, strict=True)]


def rounded(value: float) -> float:
    """The value in three significant digits."""
    return float(f"{value:.3g}") if math.isfinite(value) else value


def figures_of(result: RowResult) -> Result:
    """The row's figures.  Raises ResultsError where it has none."""
    if result.figures is None:
        raise ResultsError(f"row {result.row} has no figures ({result.error}): run it again")
    return result.figures


def refuse_unrepeatable(first: Mapping[int, RowResult], second: Mapping[int, RowResult]) -> None:
    """Raise ExpectationError where a row failed or gave other figures the second time; durations may differ.

    Figures of a finished row are finite: training stops at the first loss that is not.
    """
    for number, result in first.items():
        refuse_failed(result)
        refuse_failed(second[number])
        again = second[number]
        if result.digests != again.digests or repeatable_figures(result.figures) != repeatable_figures(again.figures):
            raise ExpectationError(f"row {number} gave other figures the second time: nothing is recorded until two runs agree bit for bit")


def refuse_failed(result: RowResult) -> None:
    """Raise ExpectationError where a row has no figures."""
    if result.figures is None or result.error:
        raise ExpectationError(f"row {result.row} failed ({result.error}): nothing is recorded until every row runs")


def repeatable_figures(figures: Result | None) -> dict[str, Any]:
    """Everything that a repeated run gives again, which is all but durations and where states were kept."""
    names = ("history", "epoch_accuracies", "counts", "answers", "margins", "fingerprint", "attestation")
    return {name: getattr(figures, name) for name in names} if figures else {}
