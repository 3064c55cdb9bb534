import math
from dataclasses import replace

import pytest

from bench.expectations import ExpectationError, Timing
from bench.recording.baselines import (
    Recording,
    figures_of,
    fits,
    make_baseline,
    refuse_unrepeatable,
    repeat_of,
    rounded,
    seed_figures,
    timing_of,
    with_baselines,
    with_recording,
)
from bench.recording.traces import traces_of
from bench.results import Results, ResultsError
from gptcore.dataset import SPLITS
from gptcore.result import EpochAccuracy, Evaluation, Fingerprint


def rows_of(expectations, tier="smoke", kind="cpu"):
    return expectations.baselines[tier][kind]


# Raw figures


def test_raw_figures_of_every_seed_are_kept(recorded, of_seeds, seeds):
    baseline = rows_of(recorded(of_seeds(seeds(4)), moves=(1e-6,), seconds=(16.0, 17.0)))[1]
    assert [*baseline.seeds] == [123, 124, 125, 126]
    for kept, figures in zip(baseline.seeds.values(), seeds(4), strict=True):
        assert kept.counts == figures.counts
        assert kept.answers == figures.answers
        assert kept.train_loss == tuple(evaluation.train_loss for evaluation in figures.history)
        assert kept.validation_loss == tuple(evaluation.validation_loss for evaluation in figures.history)
    assert baseline.own == baseline.seeds[123]
    assert baseline.timings == (Timing(16.0, 1.0), Timing(17.0, 1.0))


def test_traces_and_margins_are_those_of_the_rows_own_seed(recorded, of_seeds, seeds):
    baseline = rows_of(recorded(of_seeds(seeds(3))))[1]
    assert baseline.traces == traces_of(seeds(1)[0])
    assert baseline.margins == seeds(1)[0].margins


def test_a_baseline_says_where_it_comes_from(recorded, run_info):
    environment = run_info().environment
    provenance = rows_of(recorded(device_name="Slow CPU", threads=7))[1].provenance
    assert (provenance.machine, provenance.threads) == ("Slow CPU", 7)
    assert (provenance.torch, provenance.date) == (environment.packages["torch"], environment.date)
    assert (provenance.git_commit, provenance.git_dirty) == (environment.git_commit, environment.git_dirty)


def test_a_timing_is_what_the_row_cost_and_what_the_calibration_took(run_info, row_result, figures):
    assert timing_of(run_info(calibration_seconds=2.5), row_result(figures=figures(seconds=9.0))) == Timing(9.0, 2.5)


def test_a_row_without_figures_makes_no_baseline(run_info, row_result):
    failed = row_result(figures=None, error="broken")
    with pytest.raises(ResultsError, match="row 1 has no figures"):
        make_baseline(run_info(), failed, (Timing(1.0, 1.0),), ())
    with pytest.raises(ResultsError, match="broken"):
        figures_of(failed)


# Recordings


def test_new_baselines_replace_only_their_own_rows(expectations, run_info, row_result):
    both = with_baselines(expectations, Results(run_info(rows=(1, 2)), {1: row_result(), 2: row_result(row=2)}))
    newer = with_baselines(both, Results(run_info(), {1: row_result(seed=7)}))
    assert rows_of(newer)[1].seed == 7
    assert rows_of(newer)[2] == rows_of(both)[2]
    assert newer.published == expectations.published


def test_baselines_are_kept_apart_by_tier_and_kind_and_stand_in_the_tables_order(expectations, run_info, row_result):
    for tier, precision, row in (("smoke", "fp32", 2), ("smoke", "fp32", 1), ("smoke", "bf16", 1), ("full", "fp32", 1)):
        expectations = with_baselines(expectations, Results(run_info(tier=tier, precision=precision), {row: row_result(row=row)}))
    assert {tier: {kind: [*rows] for kind, rows in kinds.items()} for tier, kinds in expectations.baselines.items()} == {
        "smoke": {"cpu": [1, 2], "cpu bf16": [1]},
        "full": {"cpu": [1]},
    }


def test_a_failed_row_keeps_its_old_baseline(expectations, run_info, row_result):
    before = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    assert with_baselines(before, Results(run_info(), {1: row_result(figures=None, error="broken")})) == before
    assert with_baselines(before, Results(run_info(), {1: row_result(seed=7, error="seed 8 broke")})) == before


def test_a_run_without_any_whole_row_changes_nothing_else(expectations, run_info):
    assert rows_of(with_baselines(expectations, Results(run_info(), {}))) == {}


def test_the_spread_of_durations_is_that_of_all_rows_recorded_together(expectations, run_info, row_result):
    rows = {1: row_result(), 2: row_result(row=2)}
    apart = {1: (Timing(16.0, 1.0),), 2: (Timing(3.0, 1.0), Timing(3.1, 1.0))}
    together = rows_of(with_recording(expectations, Recording(Results(run_info(rows=(1, 2)), rows), apart, {})))
    assert together[1].bands.duration == together[2].bands.duration is not None


@pytest.mark.parametrize(("tier", "pace_matters"), [("smoke", True), ("full", False)])
def test_timings_are_relative_to_the_calibration_where_the_tier_says_so(expectations, run_info, row_result, tier, pace_matters):
    """A machine that was twice as slow throughout: no spread where calibrated, a wide one in plain seconds."""
    recording = Recording(Results(run_info(tier=tier), {1: row_result()}), {1: (Timing(1.0, 1.0), Timing(1.01, 1.01))}, {})
    low, high = rows_of(with_recording(expectations, recording), tier)[1].bands.duration
    assert (high / low == pytest.approx(1)) == pace_matters


# A run's ready replacement


def test_a_replacement_keeps_the_spread_of_rounding_of_a_row_that_is_still_the_same(recorded, row_result, figures, run_info):
    before = recorded(moves=(1e-6, -2e-6))
    after = with_baselines(before, Results(run_info(), {1: row_result(figures=figures(train_loss=0.51))}))
    assert rows_of(after)[1].repeats == rows_of(before)[1].repeats
    assert rows_of(after)[1].bands.traces == rows_of(before)[1].bands.traces
    assert rows_of(after)[1].traces["train_loss"][-1] == 0.51


def test_a_replacement_of_a_row_that_depends_on_something_else_or_has_other_figures_starts_anew(recorded, row_result, figures, run_info):
    before = recorded(moves=(1e-6, -2e-6))
    longer = figures(epoch_accuracies=(EpochAccuracy(1, 0.9, 0.9), EpochAccuracy(2, 0.9, 0.9)))
    for other in (row_result(digests={"settings": "e" * 64, "data": "d" * 64}), row_result(figures=longer)):
        assert not fits(rows_of(before)[1], other)
        replaced = rows_of(with_baselines(before, Results(run_info(), {1: other})))[1]
        assert replaced.repeats == ()
        assert replaced.bands.traces == replaced.bands.counts == {}


def test_a_replacement_has_the_seeds_and_the_one_timing_of_its_run(recorded, of_seeds, seeds, run_info):
    before = recorded(of_seeds(seeds(2)), seconds=(16.0, 17.0))
    replaced = rows_of(with_baselines(before, Results(run_info(calibration_seconds=0.5), {1: of_seeds(seeds(3))})))[1]
    assert [*replaced.seeds] == [123, 124, 125]
    assert replaced.timings == (Timing(16.0, 0.5),)
    assert replaced.bands.duration is None


# Repeats


def test_a_repeat_tells_how_far_every_figure_moved(row_result, figures):
    moved = figures(
        history=(Evaluation(1, 0, 0.9, 0.9, 2.0), Evaluation(1, 50, 0.5 + 1e-4, 0.6 - 2e-4, 1.5)),
        fingerprint=Fingerprint(1538, (0.25, -0.75), 12.5),
        epoch_accuracies=(EpochAccuracy(1, 0.925, 0.9),),
    )
    repeat = repeat_of("weights moved", 1e-7, 5, row_result(), row_result(figures=moved))
    assert (repeat.condition, repeat.perturbation, repeat.draw) == ("weights moved", 1e-7, 5)
    assert repeat.deviations == {
        "trained_parameters": (0.0,),
        "first_logits": (0.0, -0.25),
        "gradient_norm": (0.0, 0.5),
        "train_loss": (0.0, 1e-4),
        "validation_loss": (0.0, -2e-4),
        "train_accuracy_of_epochs": (0.025,),
        "validation_accuracy_of_epochs": (0.0,),
        "weight_norm": (0.0,),
    }


def test_of_the_margins_the_one_that_moved_furthest_counts(row_result, figures):
    before, margins = row_result(), figures().margins
    moved = margins | {"test": (margins["test"][0] + 0.5, margins["test"][1] - 0.75, *margins["test"][2:])}
    assert repeat_of("", 0.0, 0, before, row_result(figures=figures(margins=moved))).margins == {"train": 0.0, "validation": 0.0, "test": 0.75}


def test_an_unmoved_row_has_no_deviation(row_result):
    repeat = repeat_of("", 0.0, 0, row_result(), row_result())
    assert not any(any(deviations) for deviations in repeat.deviations.values())
    assert repeat.margins == dict.fromkeys(SPLITS, 0.0)


def test_a_repeat_that_failed_records_nothing(row_result):
    for failed in (row_result(figures=None, error="the loss is nan"), row_result(error="seed 9 broke")):
        with pytest.raises(ExpectationError, match=r"row 1 failed under threads: 2 \((the loss is nan|seed 9 broke)\)"):
            repeat_of("threads: 2", 0.0, 0, row_result(), failed)


def test_a_repeat_with_other_figures_records_nothing(row_result, figures):
    longer = figures(history=(Evaluation(1, 0, 0.9, 0.9, 2.0),) * 3)
    with pytest.raises(ExpectationError, match="row 1 made other figures under threads: 2"):
        repeat_of("threads: 2", 0.0, 0, row_result(), row_result(figures=longer))


@pytest.mark.parametrize(("value", "kept"), [(0.0, 0.0), (1.23456e-7, 1.23e-7), (-9.999, -10.0), (math.inf, math.inf)])
def test_deviations_are_kept_in_three_digits(value, kept):
    assert rounded(value) == kept


# Two runs that must agree


def test_two_runs_may_differ_in_nothing_but_time(row_result, figures):
    usual = figures()
    refuse_unrepeatable({1: row_result()}, {1: row_result(figures=figures(seconds=99.0))})
    for other in (
        figures(train_loss=0.5000001),
        figures(right=(1004, 148, 285)),
        figures(wrong_test=range(15)),  # as many right ones, but others
        figures(epoch_accuracies=()),
        figures(margins=usual.margins | {"test": (2.0, *usual.margins["test"][1:])}),
        figures(fingerprint=replace(usual.fingerprint, weight_norm=12.6)),
    ):
        with pytest.raises(ExpectationError, match="row 1 gave other figures the second time"):
            refuse_unrepeatable({1: row_result()}, {1: row_result(figures=other)})


def test_two_runs_of_other_inputs_do_not_agree(row_result):
    with pytest.raises(ExpectationError, match="row 1 gave other figures"):
        refuse_unrepeatable({1: row_result()}, {1: row_result(digests={"settings": "s", "data": "other"})})


def test_a_row_that_failed_in_either_run_is_not_recorded(row_result):
    failed = row_result(figures=None, error="out of luck")
    for first, second in ((failed, row_result()), (row_result(), failed)):
        with pytest.raises(ExpectationError, match="out of luck"):
            refuse_unrepeatable({1: first}, {1: second})


def test_what_is_kept_of_a_seed_has_all_its_losses(figures):
    kept = seed_figures(figures(train_loss=0.25))
    assert (kept.train_loss, kept.validation_loss) == ((0.9, 0.25), (0.9, 0.6))


def test_rows_recorded_one_by_one_share_the_spread_of_their_timings(expectations, run_info, row_result, figures):
    def recorded(before, number, seconds):
        first = Results(run_info(rows=(number,)), {number: row_result(row=number, figures=figures(seconds=seconds[0]))})
        timings = {number: tuple(Timing(one, 1.0) for one in seconds)}
        return with_recording(before, Recording(first, timings, {}))

    alone = recorded(expectations, 1, (1.0, 1.1)).baselines["smoke"]["cpu"]
    both = recorded(recorded(expectations, 1, (1.0, 1.1)), 2, (2.0, 2.2)).baselines["smoke"]["cpu"]
    assert both[1].bands.duration == both[2].bands.duration
    assert both[1].bands.duration[1] < alone[1].bands.duration[1]
