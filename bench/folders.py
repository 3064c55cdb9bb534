"""Where results folders are, unless a person names one."""

from datetime import datetime
from pathlib import Path

from bench.results import RUN_FILE, ResultsError

RESULTS = Path("results")


def default_folder(name: str) -> Path:
    """`results/<name>-<time>`."""
    return RESULTS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def latest_folder(folder: Path = RESULTS) -> Path:
    """The results folder in `folder` whose run began last.  Raises ResultsError where there is none."""
    found = [*folder.glob(f"*/{RUN_FILE}")]
    if not found:
        raise ResultsError(f"{folder} holds no results folder: name one that the command `run` wrote")
    return max(found, key=lambda path: path.lstat().st_mtime).parent
