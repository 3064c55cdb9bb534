"""How far two rows lie apart, and how far that could be chance: by whatever is known of both, seeds, answers, counts or timings."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log
from statistics import fmean

from bench.findings.evidence import Evidence, SeedEvidence
from bench.statistics import Interval, flips_interval, mcnemar, paired_interval, proportions_interval, unpaired_interval
from gptcore.answers import Count

LEVEL = 0.05
POINTS = 100.0  # percentage points in a fraction of 1


class Basis(StrEnum):
    """What a difference was found by."""

    SEEDS = "several seeds"
    ANSWERS = "one seed, answers"
    COUNTS = "one seed, counts"
    IDENTITY = "identity"
    TIMINGS = "several timings"
    ONE_TIMING = "one timing"


class CannotCompareError(Exception):
    """Two rows of which nothing comparable is known."""


@dataclass(frozen=True)
class Difference:
    """One row against another.

    value: difference of test accuracy, row minus other, in points; or how many times the other's duration the row's is.  interval: its 95 % interval, None
    where none can be given.  n: common seeds, or timings of the row that has fewer.  notes: what else the figures say.
    """

    value: float
    interval: Interval | None
    n: int
    basis: Basis
    notes: tuple[str, ...] = ()


def accuracy_difference(row: Evidence, other: Evidence) -> Difference:
    """Test accuracy, paired by seed, or by text where one seed is known, or by nothing where only counts are.  Raises CannotCompareError."""
    pairs = list(_common_seeds(row, other).values())
    if len(pairs) > 1:
        differences = [_points(*pair) for pair in pairs]
        interval = paired_interval(differences, 1 - LEVEL, grain=POINTS / pairs[0][0].counts["test"].n)
        return Difference(fmean(differences), Interval(max(-POINTS, interval.low), min(POINTS, interval.high)), len(pairs), Basis.SEEDS)
    [(one, another)] = pairs
    if one.right and another.right:
        return _answers_difference(one.right, another.right)
    return _counts_difference(one.counts["test"], another.counts["test"])


def exact_difference(row: Evidence, other: Evidence) -> tuple[Difference, bool]:
    """Whether all that is known of every common seed - counts of every split, answers to test texts - is equal.  Raises CannotCompareError."""
    pairs = _common_seeds(row, other)
    unequal = tuple(difference for seed, pair in pairs.items() for difference in _unequal_figures(seed, *pair))
    notes = unequal[:1] + ((f"{len(unequal) - 1} more {'figure differs' if len(unequal) == 2 else 'figures differ'}",) if unequal[1:] else ())
    if not all(one.right and another.right for one, another in pairs.values()):
        notes += ("counts alone, answers unknown",)
    return Difference(fmean(_points(*pair) for pair in pairs.values()), None, len(pairs), Basis.IDENTITY, notes), not unequal


def duration_ratio(row: Evidence, other: Evidence) -> Difference:
    """How many times the other's duration the row's is; without an interval where a row was timed once.  Raises CannotCompareError."""
    if row.machine != other.machine:
        raise CannotCompareError(f"timed on different machines ({row.machine}; {other.machine})")
    fewest = min(len(row.durations), len(other.durations))
    if fewest == 0:
        raise CannotCompareError("not timed")
    logs, other_logs = ([log(duration) for duration in evidence.durations] for evidence in (row, other))
    ratio = exp(fmean(logs) - fmean(other_logs))
    if fewest > 1:
        interval = unpaired_interval(logs, other_logs, 1 - LEVEL)
        return Difference(ratio, Interval(exp(interval.low), exp(interval.high)), fewest, Basis.TIMINGS)
    return Difference(ratio, None, fewest, Basis.ONE_TIMING, _what_rounding_leaves(row, other))


def discordant_range(right: int, other_right: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Answers that a model with `right` of n has (lost, gained) against one with `other_right`: the fewest that can be, and the most.

    Fewest: the better model is right wherever the worse one is.  Most: no text is wrong, or else none is right, in both.
    """
    gain = right - other_right
    most_lost = min(other_right, n - right)
    return (max(0, -gain), max(0, gain)), (most_lost, most_lost + gain)


def _answers_difference(right: Sequence[bool], other_right: Sequence[bool]) -> Difference:
    gained = sum(here and not there for here, there in zip(right, other_right, strict=True))
    lost = sum(there and not here for here, there in zip(right, other_right, strict=True))
    interval = _in_points(flips_interval(lost, gained, len(right), 1 - LEVEL))
    note = f"{gained} answers gained, {lost} lost, p {mcnemar(lost, gained):.2g}"
    return Difference(POINTS * (gained - lost) / len(right), interval, 1, Basis.ANSWERS, (note,))


def _counts_difference(count: Count, other: Count) -> Difference:
    interval = _in_points(proportions_interval(count.right, count.n, other.right, other.n, 1 - LEVEL))
    note = "equal counts" if count == other else _however_paired(*discordant_range(count.right, other.right, count.n))
    return Difference(POINTS * (count.accuracy - other.accuracy), interval, 1, Basis.COUNTS, (note,))


def _however_paired(fewest: tuple[int, int], most: tuple[int, int]) -> str:
    """What any pairing of the answers would say: the p-value only rises from the fewest flips to the most."""
    lowest, highest = mcnemar(*fewest), mcnemar(*most)
    if lowest >= LEVEL:
        return f"no pairing significant, p from {lowest:.2g}"
    return f"any pairing significant, p up to {highest:.2g}" if highest < LEVEL else f"p {lowest:.2g} to {highest:.2g}, by pairing"


def _common_seeds(row: Evidence, other: Evidence) -> dict[int, tuple[SeedEvidence, SeedEvidence]]:
    if row.data != other.data:
        raise CannotCompareError("measured on different texts")
    pairs = {seed: (row.seeds[seed], other.seeds[seed]) for seed in sorted(row.seeds.keys() & other.seeds.keys())}
    known = {seed: pair for seed, pair in pairs.items() if all("test" in one.counts for one in pair)}
    if not known:
        raise CannotCompareError("no test accuracies of the same seed")
    if len({one.counts["test"].n for pair in known.values() for one in pair}) > 1:
        raise CannotCompareError("measured on different numbers of test texts")
    return known


def _unequal_figures(seed: int, one: SeedEvidence, another: SeedEvidence) -> list[str]:
    unequal = [
        f"seed {seed}: {split} {one.counts[split].right} against {another.counts[split].right}"
        for split in one.counts
        if split in another.counts and one.counts[split] != another.counts[split]
    ]
    flips = sum(here != there for here, there in zip(one.right or (), another.right or (), strict=False))  # one side unknown: nothing to compare
    return unequal + ([f"seed {seed}: {flips} test answers"] if flips else [])


def _what_rounding_leaves(row: Evidence, other: Evidence) -> tuple[str, ...]:
    """Where the ratio of two rounded durations lies."""
    if not row.rounding and not other.rounding:
        return ()
    duration, other_duration = row.durations[0], other.durations[0]
    lowest = (duration - row.rounding / 2) / (other_duration + other.rounding / 2)
    highest = (duration + row.rounding / 2) / (other_duration - other.rounding / 2)
    return (f"rounding alone leaves {lowest:.2f} to {highest:.2f}",)


def _points(one: SeedEvidence, another: SeedEvidence) -> float:
    return POINTS * (one.counts["test"].right - another.counts["test"].right) / one.counts["test"].n


def _in_points(share: Interval) -> Interval:
    return Interval(POINTS * share.low, POINTS * share.high)
