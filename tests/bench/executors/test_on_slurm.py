from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch
from submitit.core.utils import UncompletedJobError

import bench.executors.on_slurm
from bench.executors.choice import Executor
from bench.executors.on_slurm import run_on_slurm, spool_work
from bench.executors.tasks import Found, Task, WorkerError

SAYING = attrgetter("known")


class Cluster:
    """Stands for submitit: runs a job when it is submitted, and lets the first so many die half way."""

    def __init__(self, n_dying=0):
        self.n_dying = n_dying
        self.submitted = []

    def submit(self, function, work, task, spool):
        self.submitted.append(task)
        is_dying = len(self.submitted) <= self.n_dying
        work_done = (lambda task: work(task)[:1]) if is_dying else work
        said = function(work_done, task, spool)

        def result():
            if is_dying:
                raise UncompletedJobError("Job 7 was preempted\nand more")
            return said

        return SimpleNamespace(job_id=7, done=lambda: True, result=result, cancel=lambda: None)


@pytest.fixture
def on(tmp_path, monkeypatch):
    def run(cluster, tasks, work=SAYING, again=lambda task, why: task, workers=None):
        monkeypatch.setattr(bench.executors.on_slurm, "submitter", lambda *arguments, **keywords: cluster.submit)
        monkeypatch.setattr(bench.executors.on_slurm, "POLL_SECONDS", 0)
        return list(run_on_slurm(tasks, work, again, Executor("slurm", workers), torch.device("cpu"), 1, tmp_path))

    return run


def test_what_jobs_find_comes_back_as_it_was(on, row_result, tmp_path):
    tasks = [Task((row,), known=[Found(row, row_result(row=row, seed=seed, alone=False), is_last=seed == 2) for seed in range(3)]) for row in (1, 2)]
    assert on(Cluster(), tasks) == [(task, found) for task in tasks for found in task.known]
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_ends_early_is_submitted_again(on, row_result):
    found = [Found(1, row_result(seed=seed), is_last=seed == 2) for seed in range(3)]
    told = []

    def again(task, why):
        told.append(why)
        return task

    cluster, task = Cluster(n_dying=1), Task((1,), known=found)
    assert [one for _, one in on(cluster, [task], again=again)] == [found[0], *found]
    assert cluster.submitted == [task, task]
    assert told == ["job 7 that ended with Job 7 was preempted"]


def test_a_job_that_cannot_do_its_work_ends_the_run(on):
    with pytest.raises(WorkerError, match="a worker cannot do its work"):
        on(Cluster(), [Task((1,))], work=attrgetter("unknown"))


def test_no_more_jobs_wait_than_were_asked_for(on, row_result, monkeypatch):
    waiting = []

    class Slow(Cluster):
        def submit(self, *arguments):
            job = super().submit(*arguments)
            waiting.append(1)
            assert len(waiting) <= 2

            def done():
                waiting.pop()
                return True

            job.done = done
            return job

    tasks = [Task((number,), known=[Found(number, row_result(row=number), is_last=True)]) for number in range(1, 6)]
    assert len(on(Slow(), tasks, workers=2)) == 5


def test_a_spool_holds_whole_files_only(tmp_path, row_result):
    assert spool_work(SAYING, Task((1,), known=[Found(1, row_result(), is_last=True)]), tmp_path / "spool") is None
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["000000.json"]
