"""A results folder on disk: `run.json` for what was asked, `row-NN.json` for each row the moment it ends; each sealed, and each row of this very run."""

import json
import os
import shlex
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.bounds import STRICT, Bytes, Figures, Positive, Precision, RowNumber, RowNumbers, Seed, SeedKey, TierName
from bench.checkpoints import CHECKPOINTS
from bench.consistency import problem_of_seeds, problem_of_settings
from bench.documents import DocumentError, OtherVersionError, check_version, dumped, read_document, sealed, unsealed, validated
from bench.environment import Environment
from gptcore.errors import UserError
from gptcore.files import is_leftover, remedy_for, remove_leftovers, write_text_atomically
from gptcore.locks import held

SCHEMA: Final = 2
RUN_FILE = "run.json"
TEXTS_FILE = "test-texts.json"
INVARIANTS_FILE = "invariants.json"
PATIENCE = 24 * 3600.0  # seconds to wait for another run in the same folder
LOCK = ".lock"


class ResultsError(UserError):
    """A results folder that cannot be used.  problem: that without what to do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.problem = problem


@dataclass(frozen=True, config=STRICT)
class RunInfo:
    """What one run was asked and where it ran.

    schema_version: of all files of the folder.  chosen: what the person replaced, of settings (by a seed), data, tokenizer and weights.  timing_only: random
    weights everywhere, so that time alone says something.  plain: the straightforward way, whose durations say nothing about the fast one.
    id: what no other run is called, so that its rows are told from those of others.
    """

    schema_version: Literal[2]
    tier: TierName
    precision: Precision
    plain: bool
    timing_only: bool
    chosen: tuple[str, ...]
    command: str
    environment: Environment
    rows: RowNumbers
    calibration_seconds: Positive
    id: str = Field(default_factory=lambda: token_hex(16), min_length=1)

    @property
    def kind(self) -> str:
        """What baselines are kept apart by: the device class, and the precision where it is not the published float32."""
        device_class = self.environment.device_class
        return device_class if self.precision == "fp32" else f"{device_class} {self.precision}"


@dataclass(frozen=True, config=STRICT)
class RowResult:
    """One row's figures or the error that came in their place, or in place of the further seeds' (`others`, by seed), with everything they depend on.

    peak_memory: the most bytes held while the row ran: by the process beyond what it held before the first row, on an accelerator by torch on the device;
    None where the system does not tell.
    alone: whether the run's own process ran it with nothing of the run beside it; else its seconds and its memory are those of a worker, and not judged.
    """

    row: RowNumber
    name: str
    seed: Seed
    settings: dict[str, Any]
    digests: dict[str, str]
    figures: Figures | None
    error: str | None
    others: dict[SeedKey, Figures] = Field(default_factory=dict)
    peak_memory: Bytes | None = None
    alone: bool = True

    def depends_on_the_same_as(self, other: "RowResult") -> bool:
        """Whether two results of one row may be taken for each other."""
        return (self.digests, self.seed) == (other.digests, other.seed)

    def may_replace(self, known: "RowResult | None") -> bool:
        """Whether it may take the place of what a file holds: what could not even read its inputs leaves figures as they are."""
        return bool(self.digests) or known is None or known.figures is None

    @property
    def n_seeds(self) -> int:
        """Of how many seeds there are figures."""
        return (self.figures is not None) + len(self.others)

    @property
    def failure(self) -> str:
        """What kept the row from its figures, in one line."""
        return (self.error or "it has no figures").splitlines()[0]


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


@dataclass(frozen=True, config=STRICT)
class StoredTexts:
    """The test texts as they are stored."""

    texts: tuple[str, ...]


@dataclass(frozen=True, config=STRICT)
class StoredInvariants:
    """What was checked, as it is stored."""

    invariants: tuple[Invariant, ...]


Stored = TypeVar("Stored", RunInfo, RowResult, StoredTexts, StoredInvariants)


def make_folder(folder: Path) -> None:
    """Make a folder that holds nothing yet.  Raises ResultsError where something stands there already: nothing is overwritten."""
    try:
        check_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{folder} cannot hold results ({error.strerror}): name another folder with --out") from error


def check_new(folder: Path) -> None:
    """Raise ResultsError where something stands in a folder's place already, OSError where that cannot be told."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(path.name != LOCK and not is_leftover(path) for path in folder.iterdir())):
        raise ResultsError(f"{folder} is not empty or no folder: name a new one with --out, or move the old results away")


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder; where one is at work there, says so and waits for its end.  Removes what killed ones left half written.

    Raises ResultsError where the folder would lead a run to write or remove files elsewhere.
    """
    with held(folder / LOCK, f"the run that is at work in {folder}", PATIENCE):
        refuse_links(folder)
        for place in (folder, *(folder / CHECKPOINTS).glob("row-*")):
            remove_leftovers(place)
        yield


def refuse_links(folder: Path) -> None:
    """Raise ResultsError where a link stands in the place of a folder that a run fills and removes."""
    checkpoints = folder / CHECKPOINTS
    for place in (folder / "jobs", checkpoints, *checkpoints.glob("row-*")):
        if place.is_symlink():
            raise ResultsError(f"{place} is a link, and a run would write and remove files where it leads: remove the link, then try again")


def create_folder(folder: Path, info: RunInfo) -> None:
    """Make the folder of a run with its `run.json`.  Raises ResultsError where that cannot be: of two runs that want one folder the first gets it."""
    make_folder(folder)
    with in_use(folder):
        make_folder(folder)
        _write(folder / RUN_FILE, dumped(RunInfo, info))


def write_row(folder: Path, result: RowResult) -> None:
    """Write one row's file, all or nothing."""
    _write_part(row_file(folder, result.row), RowResult, result)


def write_texts(folder: Path, texts: tuple[str, ...]) -> None:
    """Write the test texts, once for all rows: they read the same ones.  What a file says that is damaged, or of other data, gives way."""
    try:
        stored = _read_part(folder / TEXTS_FILE, StoredTexts)
    except ResultsError:
        stored = None
    if stored is None or stored.texts != texts:
        _write_part(folder / TEXTS_FILE, StoredTexts, StoredTexts(texts))


def write_invariants(folder: Path, invariants: Iterable[Invariant]) -> None:
    """Write what was checked at the end of a run."""
    _write_part(folder / INVARIANTS_FILE, StoredInvariants, StoredInvariants(tuple(invariants)))


def read_info(folder: Path) -> RunInfo:
    """What a folder's run was asked and where it ran.  Raises ResultsError as `read_results` does."""
    path = folder / RUN_FILE
    document = _read(path)
    if document is None:
        raise ResultsError(f"{folder} holds no {RUN_FILE}: name a folder that `python -m bench run` wrote")
    return _as(RunInfo, document, path)


def read_results(folder: Path) -> Results:
    """The run and every row in a folder.

    Raises ResultsError where a file is missing, damaged, altered, a link, or of another run, row or version.
    """
    results = read_rows(folder)
    texts = _read_part(folder / TEXTS_FILE, StoredTexts)
    checked = _read_part(folder / INVARIANTS_FILE, StoredInvariants)
    return replace(results, test_texts=texts.texts if texts else (), invariants=checked.invariants if checked else None)


def read_rows(folder: Path) -> Results:
    """As `read_results`, without what the rows are written beside: a run that goes on writes that anew."""
    info = read_info(folder)
    read = {number: read_row(folder, number) for number in info.rows}
    return Results(info, {number: result for number, result in read.items() if result})


def read_row(folder: Path, number: int) -> RowResult | None:
    """A row's file, None where there is none yet.  Raises ResultsError as `read_results` does."""
    path = row_file(folder, number)
    result = _read_part(path, RowResult)
    if result and result.row != number:
        raise ResultsError(f"{path} holds row {result.row}", f"the files were mixed up; {_remedy(path)}")
    if result and (
        problem := problem_of_settings(result.seed, result.settings, result.digests)
        or problem_of_seeds(result.seed, result.figures, result.others, result.error)
    ):
        raise _refusal(path, DocumentError(problem))
    return result


def readable_row(folder: Path, number: int) -> RowResult | None:
    """As `read_row`, for a run that goes on; a file that was damaged or altered holds nothing, which is told."""
    try:
        return read_row(folder, number)
    except ResultsError as error:
        warnings.warn(f"{error.problem}: the row starts again", stacklevel=2)
        return None


def row_file(folder: Path, number: int) -> Path:
    """Where a row's figures stand."""
    return folder / f"row-{number:02d}.json"


def going_on(folder: Path) -> str:
    """The command that goes on with a run of the published suite, as part of a sentence."""
    return f"`python -m bench run --resume {shlex.quote(str(folder))}`"


def _write_part(path: Path, kind: type[Stored], value: Stored) -> None:
    """Write what belongs to the run in the same folder."""
    _write(path, dumped(kind, value) | {"run": read_info(path.parent).id})


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        write_text_atomically(path, json.dumps(sealed(document), ensure_ascii=False, allow_nan=False, indent=2) + "\n")
    except OSError as error:
        goal = "name another folder with --out" if path.name == RUN_FILE else f"go on with {going_on(path.parent)}; finished rows are whole"
        raise ResultsError(f"{path} cannot be written ({error.strerror})", f"{remedy_for(error)} and {goal}") from error


def _read_part(path: Path, kind: type[Stored]) -> Stored | None:
    """What a file holds that belongs to the run in the same folder, None where there is none."""
    document = _read(path)
    if document is None:
        return None
    if document.pop("run", None) != read_info(path.parent).id:
        raise ResultsError(f"{path} is of another run than {RUN_FILE} beside it", _remedy(path))
    return _as(kind, document, path)


def _read(path: Path) -> dict[str, Any] | None:
    """The document in a file without its seal, None where there is none.  Nothing outside the folder is read in its place."""
    try:
        document = read_document(path, is_link_allowed=False)
        check_version(document, SCHEMA)
        return unsealed(document)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        file = next((place for place in path.parents if place.is_file()), path.parent)
        raise ResultsError(f"{file} is a file: name a folder that `python -m bench run` wrote") from error
    except OSError as error:
        raise ResultsError(f"{path} cannot be read ({error.strerror})", "check its permissions") from error
    except OtherVersionError as error:
        raise ResultsError(f"{path} {error}", "read it with that version, or run the rows again") from error
    except DocumentError as error:
        raise _refusal(path, error) from error


def _as(kind: type[Stored], document: dict[str, Any], path: Path) -> Stored:
    try:
        return validated(kind, document)
    except DocumentError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: DocumentError) -> ResultsError:
    return ResultsError(f"{path} is not what a run writes ({error})", f"the file was damaged or altered; {_remedy(path)}")


def _remedy(path: Path) -> str:
    if path.name == RUN_FILE:
        return "put the right one back, or run the rows again"
    return f"put the right one back, or delete it and go on with {going_on(path.parent)}"
