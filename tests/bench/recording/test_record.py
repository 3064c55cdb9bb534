import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import bench.recording.record
import bench.recording.repeats
import bench.run
from bench.expectations import ExpectationError, load_expectations
from bench.recording.baselines import repeat_of
from bench.recording.record import record
from bench.recording.repeats import ON_CPU, ON_GPU
from bench.request import checked
from bench.results import Invariant, ResultsError, read_results, write_invariants
from bench.run import run_rows_here, start_run
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Verdict
from gptcore.execution import Execution


@pytest.fixture
def clean_tree(monkeypatch):
    """Pretends that the checkout is committed, or not."""
    describe = bench.run.describe_environment

    def pretend(commit="c0ffee", dirty=False):
        monkeypatch.setattr(bench.run, "describe_environment", lambda device, checkout: replace(describe(device, checkout), git_commit=commit, git_dirty=dirty))

    pretend()
    return pretend


@pytest.fixture
def recording(clean_tree, tmp_path, expected_file):
    """Records a request from a clean tree; returns the baselines."""

    def make(request, repeats=False):
        record(request, expected_file, tmp_path / "runs", Console(quiet=True), repeats=repeats)
        return load_expectations(expected_file).baselines["smoke"]["cpu"]

    return make


@pytest.fixture
def refused(recording, expected_file):
    """Checks that a request is refused with these words, and that the expectations stay as they are."""

    def check(request, words, error=ExpectationError, repeats=False):
        before = expected_file.read_bytes()
        with pytest.raises(error, match=words):
            recording(request, repeats)
        assert expected_file.read_bytes() == before

    return check


@pytest.fixture
def moving(monkeypatch, nudged):
    """Puts two repeats that moved everything a little in the place of runs under other conditions; returns what was asked for."""
    asked = []

    def measure(flags, recorded, conditions, folder, said, program):
        asked.append((flags, conditions, folder))
        said("repeated under nothing")
        return {
            number: tuple(
                repeat_of(f"moved by {by}", 1e-6, draw, result, replace(result, figures=nudged(result.figures, by))) for draw, by in enumerate((1e-4, -2e-4))
            )
            for number, result in recorded.rows.items()
        }

    monkeypatch.setattr(bench.recording.record, "measure_repeats", measure)
    monkeypatch.setattr(bench.recording.record, "time_apart", timed_three_times)
    return asked


def timed_three_times(flags, recorded, folder, said, program):
    """In the place of runs in processes of their own: the recorded one, a second longer each time."""

    def longer(result, by):
        return replace(result, figures=replace(result.figures, train_seconds=result.figures.train_seconds + by), peak_memory=100 + by)

    return [replace(recorded, rows={number: longer(result, by) for number, result in recorded.rows.items()}) for by in range(3)]


def test_recording_stores_figures_with_their_provenance(recording, toy_request, tmp_path):
    baselines = recording(toy_request("1-2"))
    assert set(baselines) == {1, 2}
    assert baselines[1].provenance.git_commit == "c0ffee"
    first = read_results(tmp_path / "runs" / "first").rows[1].figures
    assert baselines[1].traces["train_loss"] == tuple(evaluation.train_loss for evaluation in first.history)
    assert baselines[1].own.answers == first.answers
    assert baselines[1].margins == first.margins


def test_every_seed_is_stored_and_both_runs_are_timed(recording, toy_request, tmp_path):
    baseline = recording(toy_request(n_seeds=3))[1]
    runs = [read_results(tmp_path / "runs" / name) for name in ("first", "second")]
    assert [*baseline.seeds] == [123, 124, 125]
    assert set(baseline.bands.seeds) == {"train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "test_accuracy"}
    assert [timing.seconds for timing in baseline.timings] == [run.rows[1].figures.train_seconds for run in runs]
    assert baseline.bands.duration is not None
    assert runs[1].rows[1].others == {}, "one seed is enough to see whether a run repeats itself"


def test_with_repeats_costs_are_those_of_processes_of_their_own(recording, moving, toy_request, tmp_path):
    baseline = recording(toy_request(n_seeds=3), repeats=True)[1]
    seconds = read_results(tmp_path / "runs" / "first").rows[1].figures.train_seconds
    assert [(timing.seconds, timing.peak_memory) for timing in baseline.timings] == [(seconds + by, 100 + by) for by in range(3)]


def test_without_repeats_there_are_no_numerical_bands(recording, moving, toy_request):
    baseline = recording(toy_request())[1]
    assert (baseline.repeats, baseline.bands.traces, baseline.bands.margins, baseline.bands.counts) == ((), {}, {}, {})
    assert moving == []


def test_repeats_are_stored_with_the_bands_that_follow_from_them(recording, moving, toy_request, tmp_path, expected_file):
    baselines = recording(toy_request("1-2"), repeats=True)
    for baseline in baselines.values():
        assert [repeat.condition for repeat in baseline.repeats] == ["moved by 0.0001", "moved by -0.0002"]
        assert [(repeat.perturbation, repeat.draw) for repeat in baseline.repeats] == [(1e-6, 0), (1e-6, 1)]
        assert set(baseline.bands.traces) == set(baseline.traces)
        assert all(reach >= 2e-4 for reach in baseline.bands.traces["train_loss"])
        assert set(baseline.bands.counts) == set(baseline.bands.margins) == {"train", "validation", "test"}
    ((flags, conditions, folder),) = moving
    assert flags == ["--tier", "smoke", "--rows", "1,2", "--device", "cpu", "--precision", "fp32", "--expected", str(expected_file)]
    assert (conditions, folder) == (ON_CPU, tmp_path / "runs")


def test_what_was_recorded_passes(recording, moving, toy_request, tmp_path, expected_file):
    recording(toy_request("1-2", n_seeds=3), repeats=True)
    for name in ("first", "second"):
        verdicts = judge(read_results(tmp_path / "runs" / name), load_expectations(expected_file))
        assert [(verdict.verdict, verdict.holds) for verdict in verdicts] == [(Verdict.PASS, True)] * 2


def test_a_second_recording_replaces_its_own_rows_alone(recording, moving, toy_request, tmp_path, expected_file, clean_tree):
    both = recording(toy_request("1-2"), repeats=True)
    clean_tree(commit="beef")
    record(toy_request("2"), expected_file, tmp_path / "more", Console(quiet=True), repeats=False)
    after = load_expectations(expected_file).baselines["smoke"]["cpu"]
    pooled = {"duration": both[1].bands.duration, "peak_memory": both[1].bands.peak_memory}  # the spread of these is everybody's
    assert replace(after[1], bands=replace(after[1].bands, **pooled)) == both[1]
    assert (after[2].provenance.git_commit, after[2].repeats) == ("beef", ())


@pytest.fixture
def perturbed_results(toy_request, tmp_path):
    """Runs the toys of rows 1 and 2 with perturbed weights; their digests are then the usual ones, as those of another machine would be."""

    def run(relative, seed, name, **settings):
        request = replace(checked(toy_request("1-2", perturbation=relative, perturbation_seed=seed)), **settings)
        results = list(run_rows_here(request, start_run(request, tmp_path / name)))
        usual = {result.row: result.digests for result in run_rows_here(toy_request("1-2"), start_run(toy_request("1-2"), tmp_path / f"{name}-usual"))}
        return {result.row: replace(result, digests=usual[result.row]) for result in results}

    return run


def test_rounding_passes_and_a_changed_computation_drifted(recording, perturbed_results, toy_request, toy_tier, tmp_path, expected_file, monkeypatch):
    def run_here(condition, flags, out, checkout, words):
        return replace(read_results(tmp_path / "runs" / "first"), rows=perturbed_results(condition.perturbation, condition.seed, out.name))

    monkeypatch.setattr(bench.recording.record, "conditions_for", lambda device: ON_GPU)
    monkeypatch.setattr(bench.recording.repeats, "run_under", run_here)
    monkeypatch.setattr(bench.recording.repeats, "allowed_cores", lambda: 1)  # toys run in this process, and draw from its one random generator
    recording(toy_request("1-2"), repeats=True)
    results, expectations = read_results(tmp_path / "runs" / "first"), load_expectations(expected_file)

    other_rounding = replace(results, rows=perturbed_results(5e-7, 99, "rounded"))
    assert other_rounding.rows[1].figures.history != results.rows[1].figures.history
    assert [verdict.verdict for verdict in judge(other_rounding, expectations)] == [Verdict.PASS] * 2

    faster = replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), learning_rate=1.01 * experiment.learning_rate))
    other_code = replace(results, rows=perturbed_results(0.0, 1, "changed", tier=faster))
    assert [(verdict.verdict, verdict.holds) for verdict in judge(other_code, expectations)] == [(Verdict.DRIFTED, False)] * 2


@pytest.mark.parametrize("tree", [{"dirty": True}, {"commit": ""}])
def test_a_dirty_tree_is_refused(refused, clean_tree, toy_request, tree):
    clean_tree(**tree)
    refused(toy_request(), "clean git checkout")


@pytest.mark.parametrize("execution", [Execution(plain=True), Execution(compiled=True)])
def test_an_unusual_way_of_computing_is_refused(refused, toy_request, execution):
    refused(toy_request(execution=execution), "record without them")


@pytest.mark.parametrize(("settings", "chosen"), [({"seed": 7}, "settings"), ({"perturbation": 1e-6}, "weights")], ids=str)
def test_own_inputs_are_refused(refused, toy_request, settings, chosen, tmp_path):
    refused(toy_request(**settings), f"own {chosen} cannot become a baseline: record without --seed, --perturb and folders of your own")
    assert not (tmp_path / "runs").exists()


def test_time_alone_is_refused(refused, toy_request):
    refused(toy_request(timing_only=True), "no figures that could be a baseline")


def test_a_file_that_may_not_be_written_is_refused_before_anything_runs(refused, toy_request, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.recording.record.os, "access", lambda path, mode: False)
    refused(toy_request(), "may not be written to")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def checking(monkeypatch):
    """Puts outcomes, by the name of the run's folder, in the place of what is checked of a run; returns the folders that were checked."""
    checked_folders = []

    def pretend(**outcomes):
        def check(request, folder):
            checked_folders.append(folder)
            write_invariants(folder, outcomes.get(folder.name, ()))

        monkeypatch.setattr(bench.recording.record, "check_invariants", check)
        return checked_folders

    return pretend


@pytest.fixture
def unsteady(toy_tier):
    """A tier whose settings are others every time somebody asks."""
    times = itertools.count(1)
    return replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), learning_rate=1e-3 * next(times)))


def test_figures_that_differ_between_two_runs_are_refused(refused, moving, toy_request, unsteady, checking):
    checking()
    refused(replace(toy_request(), tier=unsteady), "row 1 gave other figures the second time", repeats=True)
    assert moving == [], "what does not repeat itself is not repeated sixteen times"


# Invariants


def test_what_is_recorded_was_checked(recording, toy_request, tmp_path):
    recording(toy_request())
    for name in ("first", "second"):
        invariants = read_results(tmp_path / "runs" / name).invariants
        assert invariants
        assert all(invariant.holds for invariant in invariants)


def test_a_row_that_does_not_repeat_itself_in_one_run_is_refused(refused, toy_request, unsteady, tmp_path):
    refused(replace(toy_request(), tier=unsteady), "row 1, run again, is bit-identical: that does not hold .*so nothing is recorded")
    assert not (tmp_path / "runs" / "second").exists()


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_broken_invariant_of_either_run_is_refused(refused, moving, toy_request, checking, tmp_path, run):
    held, broken = Invariant("day follows night", (1,), True, ""), Invariant("one is one", (1,), False, "one is two")
    folders = checking(**{run: (held, broken)})
    refused(toy_request(), r"one is one: that does not hold \(one is two\), so nothing is recorded; mend it first", repeats=True)
    assert folders[-1] == tmp_path / "runs" / run
    assert moving == []


# What fails


def test_a_repeat_that_breaks_off_is_refused(refused, moving, toy_request, monkeypatch):
    def break_off(*arguments):
        raise ResultsError("running rows under threads: 2 failed")

    monkeypatch.setattr(bench.recording.record, "measure_repeats", break_off)
    refused(toy_request(), "under threads: 2 failed", ResultsError, repeats=True)


@pytest.fixture
def exploding(toy_tier):
    return replace(toy_tier, scale=lambda experiment: replace(toy_tier.scale(experiment), learning_rate=1e30))


def test_a_non_finite_loss_is_refused(refused, toy_request, exploding):
    refused(replace(toy_request(), tier=exploding), "the loss is")


def test_both_runs_are_kept(recording, toy_request, tmp_path):
    recording(toy_request())
    assert [read_results(tmp_path / "runs" / name).rows[1].figures.counts for name in ("first", "second")]


def test_the_first_failed_row_ends_the_recording(refused, toy_request, exploding, tmp_path):
    refused(replace(toy_request("1-2"), tier=exploding), "row 1 failed")
    assert set(read_results(tmp_path / "runs" / "first").rows) == {1}
    assert not (tmp_path / "runs" / "second").exists()


def test_a_row_whose_further_seeds_fail_is_refused(refused, toy_request, monkeypatch):
    def diverge(*arguments, **keywords):
        raise ExpectationError("the loss is nan")

    monkeypatch.setattr(bench.run, "finetune_seeds", diverge)
    refused(toy_request(n_seeds=3), "row 1 failed")


def test_the_recording_says_what_it_did(clean_tree, moving, toy_request, tmp_path, expected_file, capsys):
    record(toy_request(n_seeds=3), expected_file, Path(tmp_path / "runs"), Console(width=200), repeats=True)
    lines = capsys.readouterr().out.splitlines()
    assert f"repeating under {len(ON_CPU)} conditions that change rounding alone" in lines
    assert "repeated under nothing" in lines
    assert lines[-1] == f"recorded 1 row in {expected_file}: seeds 3, repeats 2; all runs are in {tmp_path / 'runs'}"
