from types import SimpleNamespace

import pytest
import torch
from submitit.core.utils import FailedJobError, UncompletedJobError

import bench.executors.on_slurm
from bench.executors.choice import Executor
from bench.executors.on_slurm import read_found, run_on_slurm, spool_work
from bench.executors.tasks import Found, Heard, Task, WorkerError
from gptcore.result import Progress


def saying(task, tell):
    """A work that says that its task's rows begin, and how far they are, then whatever its task has been told."""
    for row in task.rows:
        tell(Heard(row))
        tell(Heard(row, Progress("training", 1, 2)))
    return task.known


class Cluster:
    """Stands for submitit: runs a job when it is submitted, and lets the first so many die half way."""

    def __init__(self, n_dying=0):
        self.n_dying = n_dying
        self.submitted = []

    def submit(self, function, work, task, spool):
        self.submitted.append(task)
        is_dying = len(self.submitted) <= self.n_dying
        work_done = (lambda task, tell: work(task, tell)[:1]) if is_dying else work
        said = function(work_done, task, spool)

        def result():
            if is_dying:
                raise UncompletedJobError("Job 7 was preempted\nand more")
            return said

        return SimpleNamespace(job_id=7, done=lambda: True, result=result, cancel=lambda: None)


@pytest.fixture
def on(tmp_path, monkeypatch):
    def run(cluster, tasks, work=saying, again=lambda task, why: task, hear=lambda heard: None, workers=None):
        monkeypatch.setattr(bench.executors.on_slurm, "submitter", lambda *arguments, **keywords: cluster.submit)
        monkeypatch.setattr(bench.executors.on_slurm, "POLL_SECONDS", 0)
        return list(run_on_slurm(tasks, work, again, hear, Executor("slurm", workers), torch.device("cpu"), 1, tmp_path))

    return run


def test_what_jobs_find_comes_back_as_it_was(on, row_result, tmp_path):
    tasks = [Task((row,), known=[Found(row, row_result(row=row, seed=seed, alone=False), is_last=seed == 2) for seed in range(3)]) for row in (1, 2)]
    assert on(Cluster(), tasks) == [(task, found) for task in tasks for found in task.known]
    assert list(tmp_path.iterdir()) == []


def test_rows_say_that_they_begin_and_no_more(on, row_result):
    heard = []
    on(Cluster(), [Task((1, 2), known=[Found(row, row_result(row=row), is_last=True) for row in (1, 2)])], hear=heard.append)
    assert heard == [Heard(1), Heard(2)]


def test_files_that_no_job_of_this_run_leaves_begin_no_row(on, row_result):
    class Littered(Cluster):
        def submit(self, function, work, task, spool):
            job = super().submit(function, work, task, spool)
            for name in ("9.begun", "notes.begun"):
                (spool / name).touch()
            return job

    heard = []
    on(Littered(), [Task((1,), known=[Found(1, row_result(), is_last=True)])], hear=heard.append)
    assert heard == [Heard(1)]


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


def test_a_job_of_an_earlier_run_that_lives_on_is_not_heard(on, row_result, tmp_path):
    """It was submitted by a run that was killed, and writes on in the folder that this one uses."""

    class Haunted(Cluster):
        def submit(self, function, work, task, spool):
            for place in (tmp_path / "jobs" / "000000", spool):
                spool_work(saying, Task((9,), known=[Found(9, row_result(row=9, seed=99), is_last=True)]), place)
                (place / "000000.json").rename(place / "999999.json")
            return super().submit(function, work, task, spool)

    task = Task((1,), known=[Found(1, row_result(), is_last=True)])
    assert [found.row for _, found in on(Haunted(), [task])] == [1]


def test_each_run_has_a_folder_of_its_own(on, row_result, tmp_path):
    spools = []

    class Watched(Cluster):
        def submit(self, function, work, task, spool):
            spools.append(spool)
            return super().submit(function, work, task, spool)

    for _ in range(2):
        on(Watched(), [Task((1,), known=[Found(1, row_result(), is_last=True)])])
    first, second = (spool.relative_to(tmp_path / "jobs") for spool in spools)
    assert first.parent != second.parent


def test_a_job_that_ends_well_without_all_that_it_found_is_submitted_again(on, row_result):
    """As where a shared disk shows its last files too late."""
    found = [Found(row, row_result(row=row), is_last=True) for row in (1, 2)]
    told, task = [], Task((1, 2), known=found)

    class Late(Cluster):
        def submit(self, function, work, task, spool):
            job = super().submit(function, work, task, spool)
            if len(self.submitted) == 1:
                (spool / "000001.json").unlink()
            return job

    def again(task, why):
        told.append(why)
        return task

    assert [one.row for _, one in on(Late(), [task], again=again)] == [1, 1, 2]
    assert told == ["job 7 that ended without all that it found"]


def test_a_job_that_slurm_does_not_take_is_told_in_a_sentence(on):
    class Refusing(Cluster):
        def submit(self, *arguments):
            raise FailedJobError("sbatch: error: invalid partition specified: moon\nsbatch: error: Batch job submission failed")

    with pytest.raises(WorkerError) as error:
        on(Refusing(), [Task((1,))])
    assert str(error.value) == "Slurm takes no job (sbatch: error: invalid partition specified: moon): see what --jobs asks for"


def test_a_job_that_cannot_do_its_work_ends_the_run(on):
    def work(task, tell):
        raise AttributeError("unknown")

    with pytest.raises(WorkerError, match="a worker cannot do its work"):
        on(Cluster(), [Task((1,))], work=work)


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
    assert spool_work(saying, Task((1,), known=[Found(1, row_result(), is_last=True)]), tmp_path / "spool") is None
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["000000.json", "1.begun"]


@pytest.mark.parametrize("text", ["{", "[]", '{"row": 1, "is_last": true}', '{"row": 1, "is_last": true, "result": {}}'])
def test_what_no_job_writes_ends_the_run_with_a_sentence(tmp_path, text):
    path = tmp_path / "000000.json"
    path.write_text(text)
    with pytest.raises(WorkerError, match=r"000000\.json is not what a job writes .*: see that all machines share a folder"):
        read_found(path)
