"""Rows that run out of memory, and what nineteen rows leave behind."""

import gc
from collections.abc import Iterator

import pytest
import torch

import bench.run
from bench.results import read_results
from bench.run import plan_of, run_rows_here, start_run
from gptcore.memory import release_memory, resident_memory

CPU = torch.device("cpu")


@pytest.fixture
def scarce(monkeypatch):
    """Lets the trainings of some rows, counted from 1, run out of memory; returns where the states of all were."""
    places = []
    real = bench.run.finetune_seeds

    def make(*failing):
        def finetune_seeds(*arguments, states, **keywords):
            places.append(states.place if states else None)
            if len(places) in failing:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(*arguments, states=states, **keywords)

        monkeypatch.setattr(bench.run, "finetune_seeds", finetune_seeds)
        return places

    return make


def test_a_row_is_rescued_by_a_smaller_budget_and_gives_the_same_figures(toy_run, toy_request, tmp_path, scarce, capsys):
    places = scarce(1)
    request = toy_request("1-2")
    for result in run_rows_here(request, start_run(request, tmp_path / "run")):
        first = toy_run.results.rows[result.row]
        assert result.error is None
        assert (result.figures.history, result.figures.answers) == (first.figures.history, first.figures.answers)
        assert result.figures.attestation == first.figures.attestation
    assert places == ["memory", "disk", "disk"]  # half of what two rows share has no room for them
    assert capsys.readouterr().err.count("trying again with at most") == 1


def test_a_row_without_frozen_states_gets_the_room_of_the_others(toy_request, tmp_path, scarce):
    places = scarce(2)
    request = toy_request("1,5,13")
    results = list(run_rows_here(request, start_run(request, tmp_path / "run")))
    assert [result.error for result in results] == [None] * 3
    assert places == ["memory", None, None, "disk"]


def test_a_row_that_finds_no_memory_says_so_in_one_line_and_loses_no_other(toy_request, tmp_path, scarce):
    scarce(2)
    request = toy_request("1,5,6")
    folder = start_run(request, tmp_path / "run")
    plan = plan_of(request)
    results = {}
    for row in request.rows:
        plan.shrink(0)
        results[row.number] = bench.run.run_row(row, request, folder, plan)
    assert results[1].figures
    assert results[6].figures
    assert results[5].error.startswith("memory ran out: toy with all training needs at least ")
    assert results[5].error.endswith("on another --device")
    assert "\n" not in results[5].error
    assert read_results(folder).rows == results


def test_a_row_beyond_all_memory_is_refused_at_once(toy_request, tmp_path, scarce, monkeypatch):
    places = scarce()
    monkeypatch.setattr("gptcore.out_of_memory.total_memory", lambda device: 1000)
    request = toy_request()
    (result,) = run_rows_here(request, start_run(request, tmp_path / "run"))
    assert result.error.startswith("there is too little memory: toy with last block training needs at least 0 MiB, and cpu has 0 MiB in all")
    assert places == []


def test_memory_that_runs_out_elsewhere_leaves_no_traceback_either(toy_request, tmp_path, monkeypatch):
    def gather(*arguments):
        raise MemoryError

    monkeypatch.setattr(bench.run, "write_texts", gather)
    request = toy_request()
    (result,) = run_rows_here(request, start_run(request, tmp_path / "run"))
    assert result.error.startswith("memory ran out: ")
    assert "Traceback" not in result.error


def test_every_row_keeps_the_peak_of_its_own_seed(toy_request, tmp_path, monkeypatch):
    told = iter(range(1000, 2000))
    monkeypatch.setattr(bench.run, "watch_memory", lambda device, at_rest: lambda: next(told))
    request = toy_request("1-2", n_seeds=3)
    assert [result.peak_memory for result in run_rows_here(request, start_run(request, tmp_path / "run"))] == [1000, 1001]


# Leaks


def tensors() -> Iterator[torch.Tensor]:
    """All tensors that Python still reaches."""
    return (thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter))


def left_behind(request, folder):
    """How many tensors of how many bytes live after a run, and bytes of resident memory."""
    for result in run_rows_here(request, start_run(request, folder)):
        assert result.error is None
    del result
    release_memory(CPU)
    living = list(tensors())
    return len(living), sum(tensor.nbytes for tensor in living), resident_memory() or 0


def test_a_run_leaves_no_tensors_behind(toy_request, tmp_path):
    request = toy_request("1,3,5,11,14,17")  # every kind of learner; nox -s faults runs all nineteen
    first, second = (left_behind(request, tmp_path / name) for name in ("first", "second"))
    assert second[:2] <= first[:2]


def test_a_leak_would_be_seen(toy_request, tmp_path, monkeypatch):
    kept = []
    real = bench.run.finetune_seeds

    def leaky(*arguments, states, **keywords):
        kept.append(torch.zeros(10))
        return real(*arguments, states=states, **keywords)

    monkeypatch.setattr(bench.run, "finetune_seeds", leaky)
    request = toy_request("1-3")
    first, second = (left_behind(request, tmp_path / name) for name in ("first", "second"))
    assert (second[0] - first[0], second[1] - first[1]) == (3, 120)
