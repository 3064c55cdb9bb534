"""Writing files so that nobody ever reads half of one."""

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.ELOOP)
LEFTOVER = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: readers see the old file or the whole new one, after a power cut too.

    Creates missing folders.  A link in its place goes, and what it leads to stays as it is: `place_of` is where a file goes that a person named.
    Raises OSError where `path` is, or leads to, anything but a regular file.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def place_of(path: Path) -> Path:
    """Where to write a file that a person named: the path, or what it leads to if it is a link.  Raises OSError where that is anything but a regular file."""
    check_replaceable(path)
    place = path.resolve() if path.is_symlink() else path
    if path.exists() and not place.exists():  # what a process has open may have lost its name
        raise OSError(errno.EINVAL, "it leads to a file that was removed", str(path))
    return place


def check_replaceable(path: Path) -> None:
    """Raise OSError where something that is no regular file stands at `path`, or where it leads: a device, say, that a file would take the place of."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket, and only a regular file can be replaced", str(path))


def is_leftover(path: Path) -> bool:
    """Whether a file is one that a process was about to write when it was killed."""
    return LEFTOVER.fullmatch(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half written in a folder.  Nobody else may be writing there."""
    for path in filter(is_leftover, folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def remedy_for(error: OSError) -> str:
    """What to do where a file cannot be written, for the middle of a sentence."""
    if error.errno in NO_ROOM:
        return "free some space"
    return "remove what stands in its place" if error.errno in IN_THE_WAY else "see that its folder can be written to"


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with line feeds, all or nothing."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
