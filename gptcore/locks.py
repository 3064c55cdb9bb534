"""One process at a time: locks that end with the process that holds them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gptcore.errors import UserError
from gptcore.places import printable, why


class LockError(UserError):
    """A lock that cannot be made, or that another process does not let go."""


@contextmanager
def held(path: Path, waiting_for: str, patience: float) -> Iterator[None]:
    """Hold the lock at `path`; while another process does, say so once on standard error and wait for up to `patience` seconds.

    The file at `path` is empty, and stays: a lock on a removed file would keep nobody out.  Makes missing folders.
    Raises LockError where the patience ends, or no lock can be made at `path`, which may not be a link: locking would empty or make the file it leads to.
    """
    lock = FileLock(path)
    try:
        if path.is_symlink():  # not every filelock refuses it
            raise LockError(f"{printable(path)} is a link, and a lock must be a file of its own: remove the link, then try again")
        path.parent.mkdir(parents=True, exist_ok=True)
        take(lock, waiting_for, patience)
    except Timeout as error:
        raise LockError(f"waited {patience / 60:.0f} minutes for {waiting_for}: end the process that holds {printable(path)}, then try again") from error
    except (OSError, ValueError, NotImplementedError) as error:  # the last: no locks on this file system
        raise LockError(f"{printable(path)} cannot be made ({why(error)}): make its folder one that you may write to") from error
    try:
        yield
    finally:
        lock.release()


def take(lock: FileLock, waiting_for: str, patience: float) -> None:
    """Take the lock at once, or say what this waits for.  Raises filelock's Timeout when the patience ends."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for {waiting_for}", file=sys.stderr, flush=True)
        lock.acquire(timeout=patience)


def lock_beside(path: Path) -> Path:
    """The hidden file whose lock stands for a file that need not exist yet."""
    return path.with_name(f".{path.name}.lock")
