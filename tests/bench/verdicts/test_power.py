import math
from dataclasses import replace
from statistics import variance

import pytest
from scipy import stats

from bench.recording.bands import LEVEL
from bench.rows import ROWS
from bench.statistics import noticed_drop_of_count
from bench.verdicts.power import POWER, drop_beyond, power_of
from bench.verdicts.published import published_digests
from bench.verdicts.verdict import Judgement, Power, Strictness, Verdict

NOTHING = Power(None, None)


def judged(against="baseline", verdict=Verdict.PASS, **numbers):
    return [Judgement("test_accuracy", verdict, against, **numbers)]


def chance_of_regress(recorded, drop, n_found, grain):
    """How likely Student's test calls n_found seeds regressed whose mean lies `drop` below the recorded ones': the lower tail of the noncentral t.

    Exactly so for one seed; of more, which are held against themselves by two tests, this is one and says how likely they are at least.
    """
    freedom = len(recorded) + n_found - 2
    n_before, level = (len(recorded), LEVEL) if n_found == 1 else (n_found, LEVEL / 2)
    error = math.sqrt((variance(recorded) + grain**2 / 12) * (1 / n_found + 1 / n_before))
    return stats.nct.sf(stats.t.isf(level / 2, freedom), freedom, drop / error)


# A drift


def test_without_repeats_a_single_text_leaves_the_numerical_band(recorded, row_result):
    baseline = recorded().baselines["smoke"]["cpu"][1]
    assert power_of(judged(), row_result(), baseline, 2) == Power(pytest.approx(1 / 300), None)


def test_a_drift_is_noticed_one_text_beyond_the_numerical_band(recorded, row_result, figures):
    margins = figures().margins
    near = margins | {"test": (1e-7,) * 4 + margins["test"][4:]}  # four right texts that rounding could turn
    result = row_result(figures=figures(margins=near))
    baseline = recorded(result, moves=(1e-6, -1e-6)).baselines["smoke"]["cpu"][1]
    assert baseline.bands.counts["test"] == (281, 285)
    assert power_of(judged(), result, baseline, 2).drift == pytest.approx(5 / 300)


def test_no_drift_is_noticed_of_another_seed(recorded, of_seeds, seeds, row_result):
    baseline = recorded(of_seeds(seeds(5))).baselines["smoke"]["cpu"][1]
    power = power_of(judged(), row_result(seed=7), baseline, 2)
    assert power.drift is None
    assert power.drop == power_of(judged(), row_result(), baseline, 2).drop is not None


def test_the_drop_beyond_a_band_is_in_whole_texts():
    assert drop_beyond(0.9, 0.88, 100) == pytest.approx(0.03)


# A regress


@pytest.mark.parametrize("n_recorded", [3, 5, 10])
@pytest.mark.parametrize("n_found", [1, 3])
def test_the_drop_of_seeds_is_noticed_with_just_the_stated_power(recorded, of_seeds, seeds, n_recorded, n_found):
    baseline = recorded(of_seeds(seeds(n_recorded))).baselines["smoke"]["cpu"][1]
    values = [seed.counts["test"].accuracy for seed in baseline.seeds.values()]
    drop = power_of(judged(), of_seeds(seeds(n_found)), baseline, 2).drop
    assert chance_of_regress(values, drop, n_found, 1 / 300) == pytest.approx(POWER, abs=1e-4)


@pytest.mark.parametrize("n_found", [1, 2, 3, 5, 10])
def test_the_judge_calls_the_promised_drop_regressed(verdict_on, of_seeds, seeds, ten_seeds, n_found):
    drop = verdict_on(of_seeds(seeds(n_found)), ten_seeds).power.drop
    fallen = verdict_on(of_seeds(seeds(n_found, shift=-math.ceil(300 * drop))), ten_seeds, Strictness.LENIENT)
    (judgement,) = (one for one in fallen.judgements if one.metric == "test_accuracy")
    assert (judgement.verdict, fallen.holds) == (Verdict.REGRESSED, False)


def test_more_seeds_on_either_side_notice_less(recorded, of_seeds, seeds):
    def drop(n_recorded, n_found):
        return power_of(judged(), of_seeds(seeds(n_found)), recorded(of_seeds(seeds(n_recorded))).baselines["smoke"]["cpu"][1], 2).drop

    assert drop(10, 3) < drop(10, 1) < drop(5, 1) < drop(3, 1)


def test_seeds_that_all_agree_still_notice_only_what_rounding_to_texts_leaves(recorded, of_seeds, figures):
    perfect = of_seeds([figures(right=(1040, 149, 300))] * 20)
    drop = power_of(judged(), of_seeds([figures(right=(1040, 149, 300))]), recorded(perfect).baselines["smoke"]["cpu"][1], 2).drop
    assert chance_of_regress([1.0] * 20, drop, 1, 1 / 300) == pytest.approx(POWER, abs=1e-4)
    assert 1 / 300 < drop < 4 / 300


@pytest.mark.parametrize("n", [1, 2])
def test_of_too_few_recorded_seeds_no_regress_is_promised(recorded, of_seeds, seeds, row_result, n):
    assert power_of(judged(), row_result(), recorded(of_seeds(seeds(n))).baselines["smoke"]["cpu"][1], 2).drop is None


# Against the publication


def regressed_counts(right, n):
    """Counts that Fisher's exact test tells from right of n, below it."""
    return [found for found in range(right) if stats.fisher_exact([[found, n - found], [right, n - right]]).pvalue < LEVEL]


@pytest.mark.parametrize(("right", "n"), [(285, 300), (148, 149), (300, 300), (60, 80)])
def test_the_drop_of_a_published_count_is_noticed_with_just_the_stated_power(right, n):
    drop = noticed_drop_of_count(right, n, LEVEL, POWER)
    regressed = regressed_counts(right, n)

    def chance(drop):
        return sum(stats.binom.pmf(found, n, right / n - drop) for found in regressed)

    assert chance(drop) >= POWER - 1e-9
    assert chance(drop - 1e-4) < POWER


def test_the_drop_of_a_count_too_small_to_tell_is_all_of_it():
    assert noticed_drop_of_count(3, 8, LEVEL) == 3 / 8
    assert noticed_drop_of_count(0, 300, LEVEL) == 0.0


def test_a_published_row_notices_a_drift_beyond_the_authors_reruns(row_result):
    power = power_of(judged("published", expected=285 / 300, low=283 / 300 - 1e-9), row_result(), None, 2)
    assert power == Power(pytest.approx(3 / 300), noticed_drop_of_count(285, 300, LEVEL, POWER))


@pytest.mark.parametrize("right", [284, 275, 200, 300], ids=["pass", "drifted", "regressed", "improved"])
def test_what_a_published_row_would_notice_does_not_depend_on_what_was_found(expectations, verdict_on, row_result, figures, right):
    digests = published_digests(ROWS[0], expectations)
    usual, other = (verdict_on(row_result(digests=digests, figures=figures(right=(1005, 148, one))), expectations, tier="full") for one in (285, right))
    assert other.power == usual.power == Power(pytest.approx(3 / 300), noticed_drop_of_count(285, 300, LEVEL, POWER))


# Where there is nothing to notice


def test_what_was_not_judged_notices_nothing(recorded, row_result):
    baseline = recorded().baselines["smoke"]["cpu"][1]
    assert power_of(judged(), None, baseline, 2) == NOTHING
    assert power_of(judged(), row_result(figures=None, error="broken"), baseline, 2) == NOTHING
    assert power_of([Judgement("row", Verdict.MISSING, "expectations")], row_result(), None, 2) == NOTHING
    assert power_of([Judgement("row", Verdict.NOT_COMPARABLE, "baseline")], row_result(), baseline, 2) == NOTHING
    assert power_of([Judgement("duration", Verdict.PASS, "baseline")], row_result(), baseline, 2) == NOTHING
    assert power_of([replace(judged()[0], verdict=Verdict.NOT_COMPARABLE)], row_result(), baseline, 2) == NOTHING
