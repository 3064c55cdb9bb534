"""The moments in which a program of ours imports what it needs, and those after its end: Ctrl-C and SIGTERM end it there without a traceback.

Whoever imports gptcore into a program of their own keeps their own handling of signals.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGES = ("bench", "gptcore")
SCRIPTS = ("bench", "bench.exe")
USUAL: Mapping[int, Callable[[int, FrameType | None], Any] | signal.Handlers] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def is_ours(words: Sequence[str], typed: Sequence[str]) -> bool:
    """Whether this process starts one of our programs.  words: `sys.argv`, which begins with -m while a module is looked for.  typed: `sys.orig_argv`."""
    if words[:1] == ["-m"]:
        return any(word == "-m" and module in PACKAGES for word, module in pairwise(typed))
    return bool(words) and Path(words[0]).name in SCRIPTS


def start_quietly() -> None:
    """Until a command runs, signals end one of our programs at once, unless ignored, and closed streams are open; of other programs nothing changes."""
    if is_ours(sys.argv, sys.orig_argv) and threading.current_thread() is threading.main_thread():
        open_streams()
        for number, usual in USUAL.items():
            if signal.getsignal(number) == usual:
                signal.signal(number, end)


def open_streams() -> None:
    """Let what is printed go nowhere where a stream was closed before this process began: libraries write to it while they are imported."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for as long as the process lives


def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's parameters
    """Handles a signal that comes before a command begins, or after its end."""
    with suppress(OSError):
        os.write(2, b"terminated\n" if number == signal.SIGTERM else b"interrupted\n")
    os._exit(128 + number)


@contextmanager
def running() -> Iterator[None]:
    """A command runs: signals do what they do usually."""
    quiet = [number for number in USUAL if signal.getsignal(number) is end]
    for number in quiet:
        signal.signal(number, USUAL[number])
    try:
        yield
    finally:
        for number in quiet:
            signal.signal(number, end)
