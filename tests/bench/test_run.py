import json
from dataclasses import replace

import pytest
import torch

import bench.run
from bench.finishing import finish
from bench.request import checked
from bench.results import ResultsError, read_results
from bench.run import plan_of, run_row, run_rows_here, start_run
from gptcore.errors import AssetError, TrainingError, UsageError
from gptcore.execution import Execution
from gptcore.inputs import Sources


def test_the_test_texts_are_kept_with_the_rows(toy_run, toy_tier):
    assert toy_run.results.test_texts == toy_tier.gather(None, Sources()).dataset.test.texts


def test_texts_that_cannot_be_kept_are_the_rows_error(toy_request, tmp_path, monkeypatch):
    def full(folder, texts):
        raise ResultsError("no space left")

    monkeypatch.setattr(bench.run, "write_texts", full)
    (result,) = run_rows_here(toy_request(), start_run(toy_request(), tmp_path / "run"))
    assert (result.error, result.figures) == ("no space left", None)


def test_a_second_run_gives_the_same_figures_bit_for_bit(toy_run, toy_request, tmp_path):
    again = start_run(toy_request("1-2"), tmp_path / "again")
    for result in run_rows_here(toy_request("1-2"), again):
        first = toy_run.results.rows[result.row]
        assert result.figures.history == first.figures.history
        assert result.figures.answers == first.figures.answers
        assert result.figures.margins == first.figures.margins
        assert result.figures.fingerprint == first.figures.fingerprint
        assert result.digests == first.digests


def test_rows_are_written_one_by_one(toy_request, tmp_path):
    request = toy_request("1-3")
    folder = start_run(request, tmp_path / "run")
    running = run_rows_here(request, folder)
    next(running)
    assert set(read_results(folder).rows) == {1}
    next(running)
    assert set(read_results(folder).rows) == {1, 2}


def test_the_seed_reaches_the_experiment_and_its_digest(toy_request, tmp_path):
    folder = start_run(toy_request(seed=7), tmp_path / "run")
    ours, usual = (run_row(request.rows[0], request, folder, plan_of(request)) for request in (toy_request(seed=7), toy_request()))
    assert (ours.seed, usual.seed) == (7, 123)
    assert ours.digests["settings"] != usual.digests["settings"]
    assert ours.figures.history != usual.figures.history
    assert toy_request(seed=7).chosen == ("settings",)
    assert toy_request(seed=123).chosen == toy_request().chosen == ()


def test_a_row_that_breaks_loses_no_other_row(toy_request, toy_tier, tmp_path):
    def gather(experiment, sources):
        if experiment.trainable_token_pos == "first":
            raise AssetError("weights.safetensors is damaged: fetch it again")
        if experiment.trainable_layers == "last_layer":
            raise RuntimeError("a defect")
        return toy_tier.gather(experiment, sources)

    request = replace(toy_request("1-4"), tier=replace(toy_tier, gather=gather))
    folder = start_run(request, tmp_path / "run")
    results = {result.row: result for result in run_rows_here(request, folder)}
    assert results[2].error == "weights.safetensors is damaged: fetch it again"
    assert results[3].error.startswith("RuntimeError: a defect\nTraceback")
    assert results[1].figures
    assert results[4].figures
    assert read_results(folder).rows == results


def test_missing_inputs_stop_the_run_before_it_starts(toy_request, tmp_path):
    with pytest.raises(AssetError, match="holds no toys"):
        checked(toy_request(sources=Sources(data=tmp_path)))


def test_an_impossible_seed_or_precision_stops_the_run_before_it_starts(toy_request):
    with pytest.raises(UsageError, match="--seed -1"):
        checked(toy_request(seed=-1))
    with pytest.raises(UsageError, match="--precision tf32 needs a CUDA device"):
        checked(toy_request(precision="tf32"))


def test_the_command_repeats_the_request(toy_request, tmp_path):
    request = toy_request("4", sources=Sources(data=tmp_path / "my data", limit_train=60), seed=7)
    assert request.command == f"python -m bench run --tier smoke --device cpu --seed 7 --data-dir '{tmp_path}/my data' --limit-train 60"
    assert replace(request, execution=Execution(plain=True)).command == f"{request.command} --plain"
    assert replace(request, perturbation=2e-7, perturbation_seed=3).command == f"{request.command} --perturb 2e-07 --perturb-seed 3"


def test_the_selection_is_what_stays_the_same_under_other_conditions(toy_request):
    request = toy_request("1,4-5", n_seeds=3, threads=2, precision="bf16")
    assert request.selection == ("--tier", "smoke", "--rows", "1,4,5", "--device", "cpu", "--precision", "bf16")


def test_run_json_says_where_and_what(toy_run):
    info = json.loads((toy_run.folder / "run.json").read_text())
    assert info["environment"]["packages"]["torch"] == torch.__version__
    assert info["rows"] == [1, 2]
    assert info["calibration_seconds"] > 0


def test_a_taken_folder_is_refused(toy_run, toy_request):
    with pytest.raises(ResultsError, match="not empty"):
        start_run(toy_request(), toy_run.folder)


def test_a_seed_that_fails_leaves_the_first_one_its_figures(toy_request, tmp_path, monkeypatch):
    train = bench.run.finetune_seeds

    def diverge(experiment, inputs, seeds, **keywords):
        if 124 in seeds:
            raise TrainingError("the loss is nan")
        return train(experiment, inputs, seeds, **keywords)

    monkeypatch.setattr(bench.run, "finetune_seeds", diverge)
    request = toy_request(n_seeds=3)
    (result,) = run_rows_here(request, start_run(request, tmp_path / "run"))
    assert (result.error, result.others) == ("the loss is nan", {})
    assert result.figures


def test_two_runs_that_start_in_one_second_take_folders_of_their_own(toy_request, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.run, "default_folder", lambda name: tmp_path / name)
    folders = [start_run(toy_request(), None) for _ in range(3)]
    assert [folder.name for folder in folders] == ["smoke", "smoke-2", "smoke-3"]


def test_seeds_beyond_the_largest_are_refused(toy_request):
    with pytest.raises(UsageError, match="--seeds 2 from seed 9223372036854775807 on is not possible"):
        checked(toy_request(seed=2**63 - 1, n_seeds=2))
    checked(toy_request(seed=2**63 - 1))


def test_a_timing_run_takes_no_weights_from_the_environment(toy_request, monkeypatch, tmp_path):
    monkeypatch.setenv("GPTCORE_WEIGHTS_DIR", str(tmp_path))
    assert "--weights-dir" not in checked(toy_request(timing_only=True)).command
    assert "--weights-dir" in checked(toy_request()).command


def test_a_clock_that_jumps_backwards_moves_no_duration_and_no_folder(toy_request, tmp_path, expectations, monkeypatch):
    """Durations come from a clock that cannot be set; the other one only names things."""
    hours = iter(range(10**6, 0, -1))
    monkeypatch.setattr("time.time", lambda: 3600.0 * next(hours))
    monkeypatch.setattr("time.time_ns", lambda: 3600 * 10**9 * next(hours))
    monkeypatch.setattr(bench.run, "default_folder", lambda name: tmp_path / name)
    first, second = (start_run(toy_request("1-2"), None) for _ in range(2))
    for folder in (first, second):
        results = [*run_rows_here(toy_request("1-2"), folder)]
        assert all(0 < result.figures.train_seconds < 600 for result in results)
        assert all(0 < result.figures.real_seconds < 600 for result in results)
    before = read_results(first)
    assert first != second
    finish(second, expectations)
    assert {number: row.figures.history for number, row in read_results(second).rows.items()} == {
        number: row.figures.history for number, row in before.rows.items()
    }
