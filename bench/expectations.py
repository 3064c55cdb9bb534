"""`expected_results.json`: what was published, what we recorded, and how far a figure may stray.  One schema, one loader, one writer."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.results import STRICT, Results, ResultsError, RowResult, RunInfo, TierName, first_problem
from gptcore.dataset import SPLITS, SplitName
from gptcore.errors import UserError
from gptcore.files import write_text_atomically
from gptcore.result import Count, Evaluation

DEFAULT_PATH = Path(__file__).parent.parent / "expected_results.json"


class ExpectationError(UserError):
    """Expectations that cannot be used, or must not be recorded."""


@dataclass(frozen=True, config=STRICT)
class PublishedAccuracy:
    """A published percentage and the count it stands for; `right` is None where it is no count of `n`."""

    percent: float
    right: int | None
    n: int = Field(gt=0)


@dataclass(frozen=True, config=STRICT)
class PublishedRow:
    """One row as published."""

    accuracies: dict[SplitName, PublishedAccuracy]
    minutes: float


@dataclass(frozen=True, config=STRICT)
class Flaw:
    """Something known to be wrong with the publication, kept beside its figures."""

    rows: tuple[int, ...]
    flaw: str


@dataclass(frozen=True, config=STRICT)
class Published:
    """The published table.  No program rewrites it."""

    source: str
    hardware: str
    data_digest: str
    tokenizer_digest: str
    flaws: tuple[Flaw, ...]
    rows: dict[int, PublishedRow]


@dataclass(frozen=True, config=STRICT)
class LossTolerance:
    """Relative band around the last recorded losses."""

    reason: str
    relative: float = Field(gt=0)


@dataclass(frozen=True, config=STRICT)
class AccuracyTolerance:
    """Band around an accuracy, in examples or in percentage points (wider where the expected accuracy is low)."""

    reason: str
    examples: int | None = Field(default=None, ge=0)
    points: float | None = Field(default=None, gt=0)
    points_below_90: float | None = Field(default=None, gt=0)

    def __post_init__(self) -> None:
        if self.examples is None and (self.points is None or self.points_below_90 is None):
            raise ValueError("an accuracy's tolerance needs examples, or points and points_below_90")


@dataclass(frozen=True, config=STRICT)
class DurationTolerance:
    """Band around a recorded duration, as factors of it; against the published minutes only `at_most` counts.

    Comparable on the same hardware, or anywhere relative to the run's calibration; advisory ones only warn.
    """

    comparable: Literal["same hardware", "calibration"]
    advisory: bool
    reason: str
    at_most: float = Field(gt=0)
    at_least: float = Field(ge=0)


@dataclass(frozen=True, config=STRICT)
class Tolerances:
    """One tier's bands, and which figures it is held against, the first that applies being the one its table shows."""

    final_loss: LossTolerance
    accuracy: AccuracyTolerance
    duration: DurationTolerance
    against: tuple[Literal["baseline", "published"], ...] = Field(min_length=1)


@dataclass(frozen=True, config=STRICT)
class Provenance:
    """Where a baseline comes from."""

    git_commit: str
    git_dirty: bool
    torch: str
    machine: str
    threads: int
    date: str


@dataclass(frozen=True, config=STRICT)
class Baseline:
    """One row as we recorded it, keyed by the digests of all it depends on."""

    digests: dict[str, str]
    seed: int
    counts: dict[SplitName, Count]
    provenance: Provenance
    seconds: float = Field(ge=0)
    calibration_seconds: float = Field(gt=0)
    history: tuple[Evaluation, ...] = Field(min_length=1)

    def __post_init__(self) -> None:
        if set(self.counts) != set(SPLITS):
            raise ValueError("a baseline has a count for each split")


Baselines = dict[TierName, dict[str, dict[int, Baseline]]]


@dataclass(frozen=True, config=STRICT)
class Expectations:
    """The whole file.  Baselines are keyed by tier, kind of run (device class, and precision where not float32) and row."""

    schema_version: Literal[1]
    published: Published
    tolerances: dict[TierName, Tolerances]
    baselines: Baselines

    def __post_init__(self) -> None:
        missing = set(get_args(TierName)) - set(self.tolerances)
        if missing:
            raise ValueError(f"the tolerances of the {' and '.join(sorted(missing))} tier are missing")


def load_expectations(path: Path = DEFAULT_PATH) -> Expectations:
    """The file's content.  Raises ExpectationError where it is missing or breaks the schema."""
    try:
        return TypeAdapter(Expectations).validate_json(path.read_bytes())
    except OSError as error:
        raise ExpectationError(f"{path} cannot be read ({error.strerror}): name the file of expectations with --expected") from error
    except ValidationError as error:
        raise ExpectationError(f"{path} breaks the schema ({first_problem(error)}): restore it from git or correct that place") from error


def save_expectations(path: Path, expectations: Expectations) -> None:
    """Write the file in its canonical form, all or nothing."""
    write_text_atomically(path, pretty(TypeAdapter(Expectations).dump_python(expectations, mode="json", exclude_none=False)) + "\n")


def with_baselines(expectations: Expectations, results: Results) -> Expectations:
    """The expectations with the rows of these results as the new baselines of their tier and kind; rows that failed keep the old one."""
    tier, kind = results.info.tier, results.info.kind
    old = expectations.baselines.get(tier, {}).get(kind, {})
    new = {number: make_baseline(results.info, result) for number, result in results.rows.items() if result.figures and not result.error}
    of_tier = expectations.baselines.get(tier, {}) | {kind: dict(sorted((old | new).items()))}
    return replace(expectations, baselines=expectations.baselines | {tier: of_tier})


def make_baseline(info: RunInfo, result: RowResult) -> Baseline:
    """One row's figures as a baseline."""
    if result.figures is None:
        raise ResultsError(f"row {result.row} has no figures ({result.error}): run it again")
    environment = info.environment
    return Baseline(
        digests=result.digests,
        seed=result.seed,
        counts=dict(result.figures.counts),
        history=result.figures.history,
        seconds=result.figures.train_seconds,
        calibration_seconds=info.calibration_seconds,
        provenance=Provenance(
            git_commit=environment.git_commit,
            git_dirty=environment.git_dirty,
            torch=environment.packages["torch"],
            machine=environment.device_name,
            threads=environment.threads,
            date=environment.date,
        ),
    )


def refuse_unrepeatable(first: Mapping[int, RowResult], second: Mapping[int, RowResult]) -> None:
    """Raise ExpectationError where a row failed or gave other figures the second time; durations may differ.

    Figures of a finished row are finite: training stops at the first loss that is not.
    """
    for number, result in first.items():
        refuse_failed(result)
        refuse_failed(second[number])
        if _repeatable_part(result) != _repeatable_part(second[number]):
            raise ExpectationError(f"row {number} gave other figures the second time: nothing is recorded until two runs agree bit for bit")


def refuse_failed(result: RowResult) -> None:
    """Raise ExpectationError where a row has no figures."""
    if result.figures is None or result.error:
        raise ExpectationError(f"row {result.row} failed ({result.error}): nothing is recorded until every row runs")


def _repeatable_part(result: RowResult) -> tuple[Any, ...]:
    figures = result.figures
    return (result.digests, figures and (figures.history, figures.epoch_accuracies, figures.counts))


def pretty(value: Any, indent: str = "") -> str:
    """JSON with one line for everything that holds no further list or object, so that a person can read and diff it."""
    deeper = indent + "  "
    is_mapping = isinstance(value, dict)
    items: Iterable[Any] = value.values() if is_mapping else value if isinstance(value, list) else ()
    if not any(isinstance(item, dict | list) for item in items):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    if is_mapping:
        lines = [f"{deeper}{json.dumps(str(key), ensure_ascii=False)}: {pretty(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + pretty(item, deeper) for item in value) + f"\n{indent}]"
