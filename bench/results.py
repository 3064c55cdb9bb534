"""A results folder on disk: `run.json` for what was asked, `row-NN.json` for each row the moment it ends."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.environment import Environment
from gptcore.errors import UserError
from gptcore.files import write_text_atomically
from gptcore.result import Result

TierName = Literal["smoke", "full"]
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class ResultsError(UserError):
    """A results folder that cannot be used."""


@dataclass(frozen=True, config=STRICT)
class RunInfo:
    """What one run was asked and where it ran.

    chosen: what the person replaced, of settings (by a seed), data, tokenizer and weights.  timing_only: random weights everywhere, so that time alone says
    something.  plain: the straightforward way, whose durations say nothing about the fast one.
    """

    tier: TierName
    precision: str
    plain: bool
    timing_only: bool
    chosen: tuple[str, ...]
    command: str
    environment: Environment
    rows: tuple[int, ...] = Field(min_length=1)
    calibration_seconds: float = Field(gt=0)

    @property
    def kind(self) -> str:
        """What baselines are kept apart by: the device class, and the precision where it is not the published float32."""
        device_class = self.environment.device_class
        return device_class if self.precision == "fp32" else f"{device_class} {self.precision}"


@dataclass(frozen=True, config=STRICT)
class RowResult:
    """One row's figures or the error that came in their place, or in place of the further seeds' (`others`, by seed), with everything they depend on."""

    row: int
    name: str
    seed: int
    settings: dict[str, Any]
    digests: dict[str, str]
    figures: Result | None
    error: str | None
    others: dict[int, Result] = Field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A results folder, read."""

    info: RunInfo
    rows: dict[int, RowResult]


Stored = TypeVar("Stored", RunInfo, RowResult)


def create_folder(folder: Path, info: RunInfo) -> None:
    """Make the folder with its `run.json`.  Raises ResultsError where something stands there already: nothing is overwritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError
        (folder / "run.json").touch(exist_ok=False)  # of two runs that start at once one gets the folder
        _write(folder / "run.json", RunInfo, info)
    except FileExistsError as error:
        raise ResultsError(f"{folder} is not empty or no folder: name a new one with --out, or move the old results away") from error
    except OSError as error:
        raise ResultsError(f"{folder} cannot hold results ({error.strerror}): name another folder with --out") from error


def write_row(folder: Path, result: RowResult) -> None:
    """Write one row's file, all or nothing."""
    _write(row_file(folder, result.row), RowResult, result)


def read_results(folder: Path) -> Results:
    """The run and every row in a folder.  Raises ResultsError where a file is missing or is not what `bench run` writes."""
    if not (folder / "run.json").is_file():
        raise ResultsError(f"{folder} holds no run.json: name a folder that `python -m bench run` wrote")
    info = _read(folder / "run.json", RunInfo)
    present = [number for number in info.rows if row_file(folder, number).is_file()]
    rows = {number: _read(row_file(folder, number), RowResult) for number in present}
    for number, result in rows.items():
        if result.row != number:
            raise ResultsError(f"{row_file(folder, number)} holds row {result.row}: the files were mixed up; run row {number} again")
    return Results(info, rows)


def row_file(folder: Path, number: int) -> Path:
    """Where a row's figures stand."""
    return folder / f"row-{number:02d}.json"


def _write(path: Path, kind: type[Stored], value: Stored) -> None:
    try:
        write_text_atomically(path, TypeAdapter(kind).dump_json(value, indent=2).decode() + "\n")
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written ({error.strerror}): finished rows are whole; free some space or name another folder with --out"
        ) from error


def _read(path: Path, kind: type[Stored]) -> Stored:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise ResultsError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except ValidationError as error:
        raise ResultsError(f"{path} is not what a run writes ({first_problem(error)}): the file was damaged or altered; run that row again") from error


def first_problem(error: ValidationError) -> str:
    """The first thing a validation found, as `place: problem`."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"])) or "file"
    return f"{place}: {problem['msg']}"
