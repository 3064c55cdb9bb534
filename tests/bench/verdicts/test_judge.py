from dataclasses import replace

import pytest

from bench.recording.baselines import with_baselines
from bench.results import Results
from bench.rows import find_row
from bench.verdicts.judge import drift_fails, judge, judge_row, minor_version
from bench.verdicts.verdict import Strictness, Verdict
from gptcore.experiment import Experiment, digest_of, settings_of

MOVES = (2e-6, -1e-6, 5e-7)


def moved(verdict):
    """Verdicts by metric, but for passes and for durations that there is nothing to hold against."""
    usual = (Verdict.PASS, Verdict.NOT_COMPARABLE)
    return {judgement.metric: judgement.verdict for judgement in verdict.judgements if judgement.verdict not in usual}


def told(verdict, metric):
    (judgement,) = (judgement for judgement in verdict.judgements if judgement.metric == metric)
    return judgement


# Whether a drift fails


def drifted(row_result, figures):
    return row_result(figures=figures(train_loss=0.501))


@pytest.mark.parametrize(
    ("torch", "strictness", "holds"),
    [
        ("2.13.1+cu130", Strictness.USUAL, False),
        ("2.13.0", Strictness.USUAL, False),
        ("2.14.0", Strictness.USUAL, True),
        ("3.13.0", Strictness.USUAL, True),
        ("2.13.0", Strictness.LENIENT, True),
        ("2.14.0", Strictness.STRICT, False),
        ("2.14.0", Strictness.LENIENT, True),
    ],
)
def test_a_smoke_drift_fails_under_the_baselines_torch_and_warns_under_another(verdict_on, row_result, figures, recorded, torch, strictness, holds):
    here = recorded(moves=MOVES, packages={"torch": "2.13.0+cpu"})
    verdict = verdict_on(drifted(row_result, figures), here, strictness, packages={"torch": torch})
    assert (verdict.verdict, verdict.holds) == (Verdict.DRIFTED, holds)


@pytest.mark.parametrize(("strictness", "holds"), [(Strictness.USUAL, True), (Strictness.STRICT, False), (Strictness.LENIENT, True)])
def test_a_full_drift_fails_only_where_it_was_asked_for(verdict_on, row_result, figures, recorded, strictness, holds):
    verdict = verdict_on(drifted(row_result, figures), recorded(moves=MOVES, tier="full"), strictness, tier="full")
    assert verdict.holds == holds
    assert moved(verdict)["train_loss"] is Verdict.DRIFTED


@pytest.mark.parametrize("strictness", Strictness)
def test_strictness_is_about_drifts_alone(verdict_on, row_result, figures, ten_seeds, strictness):
    assert verdict_on(row_result(), ten_seeds, strictness).holds
    assert not verdict_on(row_result(figures=figures(right=(1005, 148, 200))), ten_seeds, strictness).holds
    assert not verdict_on(None, ten_seeds, strictness).holds


def test_without_a_baseline_there_is_no_environment_to_match(run_info, expectations):
    assert not drift_fails(None, run_info(), expectations.policies["smoke"], Strictness.USUAL)
    assert drift_fails(None, run_info(), expectations.policies["smoke"], Strictness.STRICT)


@pytest.mark.parametrize(("version", "minor"), [("2.13.0+cpu", ("2", "13")), ("2.14.0a0+git1", ("2", "14")), ("2.6", ("2", "6"))])
def test_a_minor_version_is_the_first_two_numbers(version, minor):
    assert minor_version(version) == minor


# What cannot be compared, is missing or failed


def test_a_changed_setting_is_never_compared(verdict_on, row_result, one_seed):
    judged = verdict_on(row_result(digests={"settings": "other", "data": "d" * 64}), one_seed)
    assert (judged.verdict, judged.holds) == (Verdict.NOT_COMPARABLE, False)
    assert "row 1's settings changed since this was recorded" in judged.judgements[0].explanation
    assert judged.flips is None


def test_a_digest_missing_on_one_side_is_a_change(verdict_on, row_result, one_seed):
    result = row_result()
    assert verdict_on(replace(result, digests=result.digests | {"precision": "p"}), one_seed).verdict is Verdict.NOT_COMPARABLE


def test_choosing_one_thing_excuses_no_other(verdict_on, row_result, one_seed):
    """Settings of one's own are not compared and still hold; they do not hide that the data changed, too."""
    usual = row_result().digests
    for changed, holds in (({"settings": "other"}, True), ({"settings": "other", "data": "other"}, False), ({"data": "other"}, False)):
        judged = verdict_on(row_result(digests=usual | changed), one_seed, chosen=("settings",))
        assert (judged.verdict, judged.holds) == (Verdict.NOT_COMPARABLE, holds)


def test_a_row_that_never_ran_is_missing(verdict_on, one_seed):
    judged = verdict_on(None, one_seed)
    assert (judged.verdict, judged.holds) == (Verdict.MISSING, False)


def test_a_row_without_baseline_is_missing(verdict_on, row_result, expectations):
    judged = verdict_on(row_result(), expectations)
    assert judged.verdict is Verdict.MISSING
    assert "no baseline for row 1 under smoke / cpu" in judged.judgements[0].explanation


@pytest.mark.parametrize("chosen", [(), ("settings", "weights")])
def test_a_row_without_baseline_never_holds(verdict_on, row_result, expectations, chosen):
    assert not verdict_on(row_result(), expectations, chosen=chosen).holds


def test_a_failed_row_is_an_error_with_its_reason(verdict_on, row_result, one_seed):
    judged = verdict_on(row_result(figures=None, error="the loss is nan"), one_seed)
    assert (judged.verdict, judged.holds) == (Verdict.ERROR, False)
    assert judged.judgements[0].explanation == "the loss is nan"


def test_a_row_whose_further_seeds_failed_is_an_error_with_figures(verdict_on, row_result, one_seed):
    judged = verdict_on(row_result(error="seed 9 diverged"), one_seed)
    assert (judged.verdict, judged.holds) == (Verdict.ERROR, False)
    assert judged.result.figures


def test_every_requested_row_is_judged(run_info, row_result, expectations):
    verdicts = judge(Results(run_info(rows=(1, 2)), {1: row_result()}), expectations)
    assert [verdict.row for verdict in verdicts] == [1, 2]
    assert verdicts[1].verdict is Verdict.MISSING


def test_baselines_of_other_devices_and_precisions_do_not_count(verdict_on, row_result, one_seed):
    elsewhere = replace(one_seed, baselines={"smoke": {"cuda": one_seed.baselines["smoke"]["cpu"]}})
    assert verdict_on(row_result(), elsewhere).verdict is Verdict.MISSING
    assert verdict_on(row_result(), one_seed, precision="bf16").verdict is Verdict.MISSING


# Durations


@pytest.mark.parametrize(("seconds", "verdict"), [(16.0 * 1e9, Verdict.REGRESSED), (16.0 / 1e9, Verdict.IMPROVED), (16.4, Verdict.PASS)])
def test_a_smoke_duration_only_warns(verdict_on, row_result, figures, recorded, seconds, verdict):
    judged = verdict_on(row_result(figures=figures(seconds=seconds)), recorded(seconds=(16.0, 16.1)))
    assert told(judged, "duration").verdict is verdict
    assert (judged.verdict, judged.holds) == (Verdict.PASS, True)


@pytest.mark.parametrize(("seconds", "verdict"), [(16.05, Verdict.PASS), (1.0, Verdict.IMPROVED), (99.0, Verdict.REGRESSED)])
def test_a_full_duration_decides_both_ways_against_a_recording(verdict_on, row_result, figures, recorded, seconds, verdict):
    judged = verdict_on(row_result(figures=figures(seconds=seconds)), recorded(seconds=(16.0, 16.1, 16.05, 16.02), tier="full"), tier="full")
    (duration,) = (judgement for judgement in judged.judgements if judgement.metric == "duration" and judgement.against == "baseline")
    assert (duration.verdict, duration.advisory) == (verdict, False)


def test_a_plain_run_is_not_judged_on_time(verdict_on, row_result, figures, one_seed):
    judged = verdict_on(row_result(figures=figures(seconds=9999.0)), one_seed, plain=True)
    assert judged.holds
    assert told(judged, "duration").verdict is Verdict.NOT_COMPARABLE


# Time alone


@pytest.mark.parametrize(("minutes", "verdict"), [(0.28, Verdict.PASS), (0.01, Verdict.PASS), (0.36, Verdict.REGRESSED)])
def test_timing_only_is_judged_against_the_published_minutes_from_above(against_published, minutes, verdict):
    random_weights = {"weights": digest_of("random"), "settings": "of random weights"}
    judged = against_published(changed=random_weights, seconds=minutes * 60, right=(0, 0, 0), timing_only=True)
    assert [judgement.metric for judgement in judged.judgements] == ["duration"]
    assert (judged.verdict, judged.holds) == (verdict, verdict is Verdict.PASS)


def test_timing_only_compares_no_other_work(against_published):
    judged = against_published(changed={"data": "fewer texts"}, seconds=9999.0, timing_only=True)
    assert (judged.verdict, judged.holds) == (Verdict.NOT_COMPARABLE, True)


@pytest.mark.parametrize(("seconds", "verdict"), [(16.05, Verdict.PASS), (99.0, Verdict.REGRESSED)])
def test_timing_only_is_judged_in_earnest_where_a_row_was_timed(verdict_on, row_result, figures, recorded, seconds, verdict):
    timed = row_result(settings=settings_of(Experiment(weights="random")), digests=row_result().digests | {"weights": "w"}, figures=figures(seconds=seconds))
    usual = digest_of(timed.settings | {"weights": "pretrained"})
    wanted = row_result(digests={"settings": usual, "data": "d" * 64, "tokenizer": "e" * 64, "weights": "f" * 64})
    timed = replace(timed, digests=wanted.digests | {"settings": "of random weights", "weights": digest_of("random")})
    judged = verdict_on(timed, recorded(wanted, seconds=(16.0, 16.1, 16.05, 16.02)), timing_only=True)
    assert (judged.verdict, [judgement.advisory for judgement in judged.judgements]) == (verdict, [False])


# Odds and ends


def test_judging_changes_nothing(run_info, row_result, one_seed):
    results = Results(run_info(), {1: row_result()})
    assert judge(results, one_seed) == judge(results, one_seed)
    assert judge_row(find_row(1), row_result(), run_info(), one_seed) == judge(results, one_seed)[0]


def test_a_new_recording_of_moved_figures_makes_them_pass(verdict_on, run_info, row_result, figures, ten_seeds):
    regressed = row_result(figures=figures(right=(1005, 148, 200)))
    assert verdict_on(regressed, ten_seeds).verdict is Verdict.REGRESSED
    assert verdict_on(regressed, with_baselines(ten_seeds, Results(run_info(), {1: regressed}))).verdict is Verdict.PASS
