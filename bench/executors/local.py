"""Tasks on this machine, each in a process of its own, on a device of its own."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import torch

from bench.executors.tasks import Again, Found, Hear, Heard, Task, Work, WorkerError, trouble


@dataclass(frozen=True)
class Worker:
    """A process at work on a task."""

    process: SpawnProcess
    task: Task
    place: torch.device


@dataclass(frozen=True)
class Ready:
    """What a process says that has started, and takes its task."""


def run_in_processes(tasks: Sequence[Task], work: Work, again: Again, hear: Hear, places: Sequence[torch.device]) -> Iterator[tuple[Task, Found]]:
    """Everything that comes of the tasks, one at a time on each of `places`; `hear` gets what rows report meanwhile.

    A task whose process dies goes to `again`, which says how it goes on.  Raises WorkerError where a process cannot do its work.
    """
    waiting, idle = deque(tasks), deque(places)
    working: dict[Connection, Worker] = {}
    try:
        while waiting or working:
            while waiting and idle:
                pipe, worker = start(waiting.popleft(), idle.popleft())
                working[pipe] = worker
            heard = connection.wait(list(working))
            for pipe in [one for one in working if one in heard]:
                try:
                    said = pipe.recv()
                    if isinstance(said, Ready):
                        pipe.send((replace(working[pipe].task, device=working[pipe].place), work))
                        continue
                except (EOFError, OSError):
                    worker = working.pop(pipe)
                    worker.process.join()
                    waiting.appendleft(again(worker.task, ending_of(worker.process)))
                    idle.append(worker.place)
                    continue
                match said:
                    case Heard():
                        hear(said)
                    case Found():
                        yield working[pipe].task, said
                    case None:
                        worker = working.pop(pipe)
                        worker.process.join()
                        idle.append(worker.place)
                    case _:
                        raise WorkerError(said)
    finally:
        for worker in working.values():
            worker.process.kill()
        for worker in working.values():
            worker.process.join()


def start(task: Task, place: torch.device) -> tuple["Connection[object, object]", Worker]:
    """A new process for a task, and the end of the pipe on which it says that it is ready, takes the task and says what it finds.

    The task itself does not start with it: what is more than a pipe holds would wait for ever for a process that ends before it reads.
    """
    context = get_context("spawn")  # a forked one would share locks that threads of this one hold
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the process does
    return ours, Worker(process, task, place)


def serve(pipe: "Connection[object, tuple[Task, Work]]") -> None:
    """Take a task with its work, say everything that comes of it, then None; where the work cannot be done, a sentence instead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal, and the first one ends the others
    threading.Thread(target=end_with_the_first_one, daemon=True).start()
    pipe.send(Ready())
    try:
        task, work = pipe.recv()
        for found in work(task, pipe.send):
            pipe.send(found)
    except Exception as error:  # noqa: BLE001 - the other end tells it
        pipe.send(trouble(error))
    else:
        pipe.send(None)


def end_with_the_first_one() -> None:
    """End this process when the one that started it ends, however that does."""
    first = parent_process()
    if first:
        first.join()
        os._exit(1)


def ending_of(process: SpawnProcess) -> str:
    """How a process ended, in a clause."""
    code = process.exitcode or 0
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
