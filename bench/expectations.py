"""`expected_results.json`: what was published, what we recorded, and how far a figure may stray.  One schema, one loader, one writer."""

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from bench.bounds import (
    MOST_TEXTS,
    STRICT,
    Bytes,
    Counts,
    Date,
    Digest,
    Factors,
    Number,
    Positive,
    Range,
    RowKey,
    RowNumber,
    Seed,
    SeedKey,
    TierName,
    Width,
)
from bench.documents import DocumentError, OtherVersionError, check_version, read_document, validated
from bench.rows import ROWS
from bench.wording import counted
from gptcore.answers import Answers, Count
from gptcore.dataset import SPLITS, SplitName
from gptcore.errors import UserError
from gptcore.files import write_text_atomically

SCHEMA: Final = 2
LOSSES = ("train_loss", "validation_loss")
SEED_METRICS = (*LOSSES, *(f"{split}_accuracy" for split in SPLITS))
PUBLISHED_TIERS = ("smoke", "full")
DEFAULT_PATH = Path(__file__).parent.parent / "expected_results.json"


class ExpectationError(UserError):
    """Expectations that cannot be used, or must not be recorded."""


@dataclass(frozen=True, config=STRICT)
class PublishedAccuracy:
    """A published percentage and the count it stands for; `right` is None where it is no count of `n`."""

    percent: float = Field(ge=0, le=100)
    right: int | None = Field(ge=0)
    n: int = Field(gt=0, le=MOST_TEXTS)

    def __post_init__(self) -> None:
        if self.right is not None and self.right > self.n:
            raise ValueError(f"{self.right} right of {self.n} is no count")


@dataclass(frozen=True, config=STRICT)
class PublishedRow:
    """One row as published."""

    accuracies: dict[SplitName, PublishedAccuracy]
    minutes: Positive

    def __post_init__(self) -> None:
        if set(self.accuracies) != set(SPLITS):
            raise ValueError("a published row has an accuracy for each split")


@dataclass(frozen=True, config=STRICT)
class Flaw:
    """Something known to be wrong with the publication, kept beside its figures."""

    rows: tuple[RowNumber, ...]
    flaw: str


@dataclass(frozen=True, config=STRICT)
class Published:
    """The published table.  No program rewrites it.  reruns: by how many texts the author's reruns on other machines moved, at most.  (SPEC §6)"""

    source: str
    hardware: str
    data_digest: Digest
    tokenizer_digest: Digest
    reruns: dict[SplitName, Annotated[int, Field(ge=0, le=MOST_TEXTS)]]
    flaws: tuple[Flaw, ...]
    rows: dict[RowKey, PublishedRow]

    def __post_init__(self) -> None:
        if set(self.reruns) != set(SPLITS):
            raise ValueError("reruns are told of each split")


UNKNOWN = hashlib.sha256(b"").hexdigest()
NOTHING_PUBLISHED = Published(
    source="nothing is published of these rows",
    hardware="none",
    data_digest=UNKNOWN,
    tokenizer_digest=UNKNOWN,
    reruns=dict.fromkeys(SPLITS, 0),
    flaws=(),
    rows={},
)


@dataclass(frozen=True, config=STRICT)
class DurationPolicy:
    """What is asked of durations.

    calibrated: whether two runs are compared relative to their calibration.  advisory: whether a band that was left only warns.
    at_most: how many times the published minutes a row may take; they were measured once, so no band follows from them.  None where they are no yardstick.
    """

    calibrated: bool
    advisory: bool
    at_most: Positive | None


@dataclass(frozen=True, config=STRICT)
class TierPolicy:
    """Which figures a tier is held against, the first that applies being the one its table shows, and whether a drift there is a failure."""

    drift_fails: bool
    duration: DurationPolicy
    against: tuple[Literal["baseline", "published"], ...] = Field(min_length=1)


@dataclass(frozen=True, config=STRICT)
class Provenance:
    """Where a baseline comes from.  rows: those that ran with it, such as 1-3,5."""

    git_commit: str
    git_dirty: bool
    torch: str
    machine: str
    threads: Annotated[int, Field(gt=0)]
    date: Date
    rows: str


@dataclass(frozen=True, config=STRICT)
class Timing:
    """What a row cost alone and from cold in one run, what the calibration took in that run, and the most bytes it held, where that is known."""

    seconds: Positive
    calibration_seconds: Positive
    peak_memory: Bytes | None = None


@dataclass(frozen=True, config=STRICT)
class SeedFigures:
    """What one seed gave: right ones of each split, which they were (empty where that was not recorded), and the losses of every evaluation."""

    counts: dict[SplitName, Count]
    answers: dict[SplitName, Answers]
    train_loss: tuple[Number, ...] = Field(min_length=1)
    validation_loss: tuple[Number, ...] = Field(min_length=1)

    def __post_init__(self) -> None:
        if set(self.counts) != set(SPLITS):
            raise ValueError("a seed has a count for each split")
        if len(self.train_loss) != len(self.validation_loss):
            raise ValueError("a seed has as many validation losses as training losses")


@dataclass(frozen=True, config=STRICT)
class Repeat:
    """How far the figures moved when the row ran again with nothing changed but rounding: under other conditions, the same seed.

    perturbation: by how much, relatively, the initial weights were moved, 0 where they were not; draw: the seed of that.
    deviations: repeated minus recorded, for every number of every trace.  margins: the largest change of any text's margin, by split.
    """

    condition: str
    perturbation: Annotated[float, Field(ge=0, lt=1)]
    draw: Annotated[int, Field(ge=0)]
    deviations: dict[str, tuple[Number, ...]]
    margins: dict[SplitName, Width]


@dataclass(frozen=True, config=STRICT)
class Bands:
    """How far a figure may stray, derived from the raw figures beside it by `bench.recording.bands`.

    Numerical, for the same seed - traces: half-widths around every number.  margins: the most a text's margin may move.  counts: fewest and most right ones.
    Statistical, for other seeds - seeds: where the figure of one more seed lies.
    duration: factors of the recorded seconds; peak_memory: of the recorded bytes.  Whatever could not be derived, for want of repeats or seeds, is left out.
    """

    traces: dict[str, tuple[Width, ...]]
    margins: dict[SplitName, Width]
    counts: dict[SplitName, Counts]
    seeds: dict[str, Range]
    duration: Factors | None
    peak_memory: Factors | None = None


@dataclass(frozen=True, config=STRICT)
class Baseline:
    """One row as we recorded it, keyed by the digests of all it depends on.

    seeds: the raw figures of every seed, the row's own `seed` among them.  traces and margins: of the own seed.  timings: of every run that was timed.
    """

    digests: dict[str, Digest]
    seed: Seed
    provenance: Provenance
    traces: dict[str, tuple[Number, ...]]
    margins: dict[SplitName, Annotated[tuple[Number, ...], Field(min_length=1)]]
    seeds: dict[SeedKey, SeedFigures]
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
        if any(
            {name: len(values) for name, values in repeat.deviations.items()} != lengths or set(repeat.margins) != set(self.margins) for repeat in self.repeats
        ):
            raise ValueError("the deviations of the repeats are not as many as the traces")
        sizes = {split: count.n for split, count in self.own.counts.items()}
        if any({split: count.n for split, count in one.counts.items()} != sizes for one in self.seeds.values()):
            raise ValueError("the seeds are of different texts")
        for split, (_, most) in self.bands.counts.items():
            if most > sizes[split]:
                raise ValueError(f"{most} is no count of its {counted(sizes[split], 'text')}")
        if self.bands.seeds and set(self.bands.seeds) != set(SEED_METRICS):
            raise ValueError(f"the bands of other seeds are of {', '.join(SEED_METRICS)}, all or none")

    @property
    def own(self) -> SeedFigures:
        """The figures of the row's own seed."""
        return self.seeds[self.seed]


Baselines = dict[TierName, dict[str, dict[RowKey, Baseline]]]


@dataclass(frozen=True, config=STRICT)
class Expectations:
    """The whole file.  Baselines are keyed by tier, kind of run (device class, and precision where not float32) and row.

    published: left out of the file where nothing is.  methods: how each kind of band is derived, in words.
    """

    schema_version: Literal[2]
    published: Published = Field(default=NOTHING_PUBLISHED, kw_only=True)
    policies: dict[TierName, TierPolicy]
    methods: dict[str, str]
    baselines: Baselines

    def __post_init__(self) -> None:
        check_tiers(self, self.baselines)


def load_expectations(path: Path = DEFAULT_PATH, tiers: Collection[str] | None = None) -> Expectations:
    """The file's content.  tiers: those it must have policies of; by default the published rows', whose file must hold what was published, too.

    Raises ExpectationError where the file is missing, breaks the schema or lacks any of that.
    """
    try:
        document = read_document(path)
        check_version(document, SCHEMA)
        expectations = validated(Expectations, document)
    except OSError as error:
        raise ExpectationError(f"{path} cannot be read ({error.strerror}): name the file of expectations with --expected") from error
    except OtherVersionError as error:
        raise ExpectationError(f"{path} {error}: restore it from git, or record anew") from error
    except DocumentError as error:
        raise ExpectationError(f"{path} breaks the schema ({error}): restore it from git or correct that place") from error
    if tiers is None:
        check_published(expectations, path)
    check_tiers(expectations, PUBLISHED_TIERS if tiers is None else tiers)
    return expectations


def check_published(expectations: Expectations, path: Path) -> None:
    """Raise ExpectationError where a file of the published rows lacks what was published, or speaks of a row that the table does not have."""
    if expectations.published == NOTHING_PUBLISHED:
        raise ExpectationError(f"{path} lacks what was published (published): restore it from git")
    places = [(number, f"published.rows.{number}") for number in expectations.published.rows]
    for tier, kinds in expectations.baselines.items():
        places += [(number, f"baselines.{tier}.{kind}.{number}") for kind, baselines in kinds.items() for number in baselines]
    for number, place in places:
        if number > ROWS[-1].number:
            raise ExpectationError(f"{path} breaks the schema ({place}: the table has {len(ROWS)} rows): restore it from git or correct that place")


def check_tiers(expectations: Expectations, tiers: Collection[str]) -> None:
    """Raise ExpectationError where one of the tiers has no policy."""
    if missing := sorted(set(tiers) - set(expectations.policies)):
        raise ExpectationError(
            f"the policy of the {' and '.join(missing)} tier is missing from the file of expectations: add it, or name another with --expected"
        )


def save_expectations(path: Path, expectations: Expectations) -> None:
    """Write the file in its canonical form, all or nothing."""
    left_out = {"published"} if expectations.published == NOTHING_PUBLISHED else set()
    write_text_atomically(path, pretty(TypeAdapter(Expectations).dump_python(expectations, mode="json", exclude_none=False, exclude=left_out)) + "\n")


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
