from math import exp, log

import pytest
from scipy.stats import fisher_exact, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from bench.comparison.contrasts import ROUNDING, accuracy_contrast, cost_contrast, counts_contrast, flips_of, loss_contrast
from bench.statistics import Interval, mcnemar, paired_interval, paired_test
from gptcore.answers import Answers, Count, pack
from gptcore.dataset import SPLITS

LEVEL = 0.05


def answers(right, asked=None):
    return Answers(len(right), pack(map(bool, right)), pack([True] * len(right) if asked is None else map(bool, asked)))


def losses(figures, *pairs):
    return [(figures(train_loss=base), figures(train_loss=head)) for base, head in pairs]


# Answers of one seed to the same texts.


def test_flips_count_texts_that_both_sides_were_asked_for():
    flips = flips_of(answers([1, 1, 0, 0, 0], asked=[1, 1, 1, 1, 0]), answers([0, 1, 1, 0, 0], asked=[1, 1, 1, 0, 1]))
    assert (flips.n, flips.base_right, flips.head_right, flips.lost, flips.gained, flips.change) == (3, 2, 2, 1, 1, 0)


def test_no_text_in_common_makes_no_flips_and_no_contrast(figures):
    half, other_half = answers([1, 0, 0, 0], asked=[1, 1, 0, 0]), answers([0, 0, 1, 0], asked=[0, 0, 1, 1])
    assert flips_of(half, other_half) is None
    margins = dict.fromkeys(SPLITS, (1.0, -1.0, 1.0, -1.0))
    base, head = (figures(answers={"train": half_of, "validation": half, "test": half}, margins=margins) for half_of in (half, other_half))
    assert accuracy_contrast([(base, head)], "train") is None
    assert accuracy_contrast([(base, base), (base, head)], "train") is None
    assert accuracy_contrast([(base, head)], "test").is_same


def test_one_seed_goes_by_mcnemar(figures):
    contrast = accuracy_contrast([(figures(wrong_test=range(10)), figures(wrong_test=range(7, 25)))], "test")  # 7 gained, 15 lost of 300
    assert contrast.p == pytest.approx(reference_mcnemar([[275, 15], [7, 3]], exact=True).pvalue)
    assert (contrast.base, contrast.head) == (290 / 300, 282 / 300)
    assert contrast.difference == pytest.approx(-8 / 300)
    assert contrast.difference in contrast.interval
    assert "15 texts lost and 7 gained of 300" in contrast.reason
    assert not contrast.is_same


def test_all_texts_right_on_both_sides_is_the_same(figures):
    contrast = accuracy_contrast([(figures(wrong_test=[]), figures(wrong_test=[]))], "test")
    assert (contrast.difference, contrast.p, contrast.is_same) == (0, 1, True)


def test_as_many_right_ones_elsewhere_are_not_the_same(figures):
    contrast = accuracy_contrast([(figures(wrong_test=[1]), figures(wrong_test=[2]))], "test")
    assert (contrast.difference, contrast.p, contrast.is_same) == (0, 1, False)


# Several seeds.


def seeds(figures, *wrong):
    """Pairs of figures with so many wrong test texts in BASE and in HEAD."""
    return [(figures(wrong_test=range(base)), figures(wrong_test=range(head))) for base, head in wrong]


def test_many_seeds_go_by_the_paired_t_test(figures):
    contrast = accuracy_contrast(seeds(figures, (10, 12), (12, 13), (9, 11), (14, 15), (11, 13), (10, 11)), "test")
    differences = [-2 / 300, -1 / 300, -2 / 300, -1 / 300, -2 / 300, -1 / 300]
    assert contrast.p == pytest.approx(2 * paired_test(differences, grain=1 / 300))
    assert contrast.difference == pytest.approx(-0.005)
    assert contrast.interval == paired_interval(differences, grain=1 / 300)
    assert contrast.reason == "6 seeds, paired t-test (which the interval is of) or McNemar's exact test in every seed, twice the smaller p"


def test_few_seeds_that_all_collapse_are_found_by_their_answers(figures):
    contrast = accuracy_contrast(seeds(figures, (10, 130), (12, 140)), "test")
    assert contrast.p == 2 * mcnemar(120, 0) < 1e-30


def test_seeds_that_move_in_different_directions_are_no_finding(figures):
    assert accuracy_contrast(seeds(figures, (10, 60), (60, 10)), "test").p == 1


def test_seeds_that_agree_in_every_answer_are_the_same(figures):
    contrast = accuracy_contrast(seeds(figures, (10, 10), (3, 3), (0, 0)), "test")
    assert (contrast.is_same, contrast.p, contrast.difference, contrast.interval) == (True, 1, 0, Interval(0, 0))


def test_an_interval_of_accuracies_ends_at_all_and_nothing(figures):
    contrast = accuracy_contrast(seeds(figures, (0, 300), (150, 150)), "test")
    assert contrast.interval == Interval(-1, 1)


# Counts without a common seed.


def test_counts_go_by_fisher():
    contrast = counts_contrast(Count(290, 300), Count(270, 300))
    assert contrast.p == pytest.approx(fisher_exact([[290, 10], [270, 30]]).pvalue)
    assert contrast.difference == pytest.approx(-20 / 300)
    assert 0 not in contrast.interval
    assert not contrast.is_same


def test_equal_counts_without_a_common_seed_are_not_called_the_same():
    contrast = counts_contrast(Count(300, 300), Count(300, 300))
    assert (contrast.p, contrast.difference, contrast.is_same) == (1, 0, False)


# Losses.


def test_the_loss_of_one_seed_is_not_tested(figures):
    contrast = loss_contrast(losses(figures, (0.5, 0.75)), "train_loss")
    assert (contrast.base, contrast.head, contrast.difference, contrast.p, contrast.interval, contrast.is_same) == (0.5, 0.75, 0.25, None, None, False)
    assert "--seeds" in contrast.reason


def test_losses_of_several_seeds_go_by_the_paired_t_test(figures):
    base, head = [0.5, 0.6, 0.7, 0.55], [0.56, 0.63, 0.79, 0.6]
    contrast = loss_contrast(losses(figures, *zip(base, head, strict=True)), "train_loss")
    assert contrast.p == pytest.approx(ttest_rel(head, base).pvalue)
    reference = ttest_rel(head, base).confidence_interval()
    assert (contrast.interval.low, contrast.interval.high) == pytest.approx((reference.low, reference.high))


def test_losses_that_moved_by_rounding_alone_prove_nothing(figures):
    """Every seed by the same little: without a grain that would be certain."""
    base = [0.5, 0.6, 0.7, 0.55]
    moved = losses(figures, *[(loss, loss * (1 + 1e-7)) for loss in base])
    contrast = loss_contrast(moved, "train_loss")
    assert not contrast.is_same
    assert contrast.p > 0.5
    assert 0 in contrast.interval
    assert paired_test([head.history[-1].train_loss - pair.history[-1].train_loss for pair, head in moved]) < 1e-3


def test_a_move_well_beyond_rounding_is_proven(figures):
    contrast = loss_contrast(losses(figures, *[(loss, loss * (1 + 20 * ROUNDING)) for loss in (0.5, 0.6, 0.7, 0.55)]), "train_loss")
    assert contrast.p < LEVEL
    assert 0 not in contrast.interval


def test_equal_losses_are_the_same(figures):
    for n_seeds in (1, 2, 5):
        assert loss_contrast(losses(figures, *[(0.5, 0.5)] * n_seeds), "train_loss").is_same


# Durations.


def test_durations_are_ratios_of_medians_of_runs_in_turn():
    base, head = [10.0, 11.0, 12.0, 30.0], [12.0, 13.5, 14.0, 36.5]
    contrast = cost_contrast(base, head)
    reference = ttest_rel([log(value) for value in head], [log(value) for value in base])
    assert (contrast.base, contrast.head, contrast.difference) == (11.5, 13.75, 13.75 / 11.5)
    assert contrast.p == pytest.approx(reference.pvalue)
    assert contrast.interval.low == pytest.approx(exp(reference.confidence_interval().low))
    assert contrast.p < LEVEL
    assert 1 not in contrast.interval  # though BASE alone spreads threefold


def test_pairs_of_runs_bear_a_drift_of_the_machine():
    drifting = [1.0, 2.0, 4.0, 8.0]
    assert cost_contrast(drifting, [1.1 * value for value in drifting]).p < 1e-6


@pytest.mark.parametrize(("base", "head"), [([2.0], [3.0]), ([2.0, 2.1], [3.0, 3.1]), ([2.0, 2.1, 2.2], [3.0])])
def test_few_timings_are_not_tested(base, head):
    contrast = cost_contrast(base, head)
    assert (contrast.p, contrast.interval) == (None, None)
    assert contrast.difference > 1
    assert "measurement" in contrast.reason


def test_equal_timings_are_the_same():
    assert cost_contrast([2.0], [2.0]).is_same
    contrast = cost_contrast([2.0, 3.0, 4.0], [2.0, 3.0, 4.0])
    assert (contrast.is_same, contrast.p, contrast.interval, contrast.difference) == (True, None, None, 1)
