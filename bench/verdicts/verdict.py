"""What can be said of a figure, of a row, and of how much either could have told."""

from dataclasses import dataclass
from enum import StrEnum

from bench.results import RowResult


class Verdict(StrEnum):
    """Later ones outrank earlier ones when a row's metrics are summed up.

    drifted: outside the numerical band and inside the statistical one - the computation changed, the accuracy did not provably.
    """

    PASS = "pass"
    NOT_COMPARABLE = "not comparable"
    DRIFTED = "drifted"
    IMPROVED = "improved"
    REGRESSED = "regressed"
    MISSING = "missing"
    ERROR = "error"


SEVERITY = list(Verdict)


class Strictness(StrEnum):
    """Whether a drifted row fails: as the tier and the environment say, always, or never."""

    USUAL = "usual"
    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True)
class Judgement:
    """One metric of one row.  Accuracies and losses are plain numbers, durations seconds, memory bytes; `advisory` ones warn and never fail a row.

    changed: the components, such as settings or weights, that keep a figure from being compared.
    """

    metric: str
    verdict: Verdict
    against: str
    found: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    explanation: str = ""
    advisory: bool = False
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flips:
    """Numbers of the test texts that were right in the baseline and are wrong now, of those the other way round, and McNemar's exact p-value of both."""

    lost: tuple[int, ...]
    gained: tuple[int, ...]
    p: float


@dataclass(frozen=True)
class Power:
    """What a row would notice of test accuracy, fractions.

    drift: the smallest drop that leaves the numerical band, with the recorded seed.  drop: the smallest that is called regressed with 95 % power, whatever the
    seeds.  None where nothing was recorded that could tell.
    """

    drift: float | None
    drop: float | None


@dataclass(frozen=True)
class RowVerdict:
    """One row: every judgement, the verdict they sum up to, and whether the row holds.

    published_seconds: None where other work was done.  flips: None without answers to the same texts by the same seed.
    """

    row: int
    name: str
    verdict: Verdict
    holds: bool
    judgements: tuple[Judgement, ...]
    result: RowResult | None
    published_seconds: float | None = None
    flips: Flips | None = None
    power: Power = Power(None, None)
