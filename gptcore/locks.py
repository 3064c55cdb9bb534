"""One process at a time: locks that end with the process that holds them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gptcore.errors import UserError


class LockError(UserError):
    """Something that another process uses and does not let go."""


@contextmanager
def held(path: Path, waiting_for: str, patience: float) -> Iterator[None]:
    """Hold the lock at `path`; while another process does, say so on standard error and wait for up to `patience` seconds.  Raises LockError after that."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for {waiting_for}", file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise LockError(f"waited {patience / 60:.0f} minutes for {waiting_for}: end the process that holds {path}, then try again") from error
    with lock:
        lock.release()
        yield
