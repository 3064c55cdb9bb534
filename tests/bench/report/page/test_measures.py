from dataclasses import replace

import pytest
from scipy import stats

from bench.report.page.measures import Basis, accuracy_marks, baselines_of, duration_marks, loss_curves


def measured(run):
    return run.verdicts, baselines_of(run.results.info, run.expectations)


def test_one_seed_stands_in_the_interval_of_the_recorded_ones(run, row_result, of_seeds, seeds):
    ten = of_seeds(seeds(10))
    (mark,) = accuracy_marks(*measured(run({1: row_result()}, baseline=ten)))
    values = [figures.counts["test"].accuracy for figures in seeds(10)]
    reach = stats.t.ppf(0.975, 9) * ((stats.tvar(values) + 1 / 300**2 / 12) * 1.1) ** 0.5
    assert mark.basis is Basis.RECORDED
    assert (mark.interval.low, mark.interval.high) == pytest.approx((sum(values) / 10 - reach, sum(values) / 10 + reach))
    assert mark.recorded == pytest.approx(0.95)


def test_one_seed_without_recorded_ones_has_the_exact_interval_of_its_count(run, row_result):
    (mark,) = accuracy_marks(*measured(run({1: row_result()})))
    expected = stats.binomtest(285, 300).proportion_ci(method="exact")
    assert mark.basis is Basis.TEXTS
    assert (mark.interval.low, mark.interval.high) == pytest.approx((expected.low, expected.high))


def test_other_work_than_the_recorded_is_not_held_against_it(run, row_result, of_seeds, seeds):
    (mark,) = accuracy_marks(*measured(run({1: row_result(digests={"data": "other"})}, baseline=of_seeds(seeds(10)))))
    assert mark.basis is Basis.TEXTS
    assert mark.recorded is None


def test_several_seeds_have_the_interval_of_their_mean(run, of_seeds, seeds):
    (mark,) = accuracy_marks(*measured(run({1: of_seeds(seeds(3))}, baseline=of_seeds(seeds(10)))))
    assert mark.basis is Basis.SEEDS
    assert mark.seeds == pytest.approx((285 / 300, 287 / 300, 283 / 300))
    assert mark.found == mark.recorded == pytest.approx(0.95)
    assert mark.interval.low < mark.found < mark.interval.high <= 1


def test_a_row_without_figures_has_no_mark(run, row_result):
    verdicts, baselines = measured(run({1: row_result(figures=None, error="broken"), 2: None}))
    assert accuracy_marks(verdicts, baselines) == []
    assert loss_curves(verdicts, baselines) == []


def test_durations_are_held_against_the_recorded_ones_and_the_publication(run, row_result, figures):
    made = run({1: row_result(figures=figures(seconds=20.0), peak_memory=5_000_000)}, calibration_seconds=2.0)
    (mark,) = duration_marks(made.verdicts, made.expectations)
    assert mark.seconds == 20.0
    assert mark.recorded == pytest.approx(2 * 16.165, rel=1e-3)
    assert mark.band.low < mark.recorded < mark.band.high
    assert mark.minutes == 0.28
    assert mark.published is None
    assert mark.memory == 5_000_000


def test_losses_stand_before_the_recorded_ones_of_the_same_work(run, row_result, figures):
    made = run({1: row_result(figures=figures(train_loss=0.25))}, baseline=row_result())
    (curves,) = loss_curves(*measured(made))
    assert curves.own.steps == (0, 50)
    assert curves.own.train == (0.9, 0.25)
    assert curves.own.batches == pytest.approx((0.9, 0.75, 0.25), rel=1e-6)
    assert curves.behind.train == (0.9, 0.5)
    assert curves.behind.batches == ()


def test_losses_of_other_work_are_not_drawn(run, row_result):
    (curves,) = loss_curves(*measured(run({1: row_result(digests={"data": "other"})})))
    assert curves.behind is None


def test_base_takes_the_place_of_the_recorded_losses(run, row_result, figures):
    made = run({1: row_result()})
    base = replace(made.results, rows={1: row_result(figures=figures(train_loss=0.125))})
    (curves,) = loss_curves(*measured(made), base)
    assert curves.behind.train == (0.9, 0.125)
