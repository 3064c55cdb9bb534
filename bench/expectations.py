"""`expected_results.json`: what was published, what we recorded, and how far a figure may stray.  One schema, one loader, one writer."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.results import STRICT, TierName, first_problem
from gptcore.answers import Answers, Count
from gptcore.dataset import SPLITS, SplitName
from gptcore.errors import UserError
from gptcore.files import write_text_atomically

LOSSES = ("train_loss", "validation_loss")
SEED_METRICS = (*LOSSES, *(f"{split}_accuracy" for split in SPLITS))
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
    minutes: float = Field(gt=0)


@dataclass(frozen=True, config=STRICT)
class Flaw:
    """Something known to be wrong with the publication, kept beside its figures."""

    rows: tuple[int, ...]
    flaw: str


@dataclass(frozen=True, config=STRICT)
class Published:
    """The published table.  No program rewrites it.  reruns: by how many texts the author's reruns on other machines moved, at most.  (SPEC §6)"""

    source: str
    hardware: str
    data_digest: str
    tokenizer_digest: str
    reruns: dict[SplitName, int]
    flaws: tuple[Flaw, ...]
    rows: dict[int, PublishedRow]

    def __post_init__(self) -> None:
        if set(self.reruns) != set(SPLITS):
            raise ValueError("reruns are told of each split")


@dataclass(frozen=True, config=STRICT)
class DurationPolicy:
    """What is asked of durations.

    calibrated: whether two runs are compared relative to their calibration.  advisory: whether a band that was left only warns.
    at_most: how many times the published minutes a row may take; they were measured once, so no band follows from them.  None where they are no yardstick.
    """

    calibrated: bool
    advisory: bool
    at_most: float | None = Field(gt=0)


@dataclass(frozen=True, config=STRICT)
class TierPolicy:
    """Which figures a tier is held against, the first that applies being the one its table shows, and whether a drift there is a failure."""

    drift_fails: bool
    duration: DurationPolicy
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
class Timing:
    """What a row cost alone and from cold in one run, what the calibration took in that run, and the most bytes it held, where that is known."""

    seconds: float = Field(gt=0)
    calibration_seconds: float = Field(gt=0)
    peak_memory: int | None = Field(default=None, gt=0)


@dataclass(frozen=True, config=STRICT)
class SeedFigures:
    """What one seed gave: right ones of each split, which they were (empty where that was not recorded), and the losses of every evaluation."""

    counts: dict[SplitName, Count]
    answers: dict[SplitName, Answers]
    train_loss: tuple[float, ...] = Field(min_length=1)
    validation_loss: tuple[float, ...] = Field(min_length=1)

    def __post_init__(self) -> None:
        if set(self.counts) != set(SPLITS):
            raise ValueError("a seed has a count for each split")


@dataclass(frozen=True, config=STRICT)
class Repeat:
    """How far the figures moved when the row ran again with nothing changed but rounding: under other conditions, the same seed.

    perturbation: by how much, relatively, the initial weights were moved, 0 where they were not; draw: the seed of that.
    deviations: repeated minus recorded, for every number of every trace.  margins: the largest change of any text's margin, by split.
    """

    condition: str
    perturbation: float
    draw: int
    deviations: dict[str, tuple[float, ...]]
    margins: dict[SplitName, float]


@dataclass(frozen=True, config=STRICT)
class Bands:
    """How far a figure may stray, derived from the raw figures beside it by `bench.recording.bands`.

    Numerical, for the same seed - traces: half-widths around every number.  margins: the most a text's margin may move.  counts: fewest and most right ones.
    Statistical, for other seeds - seeds: where the figure of one more seed lies.
    duration: factors of the recorded seconds; peak_memory: of the recorded bytes.  Whatever could not be derived, for want of repeats or seeds, is left out.
    """

    traces: dict[str, tuple[float, ...]]
    margins: dict[SplitName, float]
    counts: dict[SplitName, tuple[int, int]]
    seeds: dict[str, tuple[float, float]]
    duration: tuple[float, float] | None
    peak_memory: tuple[float, float] | None = None


@dataclass(frozen=True, config=STRICT)
class Baseline:
    """One row as we recorded it, keyed by the digests of all it depends on.

    seeds: the raw figures of every seed, the row's own `seed` among them.  traces and margins: of the own seed.  timings: of every run that was recorded.
    """

    digests: dict[str, str]
    seed: int
    provenance: Provenance
    traces: dict[str, tuple[float, ...]]
    margins: dict[SplitName, tuple[float, ...]]
    seeds: dict[int, SeedFigures]
    repeats: tuple[Repeat, ...]
    bands: Bands
    timings: tuple[Timing, ...] = Field(min_length=1)

    def __post_init__(self) -> None:
        if self.seed not in self.seeds:
            raise ValueError("a baseline has the figures of its own seed")
        lengths = {name: len(values) for name, values in self.traces.items()}
        if self.bands.traces and {name: len(values) for name, values in self.bands.traces.items()} != lengths:
            raise ValueError("the bands of the traces are not as many as the traces")
        if not set(LOSSES) <= set(lengths) or not all(lengths.values()):
            raise ValueError("a baseline has the losses of every evaluation among its traces")
        if not set(self.bands.margins) == set(self.bands.counts) <= set(self.margins):
            raise ValueError("the bands of margins and counts are not of the margins that were recorded")
        if self.bands.seeds and set(self.bands.seeds) != set(SEED_METRICS):
            raise ValueError(f"the bands of other seeds are of {', '.join(SEED_METRICS)}, all or none")

    @property
    def own(self) -> SeedFigures:
        """The figures of the row's own seed."""
        return self.seeds[self.seed]


Baselines = dict[TierName, dict[str, dict[int, Baseline]]]


@dataclass(frozen=True, config=STRICT)
class Expectations:
    """The whole file.  Baselines are keyed by tier, kind of run (device class, and precision where not float32) and row.

    methods: how each kind of band is derived, in words.
    """

    schema_version: Literal[2]
    published: Published
    policies: dict[TierName, TierPolicy]
    methods: dict[str, str]
    baselines: Baselines

    def __post_init__(self) -> None:
        missing = set(get_args(TierName)) - set(self.policies)
        if missing:
            raise ValueError(f"the policy of the {' and '.join(sorted(missing))} tier is missing")


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
