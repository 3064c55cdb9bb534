"""When a cost, seconds or bytes, may be held against what was recorded of it."""

from bench.expectations import Baseline
from bench.results import RowResult, RunInfo
from bench.verdicts.verdict import Judgement, Verdict

BESIDE_OTHERS = "measured in a worker, beside whatever else was there; run the row alone to judge it"


def obstacle_to(result: RowResult, baseline: Baseline, info: RunInfo) -> str:
    """Why what a row costs here tells nothing beside what it cost when it was recorded, empty where it does."""
    recorded = baseline.provenance
    if (info.environment.device_name, info.environment.threads) != (recorded.machine, recorded.threads):
        return f"measured on {recorded.machine}, threads: {recorded.threads}; this is another machine"
    if not result.alone:
        return BESIDE_OTHERS
    return "the plain way is for audits" if info.plain else ""


def incomparable(metric: str, against: str, found: float, expected: float, why: str) -> Judgement:
    """A cost that there is nothing to hold against."""
    return Judgement(metric, Verdict.NOT_COMPARABLE, against, found, expected, explanation=why, advisory=True)
