from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.expectations import AccuracyTolerance, with_baselines
from bench.judge import Verdict, accuracy_band, expected_accuracies, in_band, judge, judge_row
from bench.results import Results
from bench.rows import ROWS, find_row
from bench.tiers import TIERS
from gptcore.experiment import digest_of, settings_of
from gptcore.weights import PINNED_WEIGHTS


@pytest.fixture
def against_baseline(run_info, row_result, expectations):
    """Judges a result of row 1 against a baseline recorded from the usual figures."""
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))

    def verdict_on(result, **info):
        return judge_row(find_row(1), result, run_info(**info), recorded)

    return verdict_on


def moved(verdict):
    return {judgement.metric: judgement.verdict for judgement in verdict.judgements if judgement.verdict is not Verdict.PASS}


def test_the_recorded_figures_pass(against_baseline, row_result):
    verdict = against_baseline(row_result())
    assert verdict.verdict is Verdict.PASS
    assert verdict.holds
    assert {judgement.metric for judgement in verdict.judgements} == {
        "train_loss",
        "validation_loss",
        "train_accuracy",
        "validation_accuracy",
        "test_accuracy",
        "duration",
    }


@pytest.mark.parametrize(
    ("changes", "metric", "verdict"),
    [
        ({"train_loss": 0.5 * 1.021}, "train_loss", Verdict.REGRESSED),
        ({"train_loss": 0.5 * 0.979}, "train_loss", Verdict.IMPROVED),
        ({"validation_loss": 0.6 * 1.021}, "validation_loss", Verdict.REGRESSED),
        ({"right": (1002, 148, 285)}, "train_accuracy", Verdict.REGRESSED),
        ({"right": (1005, 145, 285)}, "validation_accuracy", Verdict.REGRESSED),
        ({"right": (1005, 148, 288)}, "test_accuracy", Verdict.IMPROVED),
    ],
)
def test_one_metric_outside_its_band_decides_the_row(against_baseline, row_result, figures, changes, metric, verdict):
    judged = against_baseline(row_result(figures=figures(**changes)))
    assert moved(judged) == {metric: verdict}
    assert judged.verdict is verdict
    assert not judged.holds


@pytest.mark.parametrize("changes", [{"train_loss": 0.5 * 1.019}, {"validation_loss": 0.6 * 0.981}, {"right": (1003, 146, 287)}])
def test_inside_the_band_passes(against_baseline, row_result, figures, changes):
    assert against_baseline(row_result(figures=figures(**changes))).holds


def test_regressed_outranks_improved(against_baseline, row_result, figures):
    assert against_baseline(row_result(figures=figures(train_loss=0.4, validation_loss=0.9))).verdict is Verdict.REGRESSED


def test_a_changed_setting_is_never_compared(against_baseline, row_result):
    judged = against_baseline(row_result(digests={"settings": "other", "data": "d"}))
    assert judged.verdict is Verdict.NOT_COMPARABLE
    assert not judged.holds
    assert "row 1's settings changed since this was recorded" in judged.judgements[0].explanation
    assert expected_accuracies(judged) == {}


def test_a_digest_missing_on_one_side_is_a_change(against_baseline, row_result):
    assert against_baseline(row_result(digests={"settings": "s", "data": "d", "precision": "p"})).verdict is Verdict.NOT_COMPARABLE


def test_inputs_the_person_chose_are_not_compared_and_still_hold(against_baseline, row_result):
    judged = against_baseline(row_result(digests={"settings": "other", "data": "d"}), chosen=("settings",))
    assert judged.verdict is Verdict.NOT_COMPARABLE
    assert judged.holds


def test_choosing_one_thing_excuses_no_other(against_baseline, row_result):
    """A seed of one's own does not hide that the data changed too."""
    assert against_baseline(row_result(digests={"settings": "other", "data": "d"}), chosen=("settings",)).holds
    assert not against_baseline(row_result(digests={"settings": "other", "data": "other"}), chosen=("settings",)).holds
    assert not against_baseline(row_result(digests={"settings": "s", "data": "other"}), chosen=("settings",)).holds


def test_a_row_that_never_ran_is_missing(against_baseline):
    judged = against_baseline(None)
    assert judged.verdict is Verdict.MISSING
    assert not judged.holds


def test_a_row_without_baseline_is_missing(run_info, row_result, expectations):
    judged = judge_row(find_row(1), row_result(), run_info(), expectations)
    assert judged.verdict is Verdict.MISSING
    assert "no baseline for row 1 under smoke / cpu" in judged.judgements[0].explanation


def test_a_failed_row_is_an_error_with_its_reason(against_baseline, row_result):
    judged = against_baseline(row_result(figures=None, error="the loss is nan"))
    assert judged.verdict is Verdict.ERROR
    assert judged.judgements[0].explanation == "the loss is nan"


@pytest.mark.parametrize(("seconds", "expected"), [(16.0 * 3, Verdict.REGRESSED), (16.0 / 3, Verdict.IMPROVED), (16.0 * 2, Verdict.PASS)])
def test_a_smoke_duration_only_warns(against_baseline, row_result, figures, seconds, expected):
    judged = against_baseline(row_result(figures=figures(seconds=seconds)))
    assert {judgement.metric: judgement.verdict for judgement in judged.judgements}["duration"] is expected
    assert judged.verdict is Verdict.PASS
    assert judged.holds


def test_a_smoke_duration_is_relative_to_the_calibration(against_baseline, row_result, figures):
    slow_laptop = against_baseline(row_result(figures=figures(seconds=16.0 * 5)), calibration_seconds=5.0, device_name="Slow CPU")
    assert moved(slow_laptop) == {}


@pytest.fixture
def against_published(run_info, row_result, expectations, figures):
    """Judges row 1 of a full run that had every published input."""
    row = ROWS[0]
    digests = {
        "settings": digest_of(settings_of(TIERS["full"].scale(row.experiment))),
        "data": expectations.published.data_digest,
        "tokenizer": expectations.published.tokenizer_digest,
        "weights": PINNED_WEIGHTS[row.experiment.model_size.name].sha256,
    }

    def verdict_on(digests=digests, device_name="NVIDIA A100-SXM4-40GB", chosen=(), timing_only=False, **changes):
        settings = settings_of(replace(row.experiment, weights="random" if timing_only else "pretrained"))
        result = row_result(digests=digests, settings=settings, figures=figures(**{"seconds": 0.28 * 60} | changes))
        return judge_row(row, result, run_info(tier="full", device_name=device_name, chosen=chosen, timing_only=timing_only), expectations)

    verdict_on.digests = digests
    return verdict_on


def test_the_published_figures_pass_without_a_baseline(against_published):
    judged = against_published()
    assert judged.holds
    assert expected_accuracies(judged) == {"train": 1005 / 1040, "validation": 148 / 149, "test": 285 / 300}


@pytest.mark.parametrize(
    ("right", "verdict"),
    [((1005, 148, 276), Verdict.PASS), ((1005, 148, 275), Verdict.REGRESSED), ((1005, 148, 294), Verdict.PASS), ((1005, 148, 295), Verdict.IMPROVED)],
)
def test_full_accuracies_may_stray_three_points(against_published, right, verdict):
    assert against_published(right=right).verdict is verdict


@pytest.mark.parametrize(("minutes", "verdict"), [(0.28 * 1.24, Verdict.PASS), (0.28 * 1.26, Verdict.REGRESSED), (0.01, Verdict.PASS)])
def test_full_durations_are_judged_from_above(against_published, minutes, verdict):
    assert against_published(seconds=minutes * 60).verdict is verdict


def test_durations_on_other_hardware_are_not_comparable_and_do_not_fail(against_published):
    judged = against_published(device_name="Fast CPU", seconds=9999.0)
    assert moved(judged) == {"duration": Verdict.NOT_COMPARABLE}
    assert judged.holds


@pytest.mark.parametrize("component", ["settings", "data", "tokenizer", "weights"])
def test_other_inputs_are_never_compared_with_the_published(against_published, component):
    judged = against_published(digests=against_published.digests | {component: "other"}, chosen=(component,))
    assert judged.verdict is Verdict.NOT_COMPARABLE
    assert component in judged.judgements[0].explanation
    assert judged.holds
    assert not against_published(digests=against_published.digests | {component: "other"}).holds


def test_row_8s_impossible_validation_figure_is_judged_by_its_percentage(run_info, row_result, expectations, figures):
    published = expectations.published.rows[8].accuracies["validation"]
    assert published.right is None
    assert published.percent == 99.81
    assert any(8 in flaw.rows and "no count of 149" in flaw.flaw for flaw in expectations.published.flaws)


def test_figures_below_90_have_five_points(expectations):
    tolerance = expectations.tolerances["full"].accuracy
    assert accuracy_band(0.75, 300, tolerance) == pytest.approx((0.70, 0.80))
    assert accuracy_band(0.95, 300, tolerance) == pytest.approx((0.92, 0.98))


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_band_of_two_examples_is_exactly_two_examples(expected, found):
    low, high = accuracy_band(expected / 300, 300, AccuracyTolerance(reason="", examples=2))
    assert (low <= found / 300 <= high) == (abs(found - expected) <= 2)


@given(st.floats(0, 2), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_exactly_one_of_three_verdicts_and_sides_mirror(found, low, width, more_is_better):
    band = (low, low + width)
    judged = in_band("metric", found, low, band, "baseline", "", more_is_better=more_is_better).verdict
    mirrored = in_band("metric", found, low, band, "baseline", "", more_is_better=not more_is_better).verdict
    swap = {Verdict.PASS: Verdict.PASS, Verdict.IMPROVED: Verdict.REGRESSED, Verdict.REGRESSED: Verdict.IMPROVED}
    assert mirrored is swap[judged]


def test_every_requested_row_is_judged(run_info, row_result, expectations):
    verdicts = judge(Results(run_info(rows=(1, 2)), {1: row_result()}), expectations)
    assert [verdict.row for verdict in verdicts] == [1, 2]
    assert verdicts[1].verdict is Verdict.MISSING


def test_baselines_of_other_devices_do_not_count(run_info, row_result, expectations):
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    elsewhere = replace(recorded, baselines={"smoke": {"cuda": recorded.baselines["smoke"]["cpu"]}})
    assert judge_row(find_row(1), row_result(), run_info(), elsewhere).verdict is Verdict.MISSING


@pytest.mark.parametrize(("minutes", "verdict"), [(0.28, Verdict.PASS), (0.01, Verdict.PASS), (0.36, Verdict.REGRESSED)])
def test_timing_only_is_judged_against_the_published_minutes_from_above(against_published, minutes, verdict):
    digests = against_published.digests | {"weights": digest_of("random"), "settings": "of random weights"}
    judged = against_published(digests=digests, seconds=minutes * 60, right=(0, 0, 0), timing_only=True)
    assert [judgement.metric for judgement in judged.judgements] == ["duration"]
    assert judged.verdict is verdict
    assert judged.holds == (verdict is Verdict.PASS)


def test_timing_only_compares_no_other_work(against_published):
    judged = against_published(digests=against_published.digests | {"data": "fewer texts"}, seconds=9999.0, timing_only=True)
    assert judged.verdict is Verdict.NOT_COMPARABLE
    assert judged.holds


@pytest.mark.parametrize(("seconds", "verdict"), [(16.0, Verdict.PASS), (12.0, Verdict.IMPROVED), (21.0, Verdict.REGRESSED)])
def test_full_durations_are_judged_both_ways_against_a_recording(run_info, row_result, figures, expectations, seconds, verdict):
    info = run_info(tier="full")
    recorded = with_baselines(expectations, Results(info, {1: row_result()}))
    (judged,) = judge(Results(info, {1: row_result(figures=figures(seconds=seconds))}), recorded)
    (duration,) = (judgement for judgement in judged.judgements if judgement.metric == "duration" and judgement.against == "baseline")
    assert duration.verdict is verdict


def test_only_the_published_work_is_measured_by_the_published_minutes(against_published):
    assert against_published().published_seconds == pytest.approx(0.28 * 60)
    assert against_published(digests=against_published.digests | {"weights": "own"}).published_seconds is not None
    assert against_published(digests=against_published.digests | {"data": "fewer texts"}).published_seconds is None


def test_a_plain_run_is_not_judged_on_time(against_baseline, run_info, row_result, figures, expectations):
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    (judged,) = judge(Results(run_info(plain=True), {1: row_result(figures=figures(seconds=9999.0))}), recorded)
    assert judged.holds
    assert {judgement.metric: judgement.verdict for judgement in judged.judgements}["duration"] is Verdict.NOT_COMPARABLE


def test_a_row_whose_further_seeds_failed_is_an_error_with_figures(run_info, row_result, expectations):
    (judged,) = judge(Results(run_info(), {1: row_result(error="seed 9 diverged")}), expectations)
    assert (judged.verdict, judged.holds) == (Verdict.ERROR, False)
    assert judged.result.figures
