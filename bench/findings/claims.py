"""The twelve findings of the table as one literal, and what evidence has to say of each.  (SPEC §7)

A claim compares two rows. Its verdict comes from the 95 % interval of their difference: supported where all of the interval agrees with it, not supported
where none does, inconclusive between. A finding is supported where all its claims are, and not supported where one is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bench.findings.differences import CannotCompareError, Difference, accuracy_difference, duration_ratio, exact_difference
from bench.findings.evidence import Evidence
from bench.statistics import Interval

Direction = Literal["higher", "lower", "not higher", "not lower", "about equal", "identical"]
Metric = Literal["test accuracy", "duration"]

EQUAL = 1.0  # points, three of 300 test texts: the author's reruns elsewhere moved by up to two


@dataclass(frozen=True)
class Claim:
    """How `row` compares with `other`.

    size: the published difference of test accuracy, in points, or ratio of durations.
    limit: higher and lower - what the difference, or ratio, must lie beyond; the others - how far, in points, it may go against the claim and still agree.
    stated: the sizes that §7's sentence names in numbers, from lowest to highest. They count for the verdict, the published size does not: a claim whose
    interval holds none of them is not supported, however clear its direction.
    """

    row: int
    other: int
    direction: Direction
    size: float
    limit: float = 0.0
    stated: tuple[float, float] | None = None
    metric: Metric = "test accuracy"


@dataclass(frozen=True)
class Finding:
    """A sentence about the table and the claims it consists of."""

    number: int
    sentence: str
    claims: tuple[Claim, ...]


FINDINGS = (
    Finding(1, "the last token beats the first", (Claim(1, 2, "higher", 20.00),)),
    Finding(2, "the last block beats the last layer", (Claim(1, 3, "higher", 23.00),)),
    Finding(3, "two blocks beat one", (Claim(4, 1, "higher", 3.33),)),
    Finding(
        4,
        "all layers gain about 2 points over one block for more than twice the time, and don't beat two blocks",
        (
            Claim(5, 1, "higher", 1.67, stated=(1.5, 2.5)),  # about 2: whatever rounds to it
            Claim(5, 1, "higher", 2.46, limit=2.0, metric="duration"),
            Claim(5, 4, "not higher", -1.67, limit=EQUAL),
        ),
    ),
    Finding(
        5,
        "medium is worse than small, large and xl are better",
        (Claim(6, 1, "lower", -10.33), Claim(7, 1, "higher", 1.67), Claim(8, 1, "higher", 3.33)),
    ),
    Finding(
        6,
        "random weights are only slightly worse, by 1 to 3 points",
        (Claim(10, 1, "lower", -1.33, stated=(-3.0, -1.0)), Claim(10, 5, "lower", -3.00, stated=(-3.0, -1.0))),
    ),
    Finding(
        7,
        "LoRA matches or beats training all, and is faster on xl",
        (
            Claim(11, 5, "not lower", 0.00, limit=EQUAL),
            Claim(12, 9, "not lower", -0.33, limit=EQUAL),
            Claim(12, 9, "lower", 0.71, limit=1.0, metric="duration"),
        ),
    ),
    Finding(8, "padding to 1024 is much worse", (Claim(13, 1, "lower", -16.67),)),
    Finding(
        9,
        "no padding, or the last real token, is better; 15 and 16 are about equal",
        (Claim(14, 1, "higher", 3.00), Claim(15, 1, "higher", 3.33), Claim(16, 1, "higher", 3.33), Claim(15, 16, "about equal", 0.00, limit=EQUAL)),
    ),
    Finding(10, "no causal mask is slightly better", (Claim(17, 1, "higher", 0.33),)),
    Finding(11, "ignore_index changes nothing", (Claim(18, 1, "identical", 0.00),)),
    Finding(12, "mean pooling is better at little cost", (Claim(19, 1, "higher", 1.33), Claim(19, 1, "lower", 1.14, limit=1.25, metric="duration"))),
)


class Conclusion(StrEnum):
    """What evidence says of a claim or a finding; not judged: it has no such rows, or figures that can't be compared."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, what the evidence says of it and the difference behind that, or the reason why there is none."""

    claim: Claim
    conclusion: Conclusion
    difference: Difference | None = None
    reason: str = ""

    @property
    def size_inside(self) -> bool | None:
        """Whether the published size lies in the interval; None without one."""
        if self.difference is None or self.difference.interval is None:
            return None
        return self.claim.size in self.difference.interval


@dataclass(frozen=True)
class JudgedFinding:
    """A finding and what the evidence says of it.  flaws: what is known to be wrong with the rows it rests on."""

    finding: Finding
    conclusion: Conclusion
    claims: tuple[JudgedClaim, ...]
    flaws: tuple[str, ...]


def judge_findings(evidence: Mapping[int, Evidence], findings: Sequence[Finding] = FINDINGS) -> list[JudgedFinding]:
    """Every finding, in order, by evidence keyed by row."""
    return [judge_finding(finding, evidence) for finding in findings]


def judge_finding(finding: Finding, evidence: Mapping[int, Evidence]) -> JudgedFinding:
    """One finding by its claims: one that is not supported decides, then one that can't be judged, then one that is inconclusive."""
    claims = tuple(judge_claim(claim, evidence) for claim in finding.claims)
    concluded = {judged.conclusion for judged in claims}
    order = (Conclusion.NOT_SUPPORTED, Conclusion.NOT_JUDGED, Conclusion.INCONCLUSIVE, Conclusion.SUPPORTED)
    rows = dict.fromkeys(row for claim in finding.claims for row in (claim.row, claim.other) if row in evidence)
    flaws = tuple(flaw for row in rows for flaw in evidence[row].flaws)
    return JudgedFinding(finding, next(conclusion for conclusion in order if conclusion in concluded), claims, flaws)


def judge_claim(claim: Claim, evidence: Mapping[int, Evidence]) -> JudgedClaim:
    """One claim by the evidence on its two rows."""
    missing = [str(row) for row in (claim.row, claim.other) if row not in evidence]
    if missing:
        return JudgedClaim(claim, Conclusion.NOT_JUDGED, reason=f"no figures of row {' and '.join(missing)}")
    row, other = evidence[claim.row], evidence[claim.other]
    try:
        if claim.direction == "identical":
            difference, is_equal = exact_difference(row, other)
            return JudgedClaim(claim, Conclusion.SUPPORTED if is_equal else Conclusion.NOT_SUPPORTED, difference)
        difference = accuracy_difference(row, other) if claim.metric == "test accuracy" else duration_ratio(row, other)
    except CannotCompareError as error:
        return JudgedClaim(claim, Conclusion.NOT_JUDGED, reason=str(error))
    return JudgedClaim(claim, conclude(claim, difference.interval), difference)


def conclude(claim: Claim, interval: Interval | None) -> Conclusion:
    """What an interval of the difference, or ratio, says of a claim about its direction."""
    if interval is None:
        return Conclusion.INCONCLUSIVE
    low, high, limit = interval.low, interval.high, claim.limit
    agrees, contradicts = {
        "higher": (low > limit, high <= limit),
        "lower": (high < limit, low >= limit),
        "not higher": (high <= limit, low > 0),  # a difference below the limit contradicts too, once it is beyond chance
        "not lower": (low >= -limit, high < 0),
        "about equal": (-limit <= low and high <= limit, low > limit or high < -limit),
    }[claim.direction]
    if contradicts or (claim.stated and (claim.stated[1] < low or high < claim.stated[0])):
        return Conclusion.NOT_SUPPORTED
    return Conclusion.SUPPORTED if agrees else Conclusion.INCONCLUSIVE
