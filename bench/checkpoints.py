"""Where in a results folder the trainings of a row leave off."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

CHECKPOINTS: Final = "checkpoints"


def checkpoints_of(folder: Path, number: int) -> Path:
    """Where a row's trainings leave off."""
    return folder / CHECKPOINTS / f"row-{number:02d}"


def remove_checkpoints(folder: Path, number: int) -> None:
    """What a row that ended leaves behind."""
    own = checkpoints_of(folder, number)
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):
        own.parent.rmdir()  # after the last row that had any
