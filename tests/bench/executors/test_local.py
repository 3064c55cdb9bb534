import pickle
import signal
import sys
from multiprocessing import get_context, resource_tracker

import cloudpickle
import pytest
import torch

from bench.executors.local import run_in_processes
from bench.executors.tasks import Found, Heard, Task, WorkerError

PLACES = [torch.device("cpu")] * 2


class ByValue:
    """A function that a process gets whole: one that starts afresh can import nothing from a test."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return pickle.loads, (cloudpickle.dumps(self.function),)


@pytest.fixture
def saying():
    """A work that says that its task's rows begin, then whatever its task has been told."""

    def work(task, tell):
        for row in task.rows:
            tell(Heard(row))
        return iter(task.known)

    return ByValue(work)


def unheard(heard):
    """Nobody listens."""


@pytest.mark.slow  # each process loads torch anew
def test_everything_that_processes_say_arrives_in_order(row_result, saying):
    tasks = [Task((number,), known=[Found(number, row_result(row=number, seed=seed), is_last=seed == 3) for seed in range(4)]) for number in (1, 2, 3)]
    said = {task.rows: [] for task in tasks}
    heard = []
    for task, found in run_in_processes(tasks, saying, lambda task, why: pytest.fail(why), heard.append, PLACES):
        assert Heard(found.row) in heard
        said[task.rows].append(found)
    assert said == {task.rows: task.known for task in tasks}
    assert sorted(one.row for one in heard) == [1, 2, 3]


@pytest.mark.slow  # each process loads torch anew
def test_a_process_that_cannot_do_its_work_says_why():
    def work(task, tell):
        raise AttributeError("'Task' has no 'unknown'")

    with pytest.raises(WorkerError, match=r"a worker cannot do its work \(AttributeError: .*'unknown'"):
        list(run_in_processes([Task((1,))], ByValue(work), lambda task, why: task, unheard, PLACES))


@pytest.fixture
def processes_that_end_at_once():
    """What is started instead of Python; and an alarm, since what is tested once hung."""
    resource_tracker.ensure_running()  # which is started the same way
    context = get_context("spawn")

    def end(*arguments):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    context.set_executable("/bin/false")
    yield
    context.set_executable(sys.executable)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("processes_that_end_at_once")
def test_a_process_that_ends_while_it_starts_is_a_lost_worker_however_large_its_task(saying):
    told = []

    def again(task, why):
        told.append(why)
        if len(told) == 3:
            raise WorkerError("lost too often")
        return task

    with pytest.raises(WorkerError, match="lost too often"):
        list(run_in_processes([Task((1,), known={1: "x" * 300_000})], saying, again, unheard, PLACES[:1]))
    assert told == ["ended with exit code 1"] * 3
