"""What chance alone does to figures: tests, bands and intervals for values over seeds, for answers to the same texts and for plain counts.

A p-value is significant where it lies below the level; one that equals the level is not, so bands include their ends. Every function raises ValueError
for too few values, values that are not finite, counts outside 0..n, n below 1 and a level, confidence, coverage or power outside (0, 1).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import mean, pvariance  # exact inside: equal values have no variance at all, not a rounding error's worth

import numpy as np
from scipy import special  # type: ignore[import-untyped]  # scipy.stats takes a second to import


@dataclass(frozen=True)
class Interval:
    """From low to high, both included, in the unit of what it is about."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def student_test(found: Sequence[float], recorded: Sequence[float], *, grain: float = 0.0) -> float:
    """Two-sided p-value of "the same code, so the same distribution" (Student 1908, Fisher 1925: t-test with pooled variance).

    One found value will do, the variance is then the recorded ones'. ValueError where one meets one. grain: the step the values come in, such as 1/n for
    an accuracy of n texts; its rounding variance (Sheppard 1898) keeps seeds that all agree from making every other value impossible.
    """
    found_mean, found_squares = _mean_and_squares(found)
    recorded_mean, recorded_squares = _mean_and_squares(recorded)
    freedom = len(found) + len(recorded) - 2
    if freedom == 0:
        raise ValueError("one found and one recorded value tell nothing about their spread: give at least three values in all")
    variance = (found_squares + recorded_squares) / freedom + _rounding_variance(grain)
    error = sqrt(variance * (1 / len(found) + 1 / len(recorded)))
    return _student_p(found_mean - recorded_mean, error, freedom)


def same_seeds_test(found: Sequence[float], before: Sequence[float], recorded: Sequence[float], *, grain: float = 0.0) -> float:
    """Two-sided p-value of "nothing moved" for seeds that were recorded themselves: what they give now, what they gave `before`, and all that was recorded.

    Two tests of the mean difference, twice the smaller p (Bonferroni): the paired one, which tells small moves that all seeds make alike but of two or three
    seeds next to nothing, and Student's with the spread that all values have, which errs on the safe side where a seed moves both its values alike.
    """
    differences = [now - then for now, then in zip(found, before, strict=True)]
    freedom = len(found) + len(recorded) - 2
    variance = (_mean_and_squares(found)[1] + _mean_and_squares(recorded, at_least=2)[1]) / freedom + _rounding_variance(grain)
    return min(1.0, 2 * min(paired_test(differences, grain=grain), _student_p(mean(differences), sqrt(variance * 2 / len(found)), freedom)))


def seeds_band(recorded: Sequence[float], level: float, *, n_found: int = 1, grain: float = 0.0) -> Interval:
    """Where the mean of n_found further values falls with probability 1 - level, in their unit (prediction interval, Hahn 1969).

    For one further value it is what `student_test` does not reject. Takes two recorded values or more.
    """
    center, error = _further_mean(recorded, n_found, grain)
    return _around(center, _student_quantile(level, len(recorded) - 1) * error)


def pooled_reach(groups: Sequence[Sequence[float]], level: float) -> float:
    """How far, in the values' unit, one more value strays from the mean of its group with probability 1 - level, the spread being the same in all groups.

    The group is taken to be the smallest one with two values or more. Takes at least one such group.
    """
    repeated = [_mean_and_squares(group)[1] for group in groups if len(group) > 1]
    if not repeated:
        raise ValueError("no group has two values: nothing tells their spread")
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    smallest = min(len(group) for group in groups if len(group) > 1)
    return _student_quantile(level, freedom) * sqrt(sum(repeated) / freedom * (1 + 1 / smallest))


def noticed_drop(recorded: Sequence[float], level: float, *, n_found: int = 1, n_before: int | None = None, power: float = 0.95, grain: float = 0.0) -> float:
    """The smallest true drop of the mean, in the values' unit, that `student_test` finds with probability `power` in n_found values spread as recorded.

    n_before: how many recorded values they are compared with, by default all, which tell the spread in any case.
    From the noncentral t (Johnson & Welch 1940), its lower tail alone: a significant rise finds no drop. ValueError also for a power up to level / 2.
    """
    from scipy.optimize import brentq  # type: ignore[import-untyped]  # slow to import, and only planning needs it

    _, error = _further_mean(recorded, n_found, grain, n_before)
    freedom = len(recorded) + n_found - 2
    border = _student_quantile(level, freedom)
    if not level / 2 < power < 1:
        raise ValueError(f"the power is {power}: it must lie between level / 2, which no drop at all reaches, and 1")
    half_miss = (1 - power) / 2  # allowed to the noise and to the spread each, together they miss no more than 1 - power
    enough = border * sqrt(special.chdtri(freedom, half_miss) / freedom) - special.ndtri(half_miss)
    return error * float(brentq(lambda drop: _chance_beyond(border, drop, freedom) - power, 0.0, enough))


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of "answers are lost as easily as gained" (McNemar 1947, binomial); 1 where none changed."""
    if min(lost, gained) < 0:
        raise ValueError(f"{lost} lost and {gained} gained answers: neither can be negative")
    return min(1.0, 2 * float(special.bdtr(min(lost, gained), lost + gained, 0.5)))


def flips_interval(lost: int, gained: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of the change (gained - lost) / n of the share of right answers to the same n texts (Bonett & Price 2012, adjusted Wald, clipped)."""
    if n < 1 or min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"{lost} lost and {gained} gained answers among {n}: not possible")
    lost_share, gained_share = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    change = gained_share - lost_share
    reach = _normal_quantile(confidence) * sqrt((lost_share + gained_share - change**2) / (n + 2))
    return Interval(max(-1.0, change - reach), min(1.0, change + reach))


def proportions_interval(right: int, n: int, other_right: int, other_n: int, confidence: float = 0.95) -> Interval:
    """Interval of right/n - other_right/other_n, counts of independent texts (Newcombe 1998, method 10: hybrid score)."""
    share, score = _share_and_score(right, n, confidence)
    other_share, other_score = _share_and_score(other_right, other_n, confidence)
    difference = share - other_share
    below = sqrt((share - score.low) ** 2 + (other_score.high - other_share) ** 2)
    above = sqrt((score.high - share) ** 2 + (other_share - other_score.low) ** 2)
    return Interval(max(-1.0, difference - below), min(1.0, difference + above))


def proportions_test(right: int, n: int, other_right: int, other_n: int) -> float:
    """Two-sided p-value of "both have the same share of right answers" (Fisher's exact test, 1935), over all tables no likelier than the one seen."""
    _check_count(right, n)
    _check_count(other_right, other_n)
    total = right + other_right
    counts = np.arange(max(0, total - other_n), min(n, total) + 1)
    log_chances = -special.betaln(n - counts + 1, counts + 1) - special.betaln(other_n - total + counts + 1, total - counts + 1)  # up to a constant
    chances = np.exp(log_chances - log_chances.max())
    slack = 1 + 1e-7  # scipy's: tables exactly as likely as the one seen count, whatever the rounding
    no_likelier = chances[chances <= chances[right - counts[0]] * slack]
    return min(1.0, float(no_likelier.sum() / chances.sum()))


def counts_band(right: int, n: int, level: float) -> Interval:
    """The smallest and largest count of right answers of n, as whole floats, that `proportions_test` against (right, n) does not reject."""
    _check_count(right, n)
    _check_fraction("level", level)

    def lowest(right: int) -> int:  # with equal n the tails of the test mirror each other, so the p-value only rises up to `right`
        return bisect_left(range(right), level, key=lambda found: proportions_test(found, n, right, n))

    return Interval(float(lowest(right)), float(n - lowest(n - right)))


def noticed_drop_of_count(right: int, n: int, level: float, power: float = 0.95) -> float:
    """The smallest drop of the share right/n after which n texts give a count below `counts_band` with probability `power` (binomial).

    The whole share where even losing all of it would not do.
    """
    lowest = counts_band(right, n, level).low
    share = right / n
    if lowest < 1 or float(special.bdtr(lowest - 1, n, 0.0)) < _check_fraction("power", power):
        return share
    least, enough = 0.0, share
    for _ in range(50):
        middle = (least + enough) / 2
        least, enough = (least, middle) if special.bdtr(lowest - 1, n, share - middle) >= power else (middle, enough)
    return enough


def paired_interval(differences: Sequence[float], confidence: float = 0.95, *, grain: float = 0.0) -> Interval:
    """Student interval (1908) of the mean of differences paired by seed, in their unit; both values of a pair come in steps of `grain`.

    (0, 0) where every difference is zero: both sides are the very same. Takes two differences or more.
    """
    center, squares = _mean_and_squares(differences, at_least=2)
    n = len(differences)
    reach = _student_quantile(1 - _check_fraction("confidence", confidence), n - 1) * sqrt((squares / (n - 1) + 2 * _rounding_variance(grain)) / n)
    return _around(center, reach if any(differences) else 0.0)


def paired_test(differences: Sequence[float], *, grain: float = 0.0) -> float:
    """Two-sided p-value of "differences paired by seed have mean zero" (Student 1908); below 0.05 where `paired_interval` leaves out zero.

    Takes two differences or more.  grain: the step both values of a pair come in, see there.
    """
    center, squares = _mean_and_squares(differences, at_least=2)
    n = len(differences)
    return _student_p(center, sqrt((squares / (n - 1) + 2 * _rounding_variance(grain)) / n), n - 1)


def unpaired_interval(values: Sequence[float], others: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student interval (1908) of the difference of two means, values minus others, with pooled variance.  Takes three values in all or more."""
    center, squares = _mean_and_squares(values)
    other_center, other_squares = _mean_and_squares(others)
    freedom = len(values) + len(others) - 2
    if freedom == 0:
        raise ValueError("one value on either side tells nothing about their spread: give at least three values in all")
    error = sqrt((squares + other_squares) / freedom * (1 / len(values) + 1 / len(others)))
    return _around(center - other_center, _student_quantile(1 - _check_fraction("confidence", confidence), freedom) * error)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number (Holm 1979): the chance that any true hypothesis comes out below a level is at most that level."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def tolerance_factor(n: int, coverage: float, confidence: float = 0.95) -> float:
    """How many root mean squares of n normal deviations from a KNOWN centre hold the share `coverage` of all deviations, with this confidence.

    Two-sided; Howe's (1969) factor, which is exact where the centre is known.
    """
    if n < 1:
        raise ValueError(f"{n} deviations tell nothing about their spread: give at least one")
    return _normal_quantile(coverage, "coverage") * sqrt(n / special.chdtri(n, _check_fraction("confidence", confidence)))


def mean_interval(values: Sequence[float], confidence: float = 0.95, *, grain: float = 0.0) -> Interval:
    """Student interval (1908) of the mean of values that come in steps of `grain`, in their unit.  Takes two values or more."""
    center, squares = _mean_and_squares(values, at_least=2)
    error = sqrt((squares / (len(values) - 1) + _rounding_variance(grain)) / len(values))
    return _around(center, _student_quantile(1 - _check_fraction("confidence", confidence), len(values) - 1) * error)


def count_interval(right: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of the share behind right/n (Clopper & Pearson 1934: exact, so it holds at least the confidence)."""
    _check_count(right, n)
    miss = (1 - _check_fraction("confidence", confidence)) / 2
    low = 0.0 if right == 0 else float(special.betaincinv(right, n - right + 1, miss))
    high = 1.0 if right == n else float(special.betaincinv(right + 1, n - right, 1 - miss))
    return Interval(low, high)


@dataclass(frozen=True)
class ChangePoint:
    """A place before which values have another mean than from it on.  p: of "the stretch around it has one mean", corrected for the places tried in it."""

    index: int
    p: float


def change_points(values: Sequence[float], level: float, *, grain: float = 0.0, allowed: Sequence[bool] = (), shortest: int = 3) -> tuple[ChangePoint, ...]:
    """Where the mean of values in order of time changes, from first to last; none in fewer than 2 `shortest` values.

    Binary segmentation (Scott & Knott 1974): the stretch is parted where `student_test` of both parts gives the smallest p, if that p times the number of
    places tried (Bonferroni's bound for the largest of these statistics, Worsley 1979) lies below the level; then so are its parts.  Of normal values with one
    mean, at most the share `level` is parted at all.  allowed: for each value whether a change may begin there (default: everywhere).
    shortest: fewest values of a part, so that one or two outliers make no change.
    """
    _check_fraction("level", level)
    starts = [index for index in range(shortest, len(values) - shortest + 1) if not allowed or allowed[index]]
    if not starts:
        return ()
    tried = [(student_test(values[index:], values[:index], grain=grain), index) for index in starts]
    p, index = min(tried)
    if p * len(starts) >= level:
        return ()
    before = change_points(values[:index], level, grain=grain, allowed=allowed[:index], shortest=shortest)
    after = change_points(values[index:], level, grain=grain, allowed=allowed[index:], shortest=shortest)
    return (*before, ChangePoint(index, p * len(starts)), *(ChangePoint(index + later.index, later.p) for later in after))


def highest_rate(n_flagged: int, n_runs: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of the rate behind n_flagged of n_runs (Clopper & Pearson 1934)."""
    _check_count(n_flagged, n_runs)
    _check_fraction("confidence", confidence)
    return 1.0 if n_flagged == n_runs else float(special.betaincinv(n_flagged + 1, n_runs - n_flagged, confidence))


def _further_mean(recorded: Sequence[float], n_found: int, grain: float, n_before: int | None = None) -> tuple[float, float]:
    """The recorded mean, and the standard error of the mean of n_found further values around it, or around that of n_before of the recorded ones."""
    center, squares = _mean_and_squares(recorded, at_least=2)
    if n_found < 1:
        raise ValueError(f"n_found is {n_found}: at least one value must be found")
    return center, sqrt((squares / (len(recorded) - 1) + _rounding_variance(grain)) * (1 / n_found + 1 / (n_before or len(recorded))))


def _chance_beyond(border: float, shift: float, freedom: int) -> float:
    """P(T > border) of the noncentral t, summed over its normal noise z: scipy's nctdtr takes minutes where few seeds meet a strict level."""
    z = np.linspace(-9, 9, 3601)
    weights = np.exp(-(z**2) / 2)
    largest_spread = np.maximum(z + shift, 0) / border
    return float(weights @ special.gammainc(freedom / 2, freedom * largest_spread**2 / 2) / weights.sum())


def _student_p(difference: float, error: float, freedom: int) -> float:
    """How likely |t| is at least as large by chance: 1 where nothing differs, 0 where something does that nothing moves."""
    if difference == 0 or error == 0:
        return float(difference == 0)
    return float(2 * special.stdtr(freedom, -abs(difference) / error))


def _share_and_score(right: int, n: int, confidence: float) -> tuple[float, Interval]:
    """The share right/n and its score interval (Wilson 1927)."""
    _check_count(right, n)
    share, z = right / n, _normal_quantile(confidence)
    reach = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return share, _around((share + z**2 / (2 * n)) / (1 + z**2 / n), reach / (1 + z**2 / n))


def _mean_and_squares(values: Sequence[float], at_least: int = 1) -> tuple[float, float]:
    """The mean, and the sum of squared deviations from it."""
    if len(values) < at_least or not all(map(isfinite, values)):
        raise ValueError(f"{list(values)}: give at least {at_least} values, all finite")
    plain = [float(value) for value in values]  # the exact mean of numpy integers would be cut to an integer
    return mean(plain), pvariance(plain) * len(plain)


def _rounding_variance(grain: float) -> float:
    if not 0 <= grain < inf:
        raise ValueError(f"the grain is {grain}: give the step of the values, or 0")
    return grain**2 / 12


def _around(center: float, reach: float) -> Interval:
    return Interval(center - reach, center + reach)


def _student_quantile(level: float, freedom: int) -> float:
    """What |t| exceeds with probability `level`."""
    return -float(special.stdtrit(freedom, _check_fraction("level", level) / 2))


def _normal_quantile(share: float, name: str = "confidence") -> float:
    """What |z| stays below with probability `share`."""
    return -float(special.ndtri((1 - _check_fraction(name, share)) / 2))


def _check_count(right: int, n: int) -> None:
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} of {n}: not a count out of at least one")


def _check_fraction(name: str, value: float) -> float:
    """The value itself."""
    if not 0 < value < 1:
        raise ValueError(f"the {name} is {value}: it must lie between 0 and 1")
    return value
