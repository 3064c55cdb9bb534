"""Hidden states of a frozen network, kept on disk between runs: verified when read, the longest unused given up when they take too much room."""

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gptcore.digests import digest_of_tensors
from gptcore.files import write_atomically
from gptcore.places import cache_folder

ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
LEFTOVER = re.compile(rf"\.{ENTRY.pattern}\.\d+\.tmp")  # of a process that ended while it wrote


@dataclass(frozen=True)
class Kept:
    """States, (N, D), and the seconds it took to compute them."""

    states: Tensor
    seconds: float


@dataclass(frozen=True)
class Entry:
    """One file of the cache.  size: bytes.  last_used: when it was written or read last, seconds since the epoch."""

    path: Path
    size: int
    last_used: float


@dataclass(frozen=True)
class StateCache:
    """A folder of states by key, the sha256 (hexadecimal) of all they depend on.  Several processes may use it at once.

    limit: bytes that all entries together may take.
    """

    folder: Path
    limit: int

    def load(self, key: str) -> Kept | None:
        """What is kept under the key, on the CPU, or None.  A damaged file is removed.  Raises ValueError for what is no sha256."""
        path = self._path(key)
        try:
            kept = _read(path, key)
        except (SafetensorError, OSError, KeyError, ValueError):
            _remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return kept

    def save(self, key: str, states: Tensor, seconds: float) -> None:
        """Keep states if the limit allows, in place of those longest unused; where they cannot be written, warn.  Raises ValueError for what is no sha256."""
        path = self._path(key)
        states = states.detach().cpu().contiguous()
        spent = repr(float(seconds))
        content = save({"states": states}, {"key": key, "seconds": spent, "sha256": _digest(states, key, spent)})
        if len(content) > self.limit:
            return
        try:
            write_atomically(path, lambda temporary: temporary.write_bytes(content))
        except OSError as error:
            _warn_once(
                f"computed states cannot be kept in {self.folder} ({error.strerror or error}) and a later run will compute them again: "
                f"make room there, or name a folder that can be written in GPTCORE_STATE_CACHE"
            )
            return
        self._make_room(path)

    def entries(self) -> list[Entry]:
        """Everything kept, the longest unused first."""
        return sorted(self._files(ENTRY), key=lambda entry: (entry.last_used, entry.path))

    def clear(self) -> tuple[int, int]:
        """Remove every entry, and what ended processes left half written.  Returns how many entries went, and all bytes that became free."""
        entries = [entry for entry in self.entries() if _remove(entry.path)]
        leftovers = [leftover for leftover in self._files(LEFTOVER) if _remove(leftover.path)]
        return len(entries), sum(file.size for file in entries + leftovers)

    def _path(self, key: str) -> Path:
        name = f"{key}.safetensors"
        if not ENTRY.fullmatch(name):
            raise ValueError(f"{key!r} is no key: it must be a sha256, 64 of 0-9 and a-f")
        return self.folder / name

    def _files(self, pattern: re.Pattern[str]) -> Iterator[Entry]:
        """Files of the folder whose names match.  Others may remove them, or the folder, meanwhile."""
        with suppress(OSError):
            for path in self.folder.iterdir():
                if pattern.fullmatch(path.name):
                    with suppress(OSError):
                        status = path.lstat()
                        yield Entry(path, status.st_size, status.st_mtime)

    def _make_room(self, newest: Path) -> None:
        """Remove the longest unused until the limit holds, but never the newest: clocks are too coarse to tell that it is."""
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self.limit
        for entry in entries:
            if excess > 0 and entry.path != newest and _remove(entry.path):
                excess -= entry.size


def default_folder() -> Path:
    """The folder to keep states in: $GPTCORE_STATE_CACHE, else one in the user's cache folder.  Raises UsageError where neither is to be found."""
    return cache_folder("GPTCORE_STATE_CACHE", "states")


def _read(path: Path, key: str) -> Kept:
    """What the file holds.  Raises SafetensorError, OSError, KeyError or ValueError where that is not what was saved under the key."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        states = file.get_tensor("states").clone()  # the file may go
    seconds = float(metadata["seconds"])
    if metadata["key"] != key or metadata["sha256"] != _digest(states, key, metadata["seconds"]) or not 0 <= seconds < math.inf:
        raise ValueError(f"{path} was damaged or altered")
    return Kept(states, seconds)


def _digest(states: Tensor, key: str, seconds: str) -> str:
    """sha256 of everything a file says."""
    return hashlib.sha256(f"{key} {seconds} {digest_of_tensors([states])}".encode()).hexdigest()


def _remove(path: Path) -> bool:
    """Whether the file is gone."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


@cache
def _warn_once(message: str) -> None:
    """A run would say it for every batch."""
    warnings.warn(message, stacklevel=3)
