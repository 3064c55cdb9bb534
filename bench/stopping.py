"""Stopping a run from outside: Ctrl-C and SIGTERM end it cleanly and say how to go on."""

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an interruption of whatever runs."""


class Stopped(Exception):  # noqa: N818 - not an error
    """What was stopped, with what stays and how to go on.  code: what the process exits with, 130 or 143."""

    def __init__(self, stop: KeyboardInterrupt, hint: str) -> None:
        super().__init__(f"{name_of(stop)}: {hint}")
        self.code = code_of(stop)


def code_of(stop: BaseException) -> int:
    """The exit code that a shell knows the signal by."""
    return int(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)


def name_of(stop: BaseException) -> str:
    """What happened, in a word."""
    return "terminated" if isinstance(stop, Terminated) else "interrupted"


def resuming_command(folder: Path, command: str = "python -m bench") -> str:
    """The command that goes on with a folder's run.  command: what starts the suite's commands."""
    return f"`{command} run --resume {shlex.quote(str(folder))}`"


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated meanwhile, so that it unwinds as Ctrl-C does.  Only a process's main thread can hear signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def raise_terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's parameters
    """Handles SIGTERM."""
    raise Terminated


@contextmanager
def stoppable(hint: str) -> Iterator[None]:
    """What runs here can be stopped at any moment.  Raises Stopped for an interruption; the hint says what stays and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(stop, hint) from None


def resumable(folder: Path, command: str = "python -m bench") -> AbstractContextManager[None]:
    """The same for a run with its results in a folder.  command: what starts the suite's commands."""
    return stoppable(f"finished rows stay in {folder}; go on with {resuming_command(folder, command)}")
