"""Tasks as Slurm jobs, through submitit.  Machines must share the results folder: what jobs find passes through its folder `jobs`."""

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch

from bench.documents import DocumentError, dumped, read_document, validated
from bench.executors.check import asked_of_slurm
from bench.executors.choice import Executor
from bench.executors.tasks import Again, Found, Hear, Heard, Task, Work, WorkerError, trouble
from bench.results import RowResult
from gptcore.files import write_text_atomically

POLL_SECONDS = 1.0
USUAL = {"time": "1440"}  # minutes: submitit's own five are too few


@dataclass(frozen=True)
class Job:
    """A task that was submitted, and where it leaves what it finds.  ended: the rows that it has said its last of."""

    task: Task
    handle: Any
    spool: Path
    ended: set[int] = field(default_factory=set)


def run_on_slurm(
    tasks: Sequence[Task], work: Work, again: Again, hear: Hear, executor: Executor, device: torch.device, threads: int, folder: Path, cluster: str = "slurm"
) -> Iterator[tuple[Task, Found]]:
    """Everything that comes of the tasks, a job each, at most so many at a time as the executor's workers; `hear` gets to know which rows begin.

    A task whose job ends before it is done goes to `again`, which says how it goes on.  cluster: submitit's name for who takes the jobs.
    Raises WorkerError where a job cannot be submitted, or cannot do its work.
    """
    all_jobs = folder.absolute() / "jobs"
    shutil.rmtree(all_jobs, ignore_errors=True)  # of a run that was killed
    jobs = all_jobs / token_hex(16)  # jobs outlive a run that is killed, and write on: never where this one reads
    submit = submitter(jobs / "submitit", cluster, USUAL | asked_of_slurm(executor.jobs), threads, n_gpus=int(device.type == "cuda"))
    waiting, working, n_submitted = deque(tasks), list[Job](), 0
    seen: set[Path] = set()
    try:
        while waiting or working:
            while waiting and len(working) < (executor.workers or len(tasks)):
                task, spool = waiting.popleft(), jobs / f"{n_submitted:06d}"
                n_submitted += 1
                working.append(Job(task, submitted(submit, work, task, spool), spool))
            for job in list(working):
                is_done = job.handle.done()  # asked first: what a job says, it says before it is done
                for row in job.task.rows:
                    if (path := mark_of(job.spool, row)) not in seen and path.exists():
                        seen.add(path)
                        hear(Heard(row))
                for path in sorted(set(job.spool.glob("*.json")) - seen):
                    seen.add(path)
                    found = read_found(path)
                    if found.row not in job.task.rows:
                        continue
                    if found.is_last:
                        job.ended.add(found.row)
                    yield job.task, found
                if is_done:
                    working.remove(job)
                    if why := loss_of(job):
                        waiting.appendleft(again(job.task, why))
            if working:
                time.sleep(POLL_SECONDS)
    finally:
        for job in working:
            with suppress(Exception):  # it may be gone already
                job.handle.cancel()
        if not working:
            shutil.rmtree(all_jobs, ignore_errors=True)


def submitted(submit: Callable[..., Any], work: Work, task: Task, spool: Path) -> Any:
    """The handle of a new job for a task.  Raises WorkerError where Slurm does not take it."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        return submit(spool_work, work, task, spool)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise WorkerError(f"Slurm takes no job ({first_line(error)}): see what --jobs asks for") from error


def spool_work(work: Work, task: Task, spool: Path) -> str | None:
    """Leave everything that comes of a task in a folder of its own, a file each.  Returns None, or what keeps it from its work in a sentence."""

    def note(heard: Heard) -> None:
        """Leave word that a row begins: of more a shared folder would have to take too many files."""
        if heard.event is None:
            write_text_atomically(mark_of(spool, heard.row), "")

    try:
        for number, found in enumerate(work(task, note)):
            document = {"row": found.row, "is_last": found.is_last, "result": dumped(RowResult, found.result)}
            write_text_atomically(spool / f"{number:06d}.json", json.dumps(document, allow_nan=False))
    except Exception as error:  # noqa: BLE001 - the other end tells it
        return trouble(error)
    return None


def mark_of(spool: Path, row: int) -> Path:
    """The empty file that says that a row has begun."""
    return spool / f"{row}.begun"


def read_found(path: Path) -> Found:
    """What a job left in a file.  Raises WorkerError where that is damaged."""
    try:
        document = read_document(path)
        return Found(document["row"], validated(RowResult, document["result"]), document["is_last"])
    except (DocumentError, OSError, KeyError, TypeError) as error:
        raise WorkerError(f"{path} is not what a job writes ({error}): see that all machines share a folder that keeps what they write") from error


def loss_of(job: Job) -> str:
    """Why a job that is over ended before its task, in a clause; empty where it did not.  Raises WorkerError where it could not do its work."""
    import submitit

    try:
        trouble_told = job.handle.result()
    except submitit.core.utils.UncompletedJobError as error:
        return f"job {job.handle.job_id} that ended with {first_line(error)}"
    if trouble_told:
        raise WorkerError(trouble_told)
    return f"job {job.handle.job_id} that ended without all that it found" if set(job.task.rows) - job.ended else ""


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or ["no word"])[0]


def submitter(folder: Path, cluster: str, asked: Mapping[str, str], threads: int, n_gpus: int) -> Any:
    """What submits a function with its arguments."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    gpus = {"gpus_per_node": n_gpus} if n_gpus else {}
    executor.update_parameters(name="bench", cpus_per_task=threads, slurm_additional_parameters=dict(asked), **gpus)
    return executor.submit
