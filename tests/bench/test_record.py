from dataclasses import replace

import pytest
from rich.console import Console

import bench.run
from bench.expectations import ExpectationError, load_expectations
from bench.record import record, with_shorter_durations
from bench.results import Results, read_results
from gptcore.execution import Execution


@pytest.fixture
def clean_tree(monkeypatch):
    """Pretends that the checkout is committed, or not."""
    describe = bench.run.describe_environment

    def pretend(commit="c0ffee", dirty=False):
        monkeypatch.setattr(bench.run, "describe_environment", lambda device: replace(describe(device), git_commit=commit, git_dirty=dirty))

    pretend()
    return pretend


@pytest.fixture
def quiet():
    return Console(quiet=True)


def test_recording_stores_figures_with_their_provenance(tmp_path, clean_tree, toy_request, expected_file, quiet):
    record(toy_request("1-2"), expected_file, tmp_path / "runs", quiet)
    baselines = load_expectations(expected_file).baselines["smoke"]["cpu"]
    assert set(baselines) == {1, 2}
    assert baselines[1].provenance.git_commit == "c0ffee"
    assert baselines[1].history[0].step == 0


@pytest.mark.parametrize("tree", [{"dirty": True}, {"commit": ""}])
def test_a_dirty_tree_is_refused(tmp_path, clean_tree, toy_request, expected_file, quiet, tree):
    before = expected_file.read_bytes()
    clean_tree(**tree)
    with pytest.raises(ExpectationError, match="clean git checkout"):
        record(toy_request(), expected_file, tmp_path / "runs", quiet)
    assert expected_file.read_bytes() == before


def test_the_shorter_duration_of_two_is_recorded(run_info, row_result, figures):
    first = Results(run_info(), {1: row_result(figures=figures(seconds=16.0)), 2: row_result(row=2, figures=figures(seconds=3.0))})
    second = Results(run_info(), {1: row_result(figures=figures(seconds=15.0)), 2: row_result(row=2, figures=figures(seconds=4.0))})
    rows = with_shorter_durations(first, second).rows
    assert [rows[number].figures.train_seconds for number in (1, 2)] == [15.0, 3.0]
    assert rows[1].figures.history == first.rows[1].figures.history


def test_a_plain_run_is_refused(tmp_path, clean_tree, toy_request, expected_file, quiet):
    with pytest.raises(ExpectationError, match="record without them"):
        record(toy_request(execution=Execution(plain=True)), expected_file, tmp_path / "runs", quiet)


def test_own_inputs_are_refused(tmp_path, clean_tree, toy_request, expected_file, quiet):
    with pytest.raises(ExpectationError, match="cannot become a baseline"):
        record(toy_request(seed=7), expected_file, tmp_path / "runs", quiet)


def test_figures_that_differ_between_two_runs_are_refused(tmp_path, clean_tree, toy_request, toy_tier, expected_file, quiet):
    seeds = iter((123, 7, 8, 9))
    unsteady = replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), seed=next(seeds)))
    before = expected_file.read_bytes()
    with pytest.raises(ExpectationError, match="row 1 gave other figures the second time"):
        record(replace(toy_request(), tier=unsteady), expected_file, tmp_path / "runs", quiet)
    assert expected_file.read_bytes() == before


def test_a_non_finite_loss_is_refused(tmp_path, clean_tree, toy_request, toy_tier, expected_file, quiet):
    exploding = replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), learning_rate=1e30))
    before = expected_file.read_bytes()
    with pytest.raises(ExpectationError, match="the loss is"):
        record(replace(toy_request(), tier=exploding), expected_file, tmp_path / "runs", quiet)
    assert expected_file.read_bytes() == before


def test_both_runs_are_kept(tmp_path, clean_tree, toy_request, expected_file, quiet):
    record(toy_request(), expected_file, tmp_path / "runs", quiet)
    assert [read_results(tmp_path / "runs" / name).rows[1].figures.counts for name in ("first", "second")]


def test_the_first_failed_row_ends_the_recording(tmp_path, clean_tree, toy_request, toy_tier, expected_file, quiet):
    exploding = replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), learning_rate=1e30))
    with pytest.raises(ExpectationError, match="row 1 failed"):
        record(replace(toy_request("1-2"), tier=exploding), expected_file, tmp_path / "runs", quiet)
    assert set(read_results(tmp_path / "runs" / "first").rows) == {1}
    assert not (tmp_path / "runs" / "second").exists()
