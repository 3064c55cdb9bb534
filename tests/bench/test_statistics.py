import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.statistics import (
    ChangePoint,
    Interval,
    change_points,
    count_interval,
    counts_band,
    flips_interval,
    highest_rate,
    holm,
    mcnemar,
    mean_interval,
    noticed_drop,
    paired_interval,
    paired_test,
    pooled_reach,
    proportions_interval,
    proportions_test,
    same_seeds_test,
    seeds_band,
    student_test,
    tolerance_factor,
    unpaired_interval,
)

RECORDED = (0.95, 0.96, 0.943, 0.967, 0.953)
LEVELS = (0.2, 0.05, 0.01, 0.001)

accuracies = st.integers(0, 1000).map(lambda right: right / 1000)
samples = st.lists(accuracies, min_size=2, max_size=12)
levels = st.floats(1e-6, 0.999)
grains = st.sampled_from([0.0, 0.001, 0.05])
counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
flips = st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(1, 100)).map(lambda drawn: (drawn[0], drawn[1], sum(drawn)))  # lost, gained, n


def bounds(interval):
    return interval.low, interval.high


# Values over seeds


@pytest.mark.parametrize("found", [(0.93, 0.94, 0.955), (0.99, 0.9), (*RECORDED[:4], 0.1)])
def test_student_test_equals_scipy(found):
    assert student_test(found, RECORDED) == pytest.approx(stats.ttest_ind(found, RECORDED, equal_var=True).pvalue, rel=1e-10)


def test_one_found_value_is_tested_with_the_recorded_variance():
    t = (0.93 - np.mean(RECORDED)) / (np.std(RECORDED, ddof=1) * math.sqrt(1 + 1 / 5))
    assert student_test([0.93], RECORDED) == pytest.approx(2 * stats.t.sf(abs(t), 4), rel=1e-10)
    assert student_test(RECORDED, [0.93]) == student_test([0.93], RECORDED)


def test_seeds_that_all_agree_make_another_value_impossible_only_without_a_grain():
    same = [0.1] * 5
    assert student_test([0.1], same) == 1.0
    assert student_test([0.1], same, grain=0.01) == 1.0
    assert student_test([0.2], same) == 0.0
    assert student_test([0.2], same, grain=0.01) == pytest.approx(2 * stats.t.sf(10 * math.sqrt(12 / 1.2), 4))
    assert bounds(seeds_band(same, 0.05)) == (0.1, 0.1)


@given(samples, samples, grains)
def test_student_test_is_symmetric(found, recorded, grain):
    p = student_test(found, recorded, grain=grain)
    assert 0 <= p <= 1
    assert p == pytest.approx(student_test(recorded, found, grain=grain))
    assert p == pytest.approx(student_test([1 - value for value in found], [1 - value for value in recorded], grain=grain), abs=1e-9)


@given(samples, accuracies)
def test_a_coarser_grain_makes_any_difference_likelier(recorded, value):
    assert student_test([value], recorded) <= student_test([value], recorded, grain=0.001) <= student_test([value], recorded, grain=0.1)


@given(samples, levels, st.sampled_from([0.001, 0.05]))
def test_the_border_of_the_band_has_the_level_as_its_p_value(recorded, level, grain):
    for border in bounds(seeds_band(recorded, level, grain=grain)):
        assert student_test([border], recorded, grain=grain) == pytest.approx(level, rel=1e-6)


@given(samples, levels, st.integers(1, 9), grains)
def test_the_band_contains_the_mean_and_widens_with_a_smaller_level(recorded, level, n_found, grain):
    narrow, wide = (seeds_band(recorded, chance, n_found=n_found, grain=grain) for chance in (level, level / 2))
    assert pytest.approx(np.mean(recorded)) == (narrow.low + narrow.high) / 2
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_the_band_of_a_further_mean_equals_its_formula():
    reach = stats.t.isf(0.005, 4) * np.std(RECORDED, ddof=1) * math.sqrt(1 / 3 + 1 / 5)
    assert bounds(seeds_band(RECORDED, 0.01, n_found=3)) == pytest.approx((np.mean(RECORDED) - reach, np.mean(RECORDED) + reach))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_found", [1, 2, 5, 20])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95, 0.99])
def test_noticed_drop_has_the_power_statsmodels_computes(level, n_found, power):
    statsmodels_power = pytest.importorskip("statsmodels.stats.power")
    effect = noticed_drop(RECORDED, level, n_found=n_found, power=power) / np.std(RECORDED, ddof=1)
    # one tail at half the level: of both, statsmodels makes nan where the other tail is too small for scipy
    found = statsmodels_power.TTestIndPower().power(effect, nobs1=5, alpha=level / 2, ratio=n_found / 5, alternative="larger")
    assert found == pytest.approx(power, abs=1e-8)


def test_noticed_drop_adds_the_rounding_to_the_spread():
    assert noticed_drop([0.5, 0.5, 0.5], 0.05) == 0.0
    spread = 0.1 / math.sqrt(12)
    same_spread = [0.5 - spread, 0.5, 0.5 + spread]
    assert noticed_drop([0.5, 0.5, 0.5], 0.05, grain=0.1) == pytest.approx(noticed_drop(same_spread, 0.05))


def test_noticed_drop_of_two_seeds_is_inverse_to_a_strict_level():  # as the quantile of Student's t with one degree of freedom
    assert noticed_drop([0.0, 2.0], 1e-9) == pytest.approx(1e6 * noticed_drop([0.0, 2.0], 1e-3), rel=1e-5)


@given(samples, st.floats(1e-4, 0.2), st.floats(0.3, 0.99))
def test_noticed_drop_shrinks_with_more_found_values_and_grows_with_power(recorded, level, power):
    drop = noticed_drop(recorded, level, power=power, grain=0.001)
    assert 0 < noticed_drop(recorded, level, power=power, grain=0.001, n_found=3) < drop
    assert drop < noticed_drop(recorded, level, power=power + 0.005, grain=0.001)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_paired_interval_equals_scipy(confidence):
    differences = [0.01, -0.02, 0.015, 0.003]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(confidence)
    assert bounds(paired_interval(differences, confidence)) == pytest.approx((expected.low, expected.high))


def test_differences_that_are_all_zero_leave_no_doubt_and_equal_ones_that_of_their_rounding():
    assert paired_interval([0.0, 0.0, 0.0], grain=0.01) == Interval(0.0, 0.0)
    assert paired_interval([0.5, 0.5]) == Interval(0.5, 0.5)
    reach = stats.t.isf(0.025, 1) * 0.01 / math.sqrt(6) / math.sqrt(2)
    assert bounds(paired_interval([0.5, 0.5], grain=0.01)) == pytest.approx((0.5 - reach, 0.5 + reach))


# Answers to the same texts


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test(lost, gained):
    expected = stats.binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(lost, gained) == mcnemar(gained, lost) <= 1.0


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (6, 0), (10, 3), (7, 7), (25, 60)])
def test_mcnemar_equals_statsmodels(lost, gained):
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    if lost + gained:
        assert mcnemar(lost, gained) == pytest.approx(tables.mcnemar([[100, lost], [gained, 50]], exact=True).pvalue)
    else:
        assert mcnemar(lost, gained) == 1.0


def test_flips_interval_equals_bonett_and_price_by_hand():
    # 4 lost, 10 gained of 98: shares 5/100 and 11/100, difference 0.06, variance (0.16 - 0.0036) / 100
    reach = 1.959963984540054 * math.sqrt(0.001564)
    assert bounds(flips_interval(4, 10, 98)) == pytest.approx((0.06 - reach, 0.06 + reach))


def test_flips_interval_is_clipped_where_every_answer_flips():
    assert flips_interval(1, 0, 1).low == -1.0
    assert flips_interval(0, 30, 30).high == 1.0


@given(flips, levels)
def test_flips_interval_mirrors_and_widens_with_confidence(drawn, level):
    lost, gained, n = drawn
    interval, wider = flips_interval(lost, gained, n, 1 - level), flips_interval(lost, gained, n, 1 - level / 2)
    mirrored = flips_interval(gained, lost, n, 1 - level)
    assert bounds(interval) == pytest.approx((-mirrored.high, -mirrored.low))
    assert -1 <= wider.low <= interval.low <= (gained - lost) / (n + 2) <= interval.high <= wider.high <= 1


# Counts of independent texts


@given(counts, counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_proportions_interval_equals_statsmodels(one, other, confidence):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportion.confint_proportions_2indep(*one, *other, method="newcomb", compare="diff", alpha=1 - confidence)
    assert bounds(proportions_interval(*one, *other, confidence)) == pytest.approx(expected, abs=1e-12)


def test_proportions_interval_equals_newcombes_own_example():
    assert bounds(proportions_interval(56, 70, 48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # his table II, case (a)


@given(counts, counts, levels)
def test_proportions_interval_contains_the_difference_and_mirrors(one, other, level):
    interval, mirrored = proportions_interval(*one, *other, 1 - level), proportions_interval(*other, *one, 1 - level)
    assert one[0] / one[1] - other[0] / other[1] in interval
    assert bounds(interval) == pytest.approx((-mirrored.high, -mirrored.low))
    assert -1 <= interval.low <= interval.high <= 1


@given(counts, counts)
def test_proportions_test_equals_fishers(one, other):
    (right, n), (other_right, other_n) = one, other
    expected = stats.fisher_exact([[right, n - right], [other_right, other_n - other_right]]).pvalue
    assert proportions_test(*one, *other) == pytest.approx(expected, rel=1e-9)
    assert proportions_test(*one, *other) == pytest.approx(proportions_test(*other, *one), rel=1e-9)


def test_proportions_test_equals_fishers_on_large_counts():
    expected = stats.fisher_exact([[23_800, 1_200], [24_000, 1_000]]).pvalue
    assert proportions_test(23_800, 25_000, 24_000, 25_000) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 300), (300, 300)])
def test_all_right_or_all_wrong_on_both_sides_is_no_difference(right, n):
    assert proportions_test(right, n, right, n) == 1.0
    assert right in counts_band(right, n, 0.05)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), levels)
def test_counts_band_holds_just_the_counts_that_are_not_rejected(one, level):
    right, n = one
    band = counts_band(right, n, level)
    assert [count for count in range(n + 1) if count in band] == [count for count in range(n + 1) if proportions_test(count, n, right, n) >= level]
    assert right in band


# Tolerances and rates


@given(st.integers(1, 500), st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_tolerance_factor_covers_with_just_its_confidence(n, coverage, confidence):
    # the factor times the root mean square reaches far enough if n * square exceeds n * (z / factor)^2, a chi-square of n
    z = stats.norm.ppf((1 + coverage) / 2)
    assert stats.chi2.sf(n * (z / tolerance_factor(n, coverage, confidence)) ** 2, n) == pytest.approx(confidence)


def test_tolerance_factor_shrinks_towards_the_normal_quantile():
    factors = [tolerance_factor(n, 0.95) for n in (1, 5, 30, 1000, 10**7)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == pytest.approx(1.959964 / 0.0627068, rel=1e-5)  # the 5 % quantile of |z|
    assert factors[-1] == pytest.approx(1.959964, rel=1e-3)


@given(counts, st.floats(0.01, 0.999))
def test_highest_rate_equals_clopper_and_pearson(one, confidence):
    expected = stats.binomtest(*one, alternative="less").proportion_ci(confidence, method="exact").high
    assert highest_rate(*one, confidence) == pytest.approx(expected)


def test_no_flag_in_thirty_runs_still_allows_a_tenth():
    assert highest_rate(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert highest_rate(3, 3) == 1.0


# Impossible input


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: student_test([], RECORDED), "at least 1"),
        (lambda: student_test(RECORDED, []), "at least 1"),
        (lambda: student_test([0.9], [0.9]), "three values in all"),
        (lambda: student_test([math.nan], RECORDED), "finite"),
        (lambda: student_test([0.9], RECORDED, grain=-0.1), "grain is -0.1"),
        (lambda: student_test([0.9], RECORDED, grain=math.nan), "grain is nan"),
        (lambda: seeds_band([], 0.05), "at least 2"),
        (lambda: seeds_band([0.9], 0.05), "at least 2"),
        (lambda: seeds_band(RECORDED, 0.0), "level is 0.0"),
        (lambda: seeds_band(RECORDED, math.nan), "level is nan"),
        (lambda: seeds_band(RECORDED, 0.05, n_found=0), "n_found is 0"),
        (lambda: noticed_drop([0.9], 0.05), "at least 2"),
        (lambda: noticed_drop(RECORDED, 1.0), "level is 1.0"),
        (lambda: noticed_drop(RECORDED, 0.05, power=1.0), "power is 1.0"),
        (lambda: noticed_drop(RECORDED, 0.05, power=0.025), "power is 0.025"),
        (lambda: mcnemar(-1, 0), "negative"),
        (lambda: flips_interval(0, 0, 0), "not possible"),
        (lambda: flips_interval(0, -1, 5), "not possible"),
        (lambda: flips_interval(3, 3, 5), "not possible"),
        (lambda: flips_interval(1, 1, 5, 1.0), "confidence is 1.0"),
        (lambda: proportions_interval(1, 2, 0, 0), "0 of 0"),
        (lambda: proportions_interval(1, 2, 1, 2, 0.0), "confidence is 0.0"),
        (lambda: proportions_test(0, 0, 1, 2), "0 of 0"),
        (lambda: proportions_test(1, 2, 3, 2), "3 of 2"),
        (lambda: counts_band(-1, 2, 0.05), "-1 of 2"),
        (lambda: counts_band(1, 2, 5), "level is 5"),
        (lambda: paired_interval([]), "at least 2"),
        (lambda: paired_interval([0.0]), "at least 2"),
        (lambda: paired_interval([0.1, 0.2], 95), "confidence is 95"),
        (lambda: tolerance_factor(0, 0.95), "0 deviations"),
        (lambda: tolerance_factor(5, 1.0), "coverage is 1.0"),
        (lambda: tolerance_factor(5, 0.95, 0.0), "confidence is 0.0"),
        (lambda: highest_rate(0, 0), "0 of 0"),
        (lambda: highest_rate(1, 2, 2), "confidence is 2"),
    ],
)
def test_impossible_input_is_refused_with_the_bad_value(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()


def test_whole_numbers_of_numpy_are_values_like_any_other():
    assert student_test(np.array([4]), np.array([1, 2, 2, 3])) == student_test([4.0], [1.0, 2.0, 2.0, 3.0])


def test_an_interval_includes_its_ends():
    assert all(value in Interval(0.0, 1.0) for value in (0.0, 0.5, 1.0))
    assert not any(value in Interval(0.0, 1.0) for value in (-0.1, 1.1, math.nan))


# The paired test by itself.


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_the_paired_test_is_scipys(differences):
    assume(max(differences) - min(differences) > 0.01)
    assert paired_test(differences) == pytest.approx(stats.ttest_rel(differences, [0.0] * len(differences)).pvalue, abs=1e-12)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=12))
def test_the_paired_test_agrees_with_the_interval(steps):
    differences = [step / 300 for step in steps]
    p, interval = paired_test(differences, grain=1 / 300), paired_interval(differences, grain=1 / 300)
    assume(abs(p - 0.05) > 1e-9)
    assert (p < 0.05) == (0 not in interval)


def test_differences_without_variance():
    assert paired_test([0.0, 0.0, 0.0]) == 1
    assert paired_test([0.5, 0.5, 0.5]) == 0
    assert paired_test([-0.5, 0.5]) == 1
    assert paired_test([1 / 300, 1 / 300, 1 / 300], grain=1 / 300) > 0.01  # three seeds that gained one text each prove little


# The correction for many tests.


@settings(max_examples=10)  # statsmodels collects garbage at every call
@given(st.lists(st.integers(0, 200), min_size=1, max_size=30))
def test_holm_is_that_of_statsmodels(numbers):
    p_values = [number / 200 for number in numbers]
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_of_nothing():
    assert holm([]) == []


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.lists(st.floats(-5, 5), min_size=2, max_size=9))
def test_the_unpaired_interval_is_scipys(values, others):
    assume(min(max(side) - min(side) for side in (values, others)) > 0.1)
    expected = stats.ttest_ind(values, others).confidence_interval()
    found = unpaired_interval(values, others)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_value_on_either_side_has_no_interval():
    with pytest.raises(ValueError, match="nothing about their spread"):
        unpaired_interval([1.0], [2.0])


def test_the_pooled_reach_is_the_prediction_interval_of_one_more_timing():
    groups = [[0.0, 0.2], [1.0, 1.1], [5.0]]
    spread = math.sqrt((0.02 + 0.005) / 2)
    assert pooled_reach(groups, 0.01) == pytest.approx(stats.t.ppf(0.995, 2) * spread * math.sqrt(1.5))
    with pytest.raises(ValueError, match="no group has two values"):
        pooled_reach([[1.0], [2.0]], 0.01)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), levels)
def test_the_interval_of_a_mean_is_scipys(values, level):
    assume(max(values) - min(values) > 0.1)
    expected = stats.t.interval(1 - level, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert bounds(mean_interval(values, 1 - level)) == pytest.approx(expected)


def test_seeds_that_all_agree_leave_the_interval_of_their_step():
    low, high = bounds(mean_interval([0.5] * 4, grain=0.1))
    assert high - 0.5 == pytest.approx(0.5 - low) == pytest.approx(stats.t.ppf(0.975, 3) * 0.1 / math.sqrt(12 * 4))
    assert bounds(mean_interval([0.5] * 4)) == (0.5, 0.5)


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_of_a_count_is_scipys_exact_one(count, confidence):
    expected = stats.binomtest(*count).proportion_ci(confidence, method="exact")
    assert bounds(count_interval(*count, confidence)) == pytest.approx((expected.low, expected.high), abs=1e-9)


# Changes


def split_by_scipy(values, level, shortest=3):
    """The first split of binary segmentation, by scipy's test at every place."""
    tried = {start: stats.ttest_ind(values[:start], values[start:]).pvalue for start in range(shortest, len(values) - shortest + 1)}
    best = min(tried, key=tried.get)
    return (best, tried[best] * len(tried)) if tried[best] * len(tried) < level else None


@given(st.integers(0, 1000), st.integers(6, 15), st.integers(3, 12))
def test_the_best_split_is_where_scipys_test_has_its_smallest_p(seed, n, at):
    noise = np.random.default_rng(seed).normal(size=n)
    values = [value + 3 * (index >= at) for index, value in enumerate(noise)]
    split, found = split_by_scipy(values, 0.5), change_points(values, 0.5)
    assert bool(found) is bool(split)
    if split:
        assert any(change.p == pytest.approx(split[1], rel=1e-6) for change in found)


def test_changes_are_found_where_they_are_and_nowhere_else():
    noise = np.random.default_rng(1).normal(scale=0.05, size=40)
    values = noise + np.repeat([0.0, 1.0, 0.4], [10, 20, 10])
    assert [change.index for change in change_points(list(values), 0.01)] == [10, 30]


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
@pytest.mark.parametrize("n", [6, 12, 30])
def test_noise_has_no_changes(draw, n):
    """Of 400 histories without a change at most the level, and what chance adds to that, shows one."""
    generator = np.random.default_rng(7)
    flagged = sum(bool(change_points(list(getattr(generator, draw)(n)), 0.05)) for _ in range(400))
    assert flagged <= stats.binom.ppf(0.999, 400, 0.05)


def test_figures_that_never_move_have_no_changes():
    assert change_points([0.95] * 20, 0.01, grain=1 / 300) == ()


def test_a_text_more_or_less_is_no_change_and_twenty_are():
    assert change_points([0.95] * 5 + [0.95 + 1 / 300] * 5, 0.001, grain=1 / 300) == ()
    (change,) = change_points([0.95] * 5 + [0.95 - 20 / 300] * 5, 0.001, grain=1 / 300)
    assert change.index == 5


def test_one_or_two_outliers_are_no_change():
    assert change_points([1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 3.0], 0.01) == ()
    assert change_points([1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 3.0, 3.01], 0.01) == ()
    assert [change.index for change in change_points([1.0, 1.01, 0.99, 1.0, 1.02, 3.01, 3.0, 3.01], 0.01)] == [5]


def test_a_change_begins_only_where_it_may():
    values = [0.0, 0.1, 0.0, 0.1, 5.0, 5.1, 5.0, 5.1]
    assert [change.index for change in change_points(values, 0.01)] == [4]
    assert change_points(values, 0.01, allowed=[False] * 8) == ()
    assert 4 not in [change.index for change in change_points(values, 0.2, allowed=[index != 4 for index in range(8)])]


def test_places_tried_are_corrected_for():
    values = [0.0, 0.1, 0.05, 1.0, 1.1, 1.05, 1.0]
    alone = change_points(values, 0.01, allowed=[index == 3 for index in range(7)])
    assert change_points(values, 0.01) == (ChangePoint(3, 2 * alone[0].p),)


def test_too_few_values_have_no_changes():
    assert change_points([0.0, 0.0, 0.0, 9.0, 9.0], 0.5) == ()
    with pytest.raises(ValueError, match="level is 2"):
        change_points([0.0], 2.0)


# Seeds that were recorded themselves


@pytest.mark.parametrize("n", [2, 3, 5])
def test_seeds_against_themselves_equal_twice_the_smaller_p_of_scipys_tests(n):
    before = RECORDED[:n]
    for found in ([value - 0.01 + 0.001 * index for index, value in enumerate(before)], [0.5 * value for value in before]):
        paired = stats.ttest_rel(found, before).pvalue
        freedom = n + len(RECORDED) - 2
        pooled = (np.var(found) * n + np.var(RECORDED) * len(RECORDED)) / freedom
        unpaired = 2 * stats.t.sf(abs(np.mean(found) - np.mean(before)) / math.sqrt(2 * pooled / n), freedom)
        assert same_seeds_test(found, before, RECORDED) == pytest.approx(min(1, 2 * min(paired, unpaired)), rel=1e-9)


def test_seeds_that_give_what_they_gave_moved_nothing_however_odd_they_are():
    recorded = [0.9] * 98 + [0.1] * 2
    assert same_seeds_test([0.1, 0.1], [0.1, 0.1], recorded, grain=0.01) == 1.0


def drawn(n, correlation, *, n_recorded=20, n_draws=4000):
    """Recorded values, and what n of their seeds give once more, for so many draws from the normal distribution: nothing moved."""
    generator = np.random.default_rng(20)
    recorded, fresh = generator.standard_normal((n_draws, n_recorded)), generator.standard_normal((n_draws, n))
    return recorded, correlation * recorded[:, :n] + math.sqrt(1 - correlation**2) * fresh


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_seeds_against_themselves_are_flagged_no_more_often_than_the_level(n, correlation):
    level = 0.05
    recorded, found = drawn(n, correlation, n_draws=1000)
    flagged = sum(same_seeds_test(now, all_of_them[:n], all_of_them) < level for now, all_of_them in zip(found, recorded, strict=True))
    assert stats.binomtest(flagged, len(found), level, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 20])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_drop_that_seeds_notice_against_themselves_has_at_least_its_power(n, correlation):
    level, power = 1e-4, 0.95
    recorded, found = drawn(n, correlation, n_draws=400)
    # The true spread is 1, whatever the sample says: of a long sample scaled to it the drop is the true one.
    known = np.array([-1, 1] * 10) * math.sqrt(19 / 20)
    drop = noticed_drop(known, level / 2, n_found=n, n_before=n, power=power)
    noticed = sum(same_seeds_test(now - drop, all_of_them[:n], all_of_them) < level for now, all_of_them in zip(found, recorded, strict=True))
    assert stats.binomtest(noticed, len(found), power, alternative="less").pvalue > 1e-3
