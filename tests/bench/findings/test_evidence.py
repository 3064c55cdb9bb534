import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from bench.expectations import DEFAULT_PATH, DurationPolicy, Published, Timing
from bench.findings.evidence import evidence_of, from_baselines, from_published, from_results
from bench.results import Results
from gptcore.answers import Count
from gptcore.errors import UsageError


@pytest.fixture
def published():
    return TypeAdapter(Published).validate_json(json.dumps(json.loads(DEFAULT_PATH.read_text())["published"]))


def recorded(figures, **fields):
    """As much of a baseline as evidence needs."""
    usual = {
        "digests": {"data": "d" * 64},
        "provenance": SimpleNamespace(machine="Fast CPU", threads=2),
        "timings": (Timing(16.0, 2.0), Timing(24.0, 4.0)),
        "seeds": {123: figures},
    }
    return SimpleNamespace(**usual | fields)


def test_every_seed_of_a_results_folder_counts_and_only_the_own_one_is_a_timing(run_info, row_result, figures):
    result = row_result(figures=figures(seconds=16.0), others={124: figures(right=(1000, 140, 280), seconds=4.0)})
    evidence = from_results(Results(run_info(), {1: result}))[1]
    assert {seed: known.counts["test"].right for seed, known in evidence.seeds.items()} == {123: 285, 124: 280}
    assert [sum(known.right) for known in evidence.seeds.values()] == [285, 280]
    assert evidence.durations == (16.0,)
    assert evidence.data == "d" * 64


def test_rows_without_figures_are_left_out(run_info, row_result):
    assert from_results(Results(run_info(rows=(1, 2)), {1: row_result(figures=None, error="broken")})) == {}


def test_random_weights_for_time_alone_say_nothing_of_accuracy(run_info, row_result):
    evidence = from_results(Results(run_info(timing_only=True), {1: row_result()}))[1]
    assert not evidence.seeds
    assert evidence.durations


@pytest.mark.parametrize(("calibrated", "durations"), [(False, (16.0, 24.0)), (True, (8.0, 6.0))])
def test_every_timing_of_a_baseline_counts_as_its_tier_compares_it(figures, calibrated, durations):
    evidence = from_baselines({1: recorded(figures())}, DurationPolicy(calibrated=calibrated, advisory=True, at_most=1.25))[1]
    assert evidence.durations == durations
    assert sum(evidence.seeds[123].right) == 285


def test_a_baseline_may_have_counts_alone(figures):
    without_answers = SimpleNamespace(counts={"test": Count(285, 300)}, answers={})
    evidence = from_baselines({1: recorded(without_answers)}, DurationPolicy(calibrated=False, advisory=True, at_most=1.25))[1]
    assert evidence.seeds[123].right is None


def test_results_and_baselines_of_one_machine_share_its_name(run_info, row_result, figures):
    policy = DurationPolicy(calibrated=False, advisory=True, at_most=1.25)
    measured = from_results(Results(run_info(device_name="Fast CPU", threads=2), {1: row_result()}))[1]
    assert measured.machine == from_baselines({1: recorded(figures())}, policy)[1].machine


def test_the_publication_is_one_seed_of_counts_and_minutes_measured_once(published):
    evidence = from_published(published)
    assert set(evidence) == set(range(1, 20))
    [known] = evidence[1].seeds.values()
    assert (known.counts["test"], known.right) == (Count(285, 300), None)
    assert (evidence[1].durations, evidence[1].rounding) == ((0.28,), 0.01)


def test_a_percentage_that_is_no_count_is_no_evidence(published):
    [known] = from_published(published)[8].seeds.values()
    assert set(known.counts) == {"train", "test"}


def test_only_flaws_of_few_rows_are_told_of_a_row(published):
    evidence = from_published(published)
    assert {number for number, row in evidence.items() if row.flaws} == {8, 15, 18}
    assert evidence[15].flaws[0].startswith("row 15: measured with an accumulation schedule")
    assert not from_published(replace(published, flaws=()))[15].flaws


def test_results_of_another_suite_are_refused(run_info, row_result):
    with pytest.raises(UsageError, match="mine is of the tiny tier of another suite"):
        evidence_of(Results(run_info(tier="tiny"), {1: row_result()}), "mine")
