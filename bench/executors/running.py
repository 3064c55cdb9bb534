"""Runs rows where the request says.  Whoever computes them, this process alone writes their files, as a run in one process does."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.checkpoints import remove_checkpoints
from bench.executors.check import places_of, runs_here
from bench.executors.local import run_in_processes
from bench.executors.on_ray import run_on_ray
from bench.executors.on_slurm import run_on_slurm
from bench.executors.tasks import Again, Assignment, Found, Hear, Heard, Task, Work, WorkerError, tasks_of
from bench.parts import unfinished
from bench.request import Request
from bench.results import RowResult, read_info, readable_row, write_row, write_texts
from bench.rows import Row
from bench.run import is_whole, parts_asked, run_rows_here
from bench.stopping import resuming_command
from gptcore.errors import UserError
from gptcore.experiment import settings_of
from gptcore.inputs import component_digests
from gptcore.result import Report

RETRIES = 3
PerformAll = Callable[[Sequence[Task], Work, Again, Hear], Iterator[tuple[Task, Found]]]


def run_rows(request: Request, folder: Path, report: Callable[[Row], Report] = lambda row: lambda event: None) -> Iterator[RowResult]:
    """As `run_rows_here`, wherever the request says; elsewhere than in this process rows come in the order in which they end.

    Raises WorkerError where a worker died too often, or cannot work.
    """
    if runs_here(request):
        return run_rows_here(request, folder, report)
    return run_in_workers(request, folder, executor_of(request, folder), report)


def executor_of(request: Request, folder: Path) -> PerformAll:
    """What brings tasks to workers."""
    match request.executor.name:
        case "ray":
            return partial(run_on_ray, executor=request.executor, device=request.device, threads=read_info(folder).environment.threads)
        case "slurm":
            return partial(run_on_slurm, executor=request.executor, device=request.device, threads=read_info(folder).environment.threads, folder=folder)
    return partial(run_in_processes, places=places_of(request))


def run_in_workers(
    request: Request, folder: Path, perform_all: PerformAll, report: Callable[[Row], Report] = lambda row: lambda event: None
) -> Iterator[RowResult]:
    """Run every row that the folder does not hold yet through an executor; yields every row's result when it is whole, those of the folder first."""
    account = Account(request, folder)
    first = replace(request.experiment_of(request.rows[0]), weights="random")
    write_texts(folder, request.tier.gather(first, request.sources).dataset.test.texts)
    rows = {row.number: row for row in request.rows}
    for number in sorted(account.done):
        report(rows[number])
        yield account.rows[number]
    n_local = len(places_of(request)) if request.executor.name == "local" else None
    work = Assignment(request, read_info(folder), folder.absolute(), n_local)
    tasks = [account.informed(task) for task in account.tasks]
    try:
        for task, found in perform_all(tasks, work, account.again, hearing(account, rows, report)) if tasks else ():
            if account.add(task, found):
                remove_checkpoints(folder, found.row)
                yield account.rows[found.row]
        account.check_end()
    except WorkerError as error:
        raise WorkerError(f"{error}; finished rows stay in {folder}, go on with {resuming_command(folder, request.suite.command)}") from error


def hearing(account: "Account", rows: Mapping[int, Row], report: Callable[[Row], Report]) -> Hear:
    """What passes on what rows report, except of those that are over: words may come late."""
    reports: dict[int, Report] = {}

    def hear(heard: Heard) -> None:
        if heard.row in account.done:
            return
        if heard.event is None or heard.row not in reports:
            reports[heard.row] = report(rows[heard.row])
        if heard.event is not None:
            reports[heard.row](heard.event)

    return hear


class Account:
    """What a run has of its rows, and which of its tasks have how much left to say.

    rows: what there is of each, on disk too.  done: the numbers of those that are over.  waiting: the tasks that have not said their last of a row.
    losses: how many workers each task has cost.
    """

    def __init__(self, request: Request, folder: Path) -> None:
        self.request = request
        self.folder = folder
        self.rows = {row.number: known for row in request.rows if (known := usable_row(row, request, folder))}
        self.done = {number for number, known in self.rows.items() if is_whole(known, request)}
        self.tasks = tasks_of(request, self.done)
        self.waiting = {number: {task.key for task in self.tasks if number in task.rows} for task in self.tasks for number in task.rows}
        self.failures: dict[int, str] = {}
        self.losses: Counter[object] = Counter()
        self.parts = {row.number: parts_asked(request.experiment_of(row), request) for row in request.rows}

    def informed(self, task: Task) -> Task:
        """The task with what there is of its rows by now."""
        return replace(task, known={number: self.rows[number] for number in task.rows if number in self.rows})

    def add(self, task: Task, found: Found) -> bool:
        """Take what a worker found, and write it.  Returns whether the row is over with it."""
        number = found.row
        if number in self.done:
            return False
        result = found.result if task.part is None else self.merged(found.result)
        if result != self.rows.get(number):
            self.rows[number] = result
            if result.may_replace(readable_row(self.folder, number)):
                write_row(self.folder, result)
        if found.is_last:
            self.waiting[number].discard(task.key)  # a worker that is lost at its very end says its last twice
            if not self.waiting[number]:
                self.done.add(number)
        return number in self.done

    def check_end(self) -> None:
        """Raise WorkerError where a row has not come to its end although all tasks have."""
        if missing := sorted(self.waiting.keys() - self.done):
            raise WorkerError(f"workers ended without a last word on {'row' if len(missing) == 1 else 'rows'} {', '.join(map(str, missing))}")

    def merged(self, found: RowResult) -> RowResult:
        """A part of a row's seeds together with the others that are there.  Raises WorkerError where they are of different inputs."""
        number = found.row
        if found.error:
            self.failures[number] = found.error
        known = self.rows.get(number, found)
        if not found.digests:  # it failed before it knew them
            found = replace(found, digests=known.digests)
        known = known if known.digests else replace(known, digests=found.digests)
        if not known.depends_on_the_same_as(found):
            others = " and ".join(name for name in sorted(known.digests | found.digests) if known.digests.get(name) != found.digests.get(name))
            raise WorkerError(f"workers read other {others} for row {number}: give all machines the same files")
        others_found = known.others | found.others
        figures = known.figures or found.figures
        missing = [seed for part in self.parts[number] for seed in part if seed not in others_found and not (seed == found.seed and figures)]
        return replace(
            known,
            figures=figures,
            others={seed: others_found[seed] for seed in sorted(others_found)},
            peak_memory=known.peak_memory or found.peak_memory,
            error=self.failures.get(number) or (unfinished(missing) if missing else None),
            alone=False,
        )

    def again(self, task: Task, why: str) -> Task:
        """The task once more, after its worker was lost, without what it has sent already.  Raises WorkerError where that was the last time."""
        self.losses[task.key] += 1
        if self.losses[task.key] > RETRIES:
            raise WorkerError(f"{task.name} lost {RETRIES + 1} workers, the last one as {why}: mend what ends them")
        print(f"a worker is lost, {why}: {task.name} starts again, {self.losses[task.key]} of {RETRIES} times", file=sys.stderr, flush=True)
        return self.informed(task)


def usable_row(row: Row, request: Request, folder: Path) -> RowResult | None:
    """What the folder holds of a row, if that is of what the request asks for, and its inputs can be had here."""
    known = readable_row(folder, row.number)
    if known is None:
        return None
    experiment = request.experiment_of(row)
    with suppress(UserError):  # the worker says it
        inputs = request.tier.gather(experiment, request.sources)
        asked = RowResult(row.number, row.name, experiment.seed, settings_of(experiment), component_digests(experiment, inputs), None, None)
        if known.depends_on_the_same_as(asked):
            return known
    return None
