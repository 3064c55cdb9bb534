from itertools import pairwise, product
from math import exp, log

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.stats import ttest_1samp, ttest_ind
from statsmodels.stats.contingency_tables import mcnemar as independent_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from bench.findings.differences import Basis, CannotCompareError, accuracy_difference, discordant_range, duration_ratio, exact_difference
from bench.findings.evidence import Evidence, SeedEvidence
from bench.statistics import mcnemar, proportions_interval
from gptcore.answers import Count

N = 300


def row_of(seeds=(), durations=(1.0,), data="d", machine="m", rounding=0.0):
    """Evidence of one row; seeds: right ones of 300 by seed, or for each text whether it was right."""
    return Evidence(data, {seed: seed_of(known) for seed, known in dict(seeds).items()}, machine, durations, rounding)


def seed_of(known):
    if isinstance(known, int):
        return SeedEvidence({"test": Count(known, N)})
    return SeedEvidence({"test": Count(sum(known), len(known))}, tuple(known))


def wrong_at(*places, n=N):
    return [index not in places for index in range(n)]


def bounds(difference):
    return difference.interval.low, difference.interval.high


class TestSeveralSeeds:
    def test_the_interval_is_students_over_paired_differences(self):
        row, other = row_of({1: 290, 2: 280, 3: 297, 4: 295}), row_of({1: 280, 2: 276, 3: 285, 4: 287, 9: 0})
        found = accuracy_difference(row, other)
        differences = np.array([10, 4, 12, 8]) / 3
        student = ttest_1samp(differences, 0).confidence_interval(0.95)
        assert found.value == pytest.approx(differences.mean())
        assert (found.n, found.basis) == (4, Basis.SEEDS)
        assert bounds(found) == pytest.approx((student.low, student.high), abs=0.02)  # a little wider: accuracies are rounded to whole texts
        assert found.interval.low < student.low

    def test_seeds_that_all_differ_alike_still_have_a_width(self):
        found = accuracy_difference(row_of({1: 290, 2: 292}), row_of({1: 280, 2: 282}))
        assert found.value == pytest.approx(10 / 3)
        assert found.interval.low < found.value < found.interval.high

    def test_identical_rows_differ_by_exactly_nothing(self):
        row = row_of({1: 290, 2: 280})
        assert bounds(accuracy_difference(row, row)) == (0, 0)

    def test_no_interval_leaves_the_possible(self):
        assert bounds(accuracy_difference(row_of({1: 300, 2: 0}), row_of({1: 0, 2: 300}))) == (-100, 100)


class TestOneSeed:
    def test_answers_to_the_same_texts_are_paired(self):
        found = accuracy_difference(row_of({1: wrong_at(0, 1)}), row_of({1: wrong_at(0, *range(2, 12))}))
        assert found.value == pytest.approx(100 * 9 / 300)
        assert (found.n, found.basis) == (1, Basis.ANSWERS)
        p = independent_mcnemar([[0, 1], [10, 0]], exact=True).pvalue
        assert found.notes == (f"10 answers gained, 1 lost, p {p:.2g}",)
        assert 0 < found.interval.low < 3 < found.interval.high

    def test_pairing_tells_more_than_counts(self):
        paired = accuracy_difference(row_of({1: wrong_at(*range(10))}), row_of({1: wrong_at(*range(20))}))
        counted = accuracy_difference(row_of({1: 290}), row_of({1: 280}))
        assert paired.value == pytest.approx(counted.value)
        assert paired.interval.low > 0 > counted.interval.low

    def test_counts_alone_are_taken_as_independent(self):
        found = accuracy_difference(row_of({1: 295}), row_of({1: 285}))
        assert found.basis is Basis.COUNTS
        assert bounds(found) == pytest.approx([100 * bound for bound in confint_proportions_2indep(295, N, 285, N, method="newcomb")])

    def test_answers_of_one_row_alone_are_counts(self):
        assert accuracy_difference(row_of({1: wrong_at(0)}), row_of({1: 299})).basis is Basis.COUNTS

    @pytest.mark.parametrize("right", [0, 150, 300])
    def test_nothing_right_or_everything(self, right):
        for known in (right, [index < right for index in range(N)]):
            found = accuracy_difference(row_of({1: known}), row_of({1: known}))
            assert found.value == 0
            assert found.interval.low < 0 < found.interval.high

    @pytest.mark.parametrize(
        ("right", "other", "note"),
        [
            (290, 285, "no pairing significant, p from 0.062"),
            (294, 285, "p 0.0039 to 0.078, by pairing"),
            (295, 285, "any pairing significant, p up to 0.041"),
            (285, 285, "equal counts"),
        ],
    )
    def test_what_any_pairing_of_the_answers_would_say(self, right, other, note):
        assert accuracy_difference(row_of({1: right}), row_of({1: other})).notes == (note,)


class TestPairings:
    @pytest.mark.parametrize("n", [1, 4, 5])
    def test_the_range_is_that_of_all_pairings(self, n):
        seen = {}
        for right, other in product(product((False, True), repeat=n), repeat=2):
            lost = sum(there and not here for here, there in zip(right, other, strict=True))
            gained = sum(here and not there for here, there in zip(right, other, strict=True))
            seen.setdefault((sum(right), sum(other)), set()).add((lost, gained))
        for (right, other), flips in seen.items():
            assert discordant_range(right, other, n) == (min(flips), max(flips))

    @given(st.integers(0, N), st.integers(0, N))
    def test_p_only_rises_with_the_number_of_flips(self, right, other):
        (fewest_lost, _), (most_lost, _) = discordant_range(right, other, N)
        p_values = [mcnemar(lost, lost + right - other) for lost in range(fewest_lost, most_lost + 1)]
        assert all(before <= after * (1 + 1e-12) for before, after in pairwise(p_values))

    @given(st.integers(0, N), st.integers(0, N))
    def test_what_is_significant_however_paired_leaves_zero_out_of_the_interval(self, right, other):
        interval = proportions_interval(right, N, other, N)
        assert mcnemar(*discordant_range(right, other, N)[1]) >= 0.05 or 0 not in interval


class TestIdentity:
    def test_every_count_and_answer_must_be_equal(self):
        found, is_equal = exact_difference(row_of({1: wrong_at(3), 2: wrong_at(4)}), row_of({1: wrong_at(3), 2: wrong_at(4)}))
        assert is_equal
        assert (found.value, found.interval, found.n, found.notes) == (0, None, 2, ())

    def test_equal_counts_of_other_answers_are_told(self):
        found, is_equal = exact_difference(row_of({1: wrong_at(3), 2: wrong_at(4)}), row_of({1: wrong_at(3), 2: wrong_at(5)}))
        assert not is_equal
        assert found.notes == ("seed 2: 2 test answers",)

    def test_other_splits_count_too(self):
        rows = [Evidence("d", {1: SeedEvidence({"train": Count(right, 1040), "test": Count(285, N)})}, "m", (1.0,)) for right in (1005, 1006)]
        found, is_equal = exact_difference(*rows)
        assert not is_equal
        assert found.notes == ("seed 1: train 1005 against 1006", "counts alone, answers unknown")

    def test_many_differences_are_counted(self):
        found, _ = exact_difference(row_of({1: wrong_at(3), 2: wrong_at(4)}), row_of({1: wrong_at(), 2: wrong_at(5)}))
        assert found.notes == ("seed 1: test 299 against 300", "2 more figures differ")


class TestDurations:
    def test_several_timings_have_an_interval(self):
        seconds, others = (2.0, 2.2, 2.1), (1.0, 1.1)
        found = duration_ratio(row_of(durations=seconds), row_of(durations=others))
        student = ttest_ind([log(value) for value in seconds], [log(value) for value in others]).confidence_interval(0.95)
        assert bounds(found) == pytest.approx((exp(student.low), exp(student.high)))
        assert found.interval.low < found.value < found.interval.high
        assert (found.n, found.basis) == (2, Basis.TIMINGS)

    def test_equal_timings_leave_no_width(self):
        assert bounds(duration_ratio(row_of(durations=(2.0, 2.0)), row_of(durations=(1.0, 1.0)))) == pytest.approx((2, 2))

    @pytest.mark.parametrize("others", [(1.0,), (1.0, 1.0)])
    def test_one_timing_has_none(self, others):
        found = duration_ratio(row_of(durations=(2.5,)), row_of(durations=others))
        assert (found.value, found.interval, found.n, found.basis) == (pytest.approx(2.5), None, 1, Basis.ONE_TIMING)

    def test_what_rounding_leaves_is_told(self):
        found = duration_ratio(row_of(durations=(0.69,), rounding=0.01), row_of(durations=(0.28,), rounding=0.01))
        assert found.notes == (f"rounding alone leaves {0.685 / 0.285:.2f} to {0.695 / 0.275:.2f}",)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (row_of({1: 285}, data="e"), "measured on different texts"),
        (row_of({2: 285}), "no test accuracies of the same seed"),
        (row_of(), "no test accuracies of the same seed"),
        (row_of({1: [True] * 10}), "measured on different numbers of test texts"),
    ],
)
@pytest.mark.parametrize("compare", [accuracy_difference, exact_difference])
def test_what_does_not_belong_together_is_not_compared(compare, other, why):
    with pytest.raises(CannotCompareError, match=why):
        compare(row_of({1: 285}), other)


@pytest.mark.parametrize(("other", "why"), [(row_of(machine="elsewhere"), "timed on different machines"), (row_of(durations=()), "not timed")])
def test_durations_of_two_machines_are_not_compared(other, why):
    with pytest.raises(CannotCompareError, match=why):
        duration_ratio(row_of(), other)
