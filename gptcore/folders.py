"""Folders that are written whole or not at all, and never over something else."""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from safetensors import SafetensorError

from gptcore.errors import UsageError


def check_new_folder(folder: Path, files: Collection[str], *, overwrite: bool) -> None:
    """Raise UsageError where a folder of these files cannot be written: something stands there, or it has no place.

    overwrite: an earlier folder may stand there, as long as it holds none but these files.  Where a writer was killed, its earlier folder is put back first.
    """
    place = next(parent for parent in resolved(folder).parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UsageError(f"{folder} cannot be made: {place} is no folder that you may write to; name another place")
    settle(resolved(folder), leftovers_of(resolved(folder)))
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name a new one")
    found = {path.name for path in folder.iterdir()}
    if found and not overwrite:
        raise UsageError(f"{folder} is not empty: name a new folder, or add --overwrite")
    if others := sorted(found - set(files)):
        raise UsageError(f"{folder} holds {others[0]}, which would be lost: move it away, or name another folder")


def resolved(folder: Path) -> Path:
    """The folder without links on the way.  Raises UsageError where they go round in a loop, or it is the root, beside which nothing can be written."""
    try:
        found = folder.resolve()
    except (OSError, RuntimeError) as error:  # the latter before Python 3.13
        raise UsageError(f"{folder} cannot be made: it stands behind a loop of links; name another place") from error
    if not found.name:
        raise UsageError(f"{folder} cannot be made: it is the root of all folders; name a folder below it")
    return found


def write_folder(folder: Path, files: Collection[str], write: Callable[[Path], object], *, overwrite: bool) -> None:
    """Let `write` fill a folder beside the place, then move it there: readers see nothing, an earlier folder, or the whole new one.

    Creates missing parents.  Raises UsageError as `check_new_folder`, and where the disk does not take it; then nothing is left behind.
    However it is stopped, the earlier folder is there or, after a kill, put back by the next call.
    """
    check_new_folder(folder, files, overwrite=overwrite)
    folder = resolved(folder)
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{age}") for age in ("new", "old"))
    try:
        new.mkdir(parents=True)
        write(new)
        for path in new.iterdir():
            path.chmod(new.stat().st_mode & 0o666)  # as the folder: safetensors keeps what it writes to its owner
            with path.open("rb+") as written:
                os.fsync(written.fileno())
        if folder.exists():
            folder.replace(old)
        new.replace(folder)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written ({error}): free some space, or name another place") from error
    finally:
        settle(folder, (new, old))  # an interrupt too may come between the two moves


def settle(folder: Path, beside: Iterable[Path]) -> None:
    """Put the earlier folder that a writer left beside its place back where none stands, and remove the rest.  Raises OSError where it cannot."""
    earlier = [path for path in beside if path.suffix == ".old" and path.is_dir()]
    if earlier and not os.path.lexists(folder):
        max(earlier, key=lambda path: path.stat().st_mtime_ns).replace(folder)
    for path in beside:
        shutil.rmtree(path, ignore_errors=True)


def leftovers_of(folder: Path) -> list[Path]:
    """The hidden folders beside a folder whose writers were killed."""
    hidden = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.(new|old)", re.DOTALL)
    beside = folder.parent.iterdir() if os.access(folder.parent, os.R_OK) else ()
    return [path for path in beside if (found := hidden.fullmatch(path.name)) and not path.is_symlink() and not is_another_at_work(int(found[1]))]


def is_another_at_work(process: int) -> bool:
    """Whether a process of that number lives, other than this one: in containers every run has the same number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
