"""How far a figure may stray, derived from raw figures: from repeats that differ in rounding alone, and from other seeds.  Nothing here is typed in but the
share of clean runs that may be flagged.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context

from bench.expectations import LOSSES, SEED_METRICS, Bands, DurationPolicy, Repeat, SeedFigures, Timing
from bench.recording.traces import Traces
from bench.statistics import pooled_reach, seeds_band, student_test, tolerance_factor
from gptcore.dataset import SPLITS, SplitName

FLAGGED_RUNS = 0.01  # of clean runs of all rows, this share may have any figure outside its numerical bands, and as many any outside its statistical ones
N_ROWS = 19  # that the bands allow for: those of the published table.  A row more is flagged as seldom as these, and leaves their bands as they are
CONFIDENCE = 0.95
LEVEL = FLAGGED_RUNS / (N_ROWS * len(SEED_METRICS))
SINGLE_PRECISION = 2.0**-22  # relative: two units in the last place of a float32, which no figure is known better than
FEWEST_SEEDS = 3

METHODS = {
    "numerical": (
        "Each row runs again with nothing changed but rounding: initial weights multiplied by 1 + 1e-7 e to 1 + 1e-6 e with e standard normal, one and "
        "two threads, other CPU kernels. Deviations grow with the perturbation, so they are scaled up to the largest one; a figure's spread is their root "
        "mean square over draws of e, and at least what it moved by without a perturbation. Its band is the recorded value +- f spreads, at least 2^-22 "
        "of the value, and at least one text for shares of a few texts. f is Howe's two-sided tolerance factor for normal deviations around a known "
        f"centre, such that, with {CONFIDENCE:.0%} confidence for all figures together (Bonferroni), {FLAGGED_RUNS:.0%} of clean runs of {N_ROWS} "
        "rows have any figure outside. Of the margins of a split's texts the one that moved most counts. The band of a count reaches as far as if every "
        "text flipped whose recorded margin lies within that reach of zero."
    ),
    "statistical": (
        "Each row runs with other seeds of head and data order. The band is Student's prediction interval for one more seed, on the logarithm for losses, "
        f"with the rounding variance of whole counts added, at level {FLAGGED_RUNS:g} / ({N_ROWS} rows x {len(SEED_METRICS)} metrics), Bonferroni's "
        "correction. Several seeds are compared at the same level by Student's test for two samples with pooled variance. Where the very seeds were "
        "recorded they are compared with themselves, by this test and by the paired one, and twice the smaller p-value counts."
    ),
    "duration": (
        "Student's prediction interval for the logarithm of one more timing, relative to the calibration of its run where the tier says so, each timing from "
        "a process of its own where rows were repeated, its variance "
        f"pooled over all rows recorded on the same machine and threads, at level {FLAGGED_RUNS:g} / {N_ROWS} rows."
    ),
    "peak_memory": (
        "Student's prediction interval for the logarithm of one more measurement of the most bytes that the process held beyond what it held before the first "
        "row, or torch on a CUDA device, while the row's own seed ran, its variance pooled and its level as for durations. Only more is judged, beyond the "
        "interval and 8 MiB, and only in runs of the very rows it was recorded with: what others loaded and share with a row counts as well."
    ),
}


def derive_bands(
    traces: Traces,
    grains: Mapping[str, float],
    margins: Mapping[SplitName, Sequence[float]],
    own: SeedFigures,
    seeds: Sequence[SeedFigures],
    repeats: Sequence[Repeat],
) -> Bands:
    """The bands of one row, but for its duration's, which takes the timings of other rows.  margins: of the recorded seed's texts."""
    n_draws = len(draws_of(repeats))
    trace_reaches, margin_reaches = {}, {}
    if n_draws:
        factor = spread_factor(traces, margins, n_draws)
        trace_reaches = {name: trace_reach(name, values, repeats, factor, grains[name]) for name, values in traces.items()}
        margin_reaches = {split: factor * spread_of(repeats, [repeat.margins[split] for repeat in repeats]) for split in margins}
    return Bands(
        traces=trace_reaches,
        margins=margin_reaches,
        counts={split: counts_within(own, split, margins[split], reach) for split, reach in margin_reaches.items()},
        seeds={metric: seeds_interval(metric, seeds) for metric in SEED_METRICS} if len(seeds) >= FEWEST_SEEDS else {},
        duration=None,
    )


def draws_of(repeats: Sequence[Repeat]) -> dict[int, list[int]]:
    """The places of the perturbed repeats by what was drawn for them: those that share a draw tell the same twice."""
    draws: dict[int, list[int]] = {}
    for place, repeat in enumerate(repeats):
        if repeat.perturbation:
            draws.setdefault(repeat.draw, []).append(place)
    return draws


def spread_factor(traces: Traces, margins: Mapping[SplitName, Sequence[float]], n_draws: int) -> float:
    """How many times its spread a deviation may be: a normal tolerance factor for all figures of all rows together, in coverage and in confidence.

    With a handful of draws the spread of some figure among many is always underrated, so confidence in each one alone would not do.
    """
    n_figures = N_ROWS * (sum(map(len, traces.values())) + len(margins))
    return tolerance_factor(n_draws, 1 - FLAGGED_RUNS / n_figures, 1 - (1 - CONFIDENCE) / n_figures)


def spread_of(repeats: Sequence[Repeat], deviations: Sequence[float], *, scaled: bool = True) -> float:
    """How far the largest perturbation moves a figure, and at least as far as any repeat without one did.

    Root mean square over draws.  Deviations grow with the perturbation, so smaller ones are scaled up to the largest, unless they are not `scaled`.
    """
    largest = max(repeat.perturbation for repeat in repeats)
    scales = [largest / repeat.perturbation if repeat.perturbation and scaled else 1.0 for repeat in repeats]
    of_draws = [root_mean_square([scales[place] * deviations[place] for place in places]) for places in draws_of(repeats).values()]
    unperturbed = [abs(deviation) for repeat, deviation in zip(repeats, deviations, strict=True) if not repeat.perturbation]
    return max(root_mean_square(of_draws), *unperturbed, 0.0)


def trace_reach(name: str, values: Sequence[float], repeats: Sequence[Repeat], factor: float, grain: float) -> tuple[float, ...]:
    """The half-width of the numerical band around every number of a trace, rounded up to three digits."""
    of_values = zip(*(repeat.deviations[name] for repeat in repeats), strict=True)
    spreads = [spread_of(repeats, deviations, scaled=not grain) for deviations in of_values]  # a text that flips does so as a whole
    whole = not grain and all(value.is_integer() for value in values) and not any(spreads)  # a number of things is known exactly
    floors = [0.0 if whole else max(grain, SINGLE_PRECISION * abs(value)) for value in values]
    return tuple(round_up(max(factor * spread, floor)) for spread, floor in zip(spreads, floors, strict=True))


def counts_within(own: SeedFigures, split: SplitName, margins: Sequence[float], reach: float) -> tuple[int, int]:
    """The fewest and the most right ones when every text flips whose margin is within reach of zero."""
    answers = own.answers[split]
    asked, right = answers.is_asked(), answers.is_right()
    near = [is_asked and abs(margin) <= reach for is_asked, margin in zip(asked, margins, strict=True)]
    count = own.counts[split].right
    return count - sum(map(min, near, right)), count + sum(is_near and not is_right for is_near, is_right in zip(near, right, strict=True))


def seed_values(metric: str, seeds: Sequence[SeedFigures]) -> list[float]:
    """A metric of every seed on the scale it is tested on: accuracies as they are, last losses as logarithms, since they spread by factors."""
    if metric in LOSSES:
        return [math.log(max(getattr(seed, metric)[-1], SINGLE_PRECISION)) for seed in seeds]  # of a loss near 0 float32 leaves nothing
    return [seed.counts[split_of(metric)].accuracy for seed in seeds]


def seeds_grain(metric: str, seeds: Sequence[SeedFigures]) -> float:
    """The step that a metric's values come in: one text for accuracies."""
    return 0.0 if metric in LOSSES else 1 / seeds[0].counts[split_of(metric)].n


def seeds_interval(metric: str, seeds: Sequence[SeedFigures]) -> tuple[float, float]:
    """Where the metric of one more seed lies: a fraction for accuracies, a plain loss for losses."""
    band = seeds_band(seed_values(metric, seeds), LEVEL, grain=seeds_grain(metric, seeds))
    return (exponential(band.low), exponential(band.high)) if metric in LOSSES else (max(0.0, band.low), min(1.0, band.high))


def seeds_p_value(metric: str, found: Sequence[SeedFigures], recorded: Sequence[SeedFigures]) -> float:
    """Of Student's test that seeds found and recorded come from the same distribution."""
    return student_test(seed_values(metric, found), seed_values(metric, recorded), grain=seeds_grain(metric, recorded))


def cost_of(timing: Timing, policy: DurationPolicy) -> float:
    """What is compared of a timing: its seconds, or how many calibrations they are."""
    return timing.seconds / timing.calibration_seconds if policy.calibrated else timing.seconds


def peaks_of(timings: Sequence[Timing]) -> list[int]:
    """The peaks of memory among timings, of those that have one."""
    return [timing.peak_memory for timing in timings if timing.peak_memory is not None]


def spread_factors(measured: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The least and the most that one more measurement gives, as factors of its row's mean; None where no row was measured twice."""
    if all(len(of_row) < 2 for of_row in measured):
        return None
    reach = pooled_reach([[math.log(value) for value in of_row] for of_row in measured if of_row], FLAGGED_RUNS / N_ROWS)
    return exponential(-reach), exponential(reach)


def root_mean_square(values: Sequence[float]) -> float:
    """Root mean square."""
    return math.sqrt(sum(value * value for value in values) / len(values))


def exponential(logarithm: float) -> float:
    """E to this power, but never beyond the largest number there is: a band from a handful of wild values still ends somewhere."""
    return math.exp(min(logarithm, math.log(sys.float_info.max)))


def round_up(value: float) -> float:
    """The next number with three significant digits, so that files stay readable and no band shrinks."""
    return float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(value)))


def split_of(metric: str) -> SplitName:
    """The split that an accuracy is of."""
    return next(split for split in SPLITS if metric == f"{split}_accuracy")
