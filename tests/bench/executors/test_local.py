from operator import attrgetter

import pytest
import torch

from bench.executors.local import run_in_processes
from bench.executors.tasks import Found, Task, WorkerError

pytestmark = pytest.mark.slow  # each process loads torch anew

PLACES = [torch.device("cpu")] * 2
SAYING = attrgetter("known")  # a work that says whatever its task has been told; processes that start afresh know no function of a test


def test_everything_that_processes_say_arrives_in_order(row_result):
    tasks = [Task((number,), known=[Found(number, row_result(row=number, seed=seed), is_last=seed == 3) for seed in range(4)]) for number in (1, 2, 3)]
    said = {task.rows: [] for task in tasks}
    for task, found in run_in_processes(tasks, SAYING, lambda task, why: pytest.fail(why), PLACES):
        said[task.rows].append(found)
    assert said == {task.rows: task.known for task in tasks}


def test_a_process_that_cannot_do_its_work_says_why():
    with pytest.raises(WorkerError, match=r"a worker cannot do its work \(AttributeError: .*'unknown'"):
        list(run_in_processes([Task((1,))], attrgetter("unknown"), lambda task, why: task, PLACES))
