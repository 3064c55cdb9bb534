import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.expectations import PublishedAccuracy
from bench.recording.bands import LEVEL
from bench.rows import ROWS
from bench.statistics import counts_band
from bench.verdicts.published import judge_published_accuracy, published_digests, whole_counts
from bench.verdicts.verdict import Verdict


def moved(verdict):
    """Verdicts by metric, but for passes and for durations that there is nothing to hold against."""
    usual = (Verdict.PASS, Verdict.NOT_COMPARABLE)
    return {judgement.metric: judgement.verdict for judgement in verdict.judgements if judgement.verdict not in usual}


def told(verdict, metric):
    (judgement,) = (judgement for judgement in verdict.judgements if judgement.metric == metric)
    return judgement


def test_the_published_figures_pass_without_a_baseline(against_published):
    judged = against_published()
    assert judged.holds
    assert {judgement.metric: judgement.expected for judgement in judged.judgements} == {
        "train_accuracy": 1005 / 1040,
        "validation_accuracy": 148 / 149,
        "test_accuracy": 285 / 300,
        "duration": pytest.approx(0.28 * 60),
    }


@pytest.mark.parametrize(
    ("right", "metric", "verdict"),
    [
        ((1004, 148, 285), "train_accuracy", Verdict.PASS),
        ((1003, 148, 285), "train_accuracy", Verdict.DRIFTED),
        ((940, 148, 285), "train_accuracy", Verdict.REGRESSED),
        ((1005, 147, 285), "validation_accuracy", Verdict.PASS),
        ((1005, 146, 285), "validation_accuracy", Verdict.DRIFTED),
        ((1005, 120, 285), "validation_accuracy", Verdict.REGRESSED),
        ((1005, 148, 283), "test_accuracy", Verdict.PASS),
        ((1005, 148, 287), "test_accuracy", Verdict.PASS),
        ((1005, 148, 282), "test_accuracy", Verdict.DRIFTED),
        ((1005, 148, 288), "test_accuracy", Verdict.DRIFTED),
        ((1005, 148, 250), "test_accuracy", Verdict.REGRESSED),
        ((1005, 148, 300), "test_accuracy", Verdict.IMPROVED),
    ],
)
def test_published_accuracies_pass_within_the_reruns_and_drift_within_fishers_band(against_published, right, metric, verdict):
    judged = against_published(right=right)
    assert told(judged, metric).verdict is verdict
    assert judged.verdict is verdict
    assert judged.holds == (verdict in (Verdict.PASS, Verdict.DRIFTED))  # a drift from other hardware and other versions of torch only warns


@pytest.mark.parametrize(
    ("found", "verdict"), [(149, Verdict.PASS), (148, Verdict.PASS), (147, Verdict.PASS), (146, Verdict.DRIFTED), (120, Verdict.REGRESSED)]
)
def test_row_8s_percentage_that_is_no_count_stands_for_both_counts_around_it(expectations, found, verdict):
    published = expectations.published.rows[8].accuracies["validation"]
    assert (published.percent, published.right, whole_counts(published)) == (99.81, None, (148, 149))
    assert any(8 in flaw.rows and "no count of 149" in flaw.flaw for flaw in expectations.published.flaws)
    judgement = judge_published_accuracy("validation", found / 149, published, expectations.published.reruns["validation"])
    assert (judgement.verdict, judgement.expected) == (verdict, pytest.approx(0.9981))


def test_a_percentage_that_is_no_count_may_come_from_either_count_around_it():
    published = PublishedAccuracy(percent=60.5, right=None, n=100)
    assert whole_counts(published) == (60, 61)
    lowest, highest = int(counts_band(60, 100, LEVEL).low), int(counts_band(61, 100, LEVEL).high)
    expected = {lowest - 1: "regressed", lowest: "drifted", 59: "drifted", 60: "pass", 61: "pass", 62: "drifted", highest: "drifted", highest + 1: "improved"}
    assert {found: judge_published_accuracy("test", found / 100, published, 0).verdict for found in expected} == expected


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(0, 3))
def test_a_published_count_passes_within_exactly_so_many_texts(one, reruns):
    right, n = one
    published = PublishedAccuracy(percent=round(100 * right / n, 2), right=right, n=n)
    for found in range(max(0, right - 5), min(n, right + 5) + 1):
        judged = judge_published_accuracy("test", found / n, published, reruns).verdict
        assert (judged is Verdict.PASS) == (abs(found - right) <= reruns)
        assert judged in ((Verdict.PASS, Verdict.DRIFTED, Verdict.REGRESSED) if found < right else (Verdict.PASS, Verdict.DRIFTED, Verdict.IMPROVED))


def test_all_right_of_the_published_texts_is_the_end_of_the_band():
    published = PublishedAccuracy(percent=100.0, right=300, n=300)
    assert judge_published_accuracy("test", 1.0, published, 2).verdict is Verdict.PASS
    assert judge_published_accuracy("test", 250 / 300, published, 2).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("component", ["settings", "data", "tokenizer", "weights"])
def test_other_inputs_are_never_compared_with_the_published(against_published, component):
    judged = against_published(changed={component: "other"}, chosen=(component,))
    assert (judged.verdict, judged.holds) == (Verdict.NOT_COMPARABLE, True)
    assert component in judged.judgements[0].explanation
    assert not against_published(changed={component: "other"}).holds


@pytest.mark.parametrize(("minutes", "verdict"), [(0.28 * 1.24, Verdict.PASS), (0.28 * 1.26, Verdict.REGRESSED), (0.01, Verdict.PASS)])
def test_published_durations_are_judged_from_above(against_published, minutes, verdict):
    assert against_published(seconds=minutes * 60).verdict is verdict


def test_durations_on_other_hardware_are_not_comparable_and_do_not_fail(against_published):
    judged = against_published(device_name="Fast CPU", seconds=9999.0)
    assert told(judged, "duration").verdict is Verdict.NOT_COMPARABLE
    assert (moved(judged), judged.holds) == ({}, True)


def test_only_the_published_work_is_measured_by_the_published_minutes(against_published):
    assert against_published().published_seconds == pytest.approx(0.28 * 60)
    assert against_published(changed={"weights": "own"}).published_seconds is not None
    assert against_published(changed={"data": "fewer texts"}).published_seconds is None


def test_the_publication_is_of_float32_alone(verdict_on, row_result, expectations):
    judged = verdict_on(row_result(digests=published_digests(ROWS[0], expectations)), expectations, tier="full", precision="bf16")
    assert judged.verdict is Verdict.MISSING
