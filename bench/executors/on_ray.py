"""Tasks on a Ray cluster: one that runs already, or one that is started on this machine for as long as the run lasts."""

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from bench.executors.choice import Executor
from bench.executors.local import trouble
from bench.executors.tasks import Again, Found, Task, Work, WorkerError
from gptcore.device import allowed_cores

PATIENCE = 5.0  # seconds to wait for an answer from the cluster's port: Ray itself waits for minutes, and ends the process


def run_on_ray(tasks: Sequence[Task], work: Work, again: Again, executor: Executor, device: torch.device, threads: int) -> Iterator[tuple[Task, Found]]:
    """Everything that comes of the tasks, as many at a time as the cluster has cores and GPUs for, and at most so many as the executor's workers.

    A task whose worker or machine is lost goes to `again`, which says how it goes on.
    Raises WorkerError where the cluster cannot be reached or has no machine with room for a task, or a worker cannot do its work.
    """
    needs = {"num_cpus": threads, "num_gpus": 1} if device.type == "cuda" else {"num_cpus": threads}
    with cluster(executor, threads) as ray:
        check_room(ray, needs)
        remote = ray.remote(work_on).options(num_returns="streaming", max_retries=0, **needs)
        waiting = deque(tasks)
        working: dict[Any, Task] = {}
        try:
            while waiting or working:
                while waiting and len(working) < (executor.workers or len(tasks)):
                    task = waiting.popleft()
                    working[remote.remote(work, task)] = task
                (stream,), _ = ray.wait(list(working), num_returns=1)
                try:
                    yield working[stream], ray.get(next(stream))
                except StopIteration:
                    del working[stream]
                except ray.exceptions.RayTaskError as error:
                    raise WorkerError(trouble(error.cause)) from None
                except ray.exceptions.RayError as error:
                    waiting.appendleft(again(working.pop(stream), type(error).__name__))
        finally:
            for stream in working:
                with suppress(Exception):  # it may be gone already
                    ray.cancel(stream, force=True)


def work_on(work: Work, task: Task) -> Iterator[Found]:
    """What a worker runs."""
    yield from work(task)


@contextmanager
def cluster(executor: Executor, threads: int) -> Iterator[Any]:
    """The module `ray`, connected.  Raises WorkerError where the cluster cannot be reached."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anyone
    import ray

    address = executor.address or os.environ.get("RAY_ADDRESS")
    if address:
        check_address(address)
    options: dict[str, Any] = {} if address else {"num_cpus": max(allowed_cores(), threads * (executor.workers or 1)), "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise unreachable(address or "on this machine", str(error)) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own would end this process without a word
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise WorkerError for an address where nobody answers, and for a client's, which cannot stream results."""
    if address.startswith("ray://"):
        raise WorkerError(f"--address {address} is that of a Ray client: start the run on a machine of the cluster with --address auto")
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise unreachable(address, str(error)) from error


def unreachable(address: str, why: str) -> WorkerError:
    """The error for a cluster that does not answer."""
    reason = why.strip().splitlines()[0].rstrip(".") if why.strip() else "no answer"
    return WorkerError(f"the Ray cluster {address} cannot be reached ({reason}): start it with `ray start --head`, or leave --address out to use this machine")


def check_room(ray: Any, needs: dict[str, int]) -> None:
    """Raise WorkerError where no machine of the cluster can ever take a task, for which Ray would wait for ever."""
    rooms = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(room.get("CPU", 0) >= needs["num_cpus"] and room.get("GPU", 0) >= needs.get("num_gpus", 0) for room in rooms):
        wanted = f"{needs['num_cpus']} cores{' and a GPU' if 'num_gpus' in needs else ''}"
        raise WorkerError(f"no machine of the Ray cluster has {wanted}, which a row needs: add one, or ask for fewer --threads")
