"""Tasks on a Ray cluster: one that runs already, or one that is started on this machine for as long as the run lasts."""

import asyncio
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch

from bench.executors.check import address_of, unreachable
from bench.executors.choice import Executor
from bench.executors.tasks import Again, Found, Hear, Heard, Task, Work, WorkerError, trouble
from bench.stopping import Terminated
from bench.wording import counted
from gptcore.device import allowed_cores


def run_on_ray(
    tasks: Sequence[Task], work: Work, again: Again, hear: Hear, executor: Executor, device: torch.device, threads: int
) -> Iterator[tuple[Task, Found]]:
    """Everything that comes of the tasks, as many at a time as the cluster has cores and GPUs for, and at most so many as the executor's workers.

    `hear` gets what rows report meanwhile.  A task whose worker or machine is lost goes to `again`, which says how it goes on.
    Raises WorkerError where the cluster cannot be reached or has no machine with room for a task, or a worker cannot do its work.
    """
    needs = {"num_cpus": threads, "num_gpus": 1} if device.type == "cuda" else {"num_cpus": threads}
    with cluster(executor, threads) as ray:
        check_room(ray, needs)
        remote = ray.remote(work_on).options(num_returns="streaming", max_retries=0, **needs)
        mailbox = mailbox_here(ray)
        waiting = deque(tasks)
        working: dict[Any, Task] = {}
        letters = [mailbox.take.remote()]
        try:
            while waiting or working:
                while waiting and len(working) < (executor.workers or len(tasks)):
                    task = waiting.popleft()
                    working[remote.remote(work, task, mailbox)] = task
                (ready,), _ = ray.wait([*working, *letters], num_returns=1)
                if ready in letters:
                    letters = [mailbox.take.remote()] if is_delivered(ray, ready, hear) else []
                    continue
                try:
                    yield working[ready], ray.get(next(ready))
                except StopIteration:
                    del working[ready]
                except ray.exceptions.RayTaskError as error:
                    raise WorkerError(trouble(error.cause)) from None
                except ray.exceptions.RayError as error:
                    waiting.appendleft(again(working.pop(ready), f"reported by Ray as {type(error).__name__}"))
        finally:
            for stream in working:
                with suppress(Exception):  # it may be gone already
                    ray.cancel(stream, force=True)


def work_on(work: Work, task: Task, mailbox: Any) -> Iterator[Found]:
    """What a worker runs."""
    yield from work(task, mailbox.put.remote)


class Mailbox:
    """An actor that holds what workers report until it is asked for."""

    def __init__(self) -> None:
        self.letters: asyncio.Queue[Heard] = asyncio.Queue()

    async def put(self, heard: Heard) -> None:
        """Take a letter."""
        await self.letters.put(heard)

    async def take(self) -> list[Heard]:
        """All that is there, at least one."""
        return [await self.letters.get(), *(self.letters.get_nowait() for _ in range(self.letters.qsize()))]


def mailbox_here(ray: Any) -> Any:
    """A mailbox on this machine, which lives as long as this process: it takes no core from rows, and is not lost with one of their machines."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()


def is_delivered(ray: Any, letters: Any, hear: Hear) -> bool:
    """Pass on what was in the mailbox.  False where that is lost, without which rows go on."""
    try:
        heard_of_all: list[Heard] = ray.get(letters)
    except ray.exceptions.RayError:
        return False
    for heard in heard_of_all:
        hear(heard)
    return True


@contextmanager
def cluster(executor: Executor, threads: int) -> Iterator[Any]:
    """The module `ray`, connected.  Raises WorkerError where the cluster cannot be reached."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anyone
    import ray

    address = address_of(executor)
    options: dict[str, Any] = {} if address else {"num_cpus": max(allowed_cores(), threads * (executor.workers or 1)), "include_dashboard": False}
    with telling_signals():
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise WorkerError(unreachable(address or "on this machine", error)) from error
    with telling_signals():
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def telling_signals() -> Iterator[None]:
    """SIGTERM does what it did before, whatever Ray makes of it: it brings a handler of its own, and makes any interruption that it notices one by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    heard = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if callable(before):
            before(number, frame)

    try:
        signal.signal(signal.SIGTERM, hear if callable(before) else before)
        yield
    except KeyboardInterrupt:
        if heard:
            raise Terminated from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def check_room(ray: Any, needs: dict[str, int]) -> None:
    """Raise WorkerError where no machine of the cluster can ever take a task, for which Ray would wait for ever."""
    rooms = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(room.get("CPU", 0) >= needs["num_cpus"] and room.get("GPU", 0) >= needs.get("num_gpus", 0) for room in rooms):
        wanted = f"{counted(needs['num_cpus'], 'core')}{' and a GPU' if 'num_gpus' in needs else ''}"
        raise WorkerError(f"no machine of the Ray cluster has {wanted}, which a row needs: add one, or ask for fewer --threads")
