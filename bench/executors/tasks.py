"""What a worker does: some rows, in a process of its own, perhaps on another machine.  It reads no results folder and writes none."""

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from bench.environment import Environment, describe_environment, differences
from bench.plan import Group
from bench.request import Request
from bench.results import ResultsError, RowResult, RunInfo, read_info
from bench.run import compute_row, parts_asked, plan_of
from gptcore.command_line import plain_warnings
from gptcore.device import allowed_cores
from gptcore.errors import UserError
from gptcore.execution import set_threads
from gptcore.freezing import frozen_blocks
from gptcore.memory import free_memory
from gptcore.result import Event, Progress, Report

INTERVAL = 0.2  # seconds between two words on how far training has come


class WorkerError(UserError):
    """A worker that cannot do its work, or died too often."""


@dataclass(frozen=True)
class Task:
    """Rows for one worker, by number.

    part: of the row's `parts_asked` the one to run, None for all.  known: what the folder has of the rows.  device: where the worker computes.
    """

    rows: tuple[int, ...]
    part: int | None = None
    known: Mapping[int, RowResult] = field(default_factory=dict)
    device: torch.device | None = None

    @property
    def key(self) -> tuple[tuple[int, ...], int | None]:
        """What tells a run's tasks apart."""
        return self.rows, self.part

    @property
    def name(self) -> str:
        """The task in words for the middle of a sentence."""
        rows = ("row " if len(self.rows) == 1 else "rows ") + ", ".join(map(str, self.rows))
        return rows if self.part is None else f"{rows}, part {self.part + 1} of its seeds"


@dataclass(frozen=True)
class Found:
    """What a worker has of a row.  is_last: whether it is done with the row."""

    row: int
    result: RowResult
    is_last: bool


@dataclass(frozen=True)
class Heard:
    """What a row reports while a worker trains it; without an event, that it begins.  It may come late, or never."""

    row: int
    event: Event | Progress | None = None


Hear = Callable[[Heard], object]
Work = Callable[[Task, Hear], Iterator[Found]]
Again = Callable[[Task, str], Task]


@dataclass(frozen=True)
class Assignment:
    """What all workers of a run need to know.

    info: of the machine that began the run, which they must be like.  folder: of results, for checkpoints where they can reach it.
    side_by_side: how many workers share a machine's memory at most, None for as many as its cores have room for.
    """

    request: Request
    info: RunInfo
    folder: Path
    side_by_side: int | None = None

    def __call__(self, task: Task, tell: Hear) -> Iterator[Found]:
        """Run a task."""
        with plain_warnings():
            yield from perform(task, self, tell)


def tasks_of(request: Request, done: Collection[int] = ()) -> list[Task]:
    """The request's rows without those that are done, in tasks: rows that share a frozen part together, each other row by itself.

    A row with nothing frozen has a task for each part of its seeds.  The largest tasks come first, so that none is left alone at the end.
    A group keeps its done rows: they take part in the plan, on which last bits depend.
    """
    groups: Sequence[Group] = plan_of(request).groups
    together = [tuple(group.members) for group in groups if group.members.keys() - set(done)]
    grouped = {number for group in groups for number in group.members}
    tasks = [Task(rows) for rows in sorted(together, key=len, reverse=True)]
    for row in request.rows:
        if row.number in grouped or row.number in done:
            continue
        experiment = request.experiment_of(row)
        shares = frozen_blocks(experiment) > 0 and not request.execution.plain
        n_parts = len(parts_asked(experiment, request))
        tasks += [Task((row.number,))] if shares or n_parts == 1 else [Task((row.number,), part) for part in range(n_parts)]
    return tasks


def perform(task: Task, assignment: Assignment, tell: Hear = lambda heard: None) -> Iterator[Found]:
    """Everything that comes of a task's rows, as it comes; `tell` gets what they report meanwhile.

    Raises WorkerError on a machine that is not like the one that began the run.
    """
    info = assignment.info
    request = replace(assignment.request, part=task.part, device=task.device or assignment.request.device)
    threads = set_threads(info.environment.threads)
    check_machine(info.environment, request.device)
    if request.execution.memory_budget is None and request.device.type == "cpu":
        neighbours = assignment.side_by_side or max(1, allowed_cores() // threads)
        request = replace(request, execution=replace(request.execution, memory_budget=free_memory(request.device) // 2 // neighbours))
    folder = reachable(assignment.folder, info)
    plan = plan_of(request)
    rows = {row.number: row for row in request.rows}
    for number in task.rows:
        known = task.known.get(number)
        last = None
        told = (lambda heard: None) if task.part else tell  # a row is heard from where its own seed trains
        told(Heard(number))
        for result in compute_row(rows[number], request, known, folder, plan, seldom(partial(tell_event, told, number))):
            here = result if result is known else replace(result, alone=False)
            if here != last:
                yield Found(number, here, is_last=False)  # at once: should this worker die, it need not be computed again
            last = here
        if last:
            yield Found(number, last, is_last=True)


def tell_event(tell: Hear, row: int, event: Event | Progress) -> None:
    """Pass on what a row reports."""
    tell(Heard(row, event))


def seldom(report: Report, clock: Callable[[], float] = time.monotonic) -> Report:
    """A report to which training says how far it has come at most so often as a person can follow; all else it hears at once."""
    latest = -INTERVAL

    def hear(event: Event | Progress) -> None:
        nonlocal latest
        if isinstance(event, Progress) and event.phase == "training" and event.done < event.of:
            if clock() - latest < INTERVAL:
                return
            latest = clock()
        report(event)

    return hear


def trouble(error: BaseException) -> str:
    """What keeps a worker from its work, in a sentence."""
    if isinstance(error, WorkerError):
        return str(error)
    return f"a worker cannot do its work ({type(error).__name__}: {error}): install this checkout, with all it needs, wherever rows run"


def check_machine(began: Environment, device: torch.device) -> None:
    """Raise WorkerError where this machine may give other figures than the one that began the run."""
    here = describe_environment(device)
    if changes := differences(began, here):
        raise WorkerError(
            f"the worker on {platform.node()} is not like the machine that began the run, {'; '.join(changes)}: rows of one table must come "
            "from the same code, versions and kind of machine; give the run workers that are all alike, and start it on one of them"
        )


def reachable(folder: Path, info: RunInfo) -> Path | None:
    """The results folder if this machine has it: another one may have another folder of that name, or none."""
    try:
        return folder if read_info(folder).id == info.id else None
    except (ResultsError, OSError):
        return None
