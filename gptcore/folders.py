"""Folders that are written whole or not at all, and never over something else."""

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from safetensors import SafetensorError

from gptcore.errors import UsageError


def check_new_folder(folder: Path, files: Collection[str], *, overwrite: bool) -> None:
    """Raise UsageError where a folder of these files cannot be written: something stands there, or it has no place.

    overwrite: an earlier folder may stand there, as long as it holds none but these files.
    """
    place = next(parent for parent in resolved(folder).parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UsageError(f"{folder} cannot be made: {place} is no folder that you may write to; name another place")
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
        try:
            new.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written ({error}): free some space, or name another place") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
