import pickle
from dataclasses import replace

import pytest
import torch

import bench.executors.tasks
import bench.run
from bench.executors.tasks import Assignment, Found, Task, WorkerError, perform, reachable, seldom, tasks_of, trouble
from bench.request import Request
from bench.results import read_info
from bench.rows import ROWS
from bench.run import start_run
from bench.tiers import TIERS
from gptcore.execution import Execution
from gptcore.result import Evaluation, Progress


def shapes(tasks):
    return [(task.rows, task.part) for task in tasks]


def test_rows_that_share_a_frozen_part_go_to_one_worker_and_others_alone(toy_request):
    assert shapes(tasks_of(toy_request("1-5,9,17"))) == [((1, 2, 3, 4), None), ((5,), None), ((9,), None), ((17,), None)]


def test_every_row_of_the_table_is_in_one_task(toy_request):
    numbers = [number for task in tasks_of(toy_request("all")) for number in task.rows]
    assert sorted(numbers) == [row.number for row in ROWS]


def test_seeds_go_apart_where_nothing_is_frozen(toy_request, monkeypatch):
    monkeypatch.setattr(bench.run, "seeds_at_once", lambda *arguments: 2)
    request = toy_request("1-2,5,17", n_seeds=4)
    assert shapes(tasks_of(request)) == [((1, 2), None), ((5,), 0), ((5,), 1), ((5,), 2), ((17,), None)]
    plain = replace(request, execution=Execution(plain=True))
    assert len(tasks_of(plain)) == 4 * 3


def test_done_rows_stay_in_their_group_as_long_as_another_one_waits(toy_request):
    request = toy_request("1-3,5,9")
    assert shapes(tasks_of(request, {1, 2, 5})) == [((1, 2, 3), None), ((9,), None)]
    assert shapes(tasks_of(request, {1, 2, 3})) == [((5,), None), ((9,), None)]


def test_a_task_says_what_it_is():
    assert Task((1, 2)).name == "rows 1, 2"
    assert Task((5,), 1).name == "row 5, part 2 of its seeds"


@pytest.fixture
def assignment(toy_request, tmp_path):
    request = toy_request("1-2")
    folder = start_run(request, tmp_path / "run")
    return Assignment(request, read_info(folder), folder, 1)


def test_a_worker_writes_nothing(assignment):
    before = {path: path.read_bytes() for path in assignment.folder.iterdir() if path.is_file()}
    found = list(assignment(Task((1, 2)), lambda heard: None))
    assert [(one.row, one.is_last) for one in found] == [(1, False), (1, True), (2, False), (2, True)]
    assert not any(one.result.alone for one in found)
    assert {path: path.read_bytes() for path in assignment.folder.iterdir() if path.is_file()} == before


def test_what_a_worker_is_told_is_not_computed_again(assignment, monkeypatch):
    first = next(one.result for one in perform(Task((1, 2)), assignment) if one.is_last)
    monkeypatch.setattr(bench.run, "finetune_seeds", lambda *arguments, **keywords: pytest.fail("it trained"))
    told = replace(first, alone=True)
    assert list(perform(Task((1,), known={1: told}), assignment)) == [Found(1, told, is_last=False), Found(1, told, is_last=True)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"code": "0" * 64}, "the code is another one"), ({"threads": 3}, None), ({"device_name": "Fast CPU"}, "device name was Fast CPU and is")],
)
def test_a_worker_must_be_like_the_machine_that_began_the_run(assignment, change, sentence):
    changed = replace(assignment, info=replace(assignment.info, environment=replace(assignment.info.environment, **change)))
    if sentence is None:  # what a worker can be set to, it is
        next(perform(Task((1,)), changed))
        assert torch.get_num_threads() == 3
    else:
        with pytest.raises(WorkerError, match=sentence):
            next(perform(Task((1,)), changed))


def test_what_an_engine_sets_for_its_workers_is_no_difference(assignment, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    next(perform(Task((1,)), assignment))
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    with pytest.raises(WorkerError, match="the environment variable MKL_CBWR was not set and is AVX2"):
        next(perform(Task((1,)), assignment))


def test_workers_side_by_side_share_the_memory(assignment, monkeypatch):
    budgets = []

    def spy(row, request, *arguments):
        budgets.append(request.execution.memory_budget)
        return iter(())

    monkeypatch.setattr(bench.executors.tasks, "compute_row", spy)
    monkeypatch.setattr(bench.executors.tasks, "free_memory", lambda device: 1200)
    list(perform(Task((1,)), assignment))
    list(perform(Task((1,)), replace(assignment, side_by_side=3)))
    asked = replace(assignment.request, execution=Execution(memory_budget=5))
    list(perform(Task((1,)), replace(assignment, request=asked, side_by_side=3)))
    assert budgets == [600, 200, 5]


def test_only_the_runs_own_folder_takes_checkpoints(assignment, tmp_path):
    assert reachable(assignment.folder, assignment.info) == assignment.folder
    assert reachable(tmp_path / "elsewhere", assignment.info) is None
    assert reachable(assignment.folder, replace(assignment.info, id="another")) is None


def test_a_request_of_each_tier_can_be_sent():
    for tier in TIERS.values():
        request = Request(tier, ROWS, torch.device("cpu"))
        assert pickle.loads(pickle.dumps(request)) == request


def test_what_keeps_a_worker_from_its_work_is_a_sentence():
    assert trouble(WorkerError("too small")) == "too small"
    assert "cannot do its work (ModuleNotFoundError: No module named 'bench'): install" in trouble(ModuleNotFoundError("No module named 'bench'"))


def test_how_far_training_has_come_is_told_as_often_as_a_person_can_follow():
    said, times = [], iter([0.0, 0.0, 0.1, 0.25, 0.25, 0.3])
    hear = seldom(said.append, lambda: next(times))
    steps = [Progress("training", done, 5) for done in range(1, 6)]
    evaluation = Evaluation(1, 0, 0.9, 0.9, 2.0)
    for event in (*steps[:2], evaluation, *steps[2:]):
        hear(event)
    assert said == [steps[0], evaluation, steps[2], steps[4]]
