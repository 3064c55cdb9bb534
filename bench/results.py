"""A results folder on disk: `run.json` for what was asked, `row-NN.json` for each row the moment it ends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.environment import Environment
from gptcore.errors import UserError
from gptcore.files import remove_leftovers, write_text_atomically
from gptcore.locks import held
from gptcore.result import Result

TierName = Literal["smoke", "full"]
TEXTS_FILE = "test-texts.json"
INVARIANTS_FILE = "invariants.json"
PATIENCE = 24 * 3600.0  # seconds to wait for another run in the same folder
LOCK = ".lock"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class ResultsError(UserError):
    """A results folder that cannot be used."""


@dataclass(frozen=True, config=STRICT)
class RunInfo:
    """What one run was asked and where it ran.

    schema_version: of all files of the folder.  chosen: what the person replaced, of settings (by a seed), data, tokenizer and weights.  timing_only: random
    weights everywhere, so that time alone says something.  plain: the straightforward way, whose durations say nothing about the fast one.
    """

    schema_version: Literal[1]
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
    """One row's figures or the error that came in their place, or in place of the further seeds' (`others`, by seed), with everything they depend on.

    peak_memory: the most bytes that the process, or on an accelerator the device, held while the row ran; None where the system does not tell.
    """

    row: int
    name: str
    seed: int
    settings: dict[str, Any]
    digests: dict[str, str]
    figures: Result | None
    error: str | None
    others: dict[int, Result] = Field(default_factory=dict)
    peak_memory: int | None = Field(default=None, gt=0)


@dataclass(frozen=True, config=STRICT)
class Invariant:
    """Something that must hold whatever is expected, the rows it was checked on, and what was seen."""

    name: str
    rows: tuple[int, ...]
    holds: bool
    explanation: str


@dataclass(frozen=True)
class Results:
    """A results folder, read.

    test_texts: so that a report can show the messages that flipped; empty where no row came so far.  invariants: None where the run did not end.
    """

    info: RunInfo
    rows: dict[int, RowResult]
    test_texts: tuple[str, ...] = ()
    invariants: tuple[Invariant, ...] | None = None


Texts = tuple[str, ...]
Invariants = tuple[Invariant, ...]
Stored = TypeVar("Stored", RunInfo, RowResult, Texts, Invariants)


def make_folder(folder: Path) -> None:
    """Make a folder that holds nothing yet.  Raises ResultsError where something stands there already: nothing is overwritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(path.name != LOCK for path in folder.iterdir()):
            raise FileExistsError
    except FileExistsError as error:
        raise ResultsError(f"{folder} is not empty or no folder: name a new one with --out, or move the old results away") from error
    except OSError as error:
        raise ResultsError(f"{folder} cannot hold results ({error.strerror}): name another folder with --out") from error


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder; where one is at work there, says so and waits for its end.  Removes what killed ones left half written."""
    with held(folder / LOCK, f"the run that is at work in {folder}", PATIENCE):
        remove_leftovers(folder)
        yield


def create_folder(folder: Path, info: RunInfo) -> None:
    """Make the folder of a run with its `run.json`.  Raises ResultsError where that cannot be: of two runs that want one folder the first gets it."""
    make_folder(folder)
    with in_use(folder):
        make_folder(folder)
        _write(folder / "run.json", RunInfo, info)


def write_row(folder: Path, result: RowResult) -> None:
    """Write one row's file, all or nothing."""
    _write(row_file(folder, result.row), RowResult, result)


def write_texts(folder: Path, texts: Texts) -> None:
    """Write the test texts, once for all rows: they read the same ones."""
    if not (folder / TEXTS_FILE).exists():
        _write(folder / TEXTS_FILE, Texts, texts)


def write_invariants(folder: Path, invariants: Iterable[Invariant]) -> None:
    """Write what was checked at the end of a run."""
    _write(folder / INVARIANTS_FILE, Invariants, tuple(invariants))


def read_info(folder: Path) -> RunInfo:
    """What a folder's run was asked and where it ran.  Raises ResultsError where no run wrote it."""
    if not (folder / "run.json").is_file():
        raise ResultsError(f"{folder} holds no run.json: name a folder that `python -m bench run` wrote")
    return _read(folder / "run.json", RunInfo)


def read_results(folder: Path) -> Results:
    """The run and every row in a folder.  Raises ResultsError where a file is missing or is not what `bench run` writes."""
    info = read_info(folder)
    read = {number: read_row(folder, number) for number in info.rows}
    rows = {number: result for number, result in read.items() if result}
    texts, invariants = (folder / name for name in (TEXTS_FILE, INVARIANTS_FILE))
    return Results(
        info,
        rows,
        _read(texts, Texts) if texts.is_file() else (),
        _read(invariants, Invariants) if invariants.is_file() else None,
    )


def read_row(folder: Path, number: int) -> RowResult | None:
    """A row's file, None where there is none yet.  Raises ResultsError where it is not what `bench run` writes."""
    path = row_file(folder, number)
    if not path.is_file():
        return None
    result = _read(path, RowResult)
    if result.row != number:
        raise ResultsError(f"{path} holds row {result.row}: the files were mixed up; run row {number} again")
    return result


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
