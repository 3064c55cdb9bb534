"""Seconds against expected seconds, where the two machines may be compared."""

from statistics import geometric_mean

from bench.expectations import Baseline, DurationPolicy, Expectations, PublishedRow
from bench.recording.bands import cost_of
from bench.results import RunInfo
from bench.verdicts.verdict import Judgement, Verdict
from gptcore.result import Result

BESIDE_OTHERS = "measured in a worker, beside whatever else ran there; run the row alone to judge it"


def judge_recorded_duration(figures: Result, baseline: Baseline, info: RunInfo, policy: DurationPolicy, *, alone: bool = True) -> Judgement:
    """What the row costs alone against our own recording, both ways: a row that became faster is told as well.  alone: see RowResult."""
    recorded = baseline.provenance
    pace = info.calibration_seconds if policy.calibrated else 1.0
    expected = pace * geometric_mean(cost_of(timing, policy) for timing in baseline.timings)
    found = figures.train_seconds
    if (info.environment.device_name, info.environment.threads) != (recorded.machine, recorded.threads):
        return incomparable("baseline", found, expected, f"measured on {recorded.machine}, threads: {recorded.threads}; this is another machine")
    if not alone:
        return incomparable("baseline", found, expected, BESIDE_OTHERS)
    if info.plain:
        return incomparable("baseline", found, expected, "the plain way is for audits")
    if baseline.bands.duration is None:
        return incomparable("baseline", found, expected, "the row was timed once, which tells nothing of how timings spread")
    low, high = (expected * factor for factor in baseline.bands.duration)
    return judge_seconds(found, expected, (low, high), "baseline", f"spread of {len(baseline.timings)} timings", policy)


def judge_published_duration(figures: Result, published: PublishedRow, info: RunInfo, expectations: Expectations, *, alone: bool = True) -> Judgement:
    """What the row costs alone against the published minutes, from above only: being faster is the point.  alone: see RowResult."""
    policy, hardware = expectations.policies[info.tier].duration, expectations.published.hardware
    found, expected = figures.train_seconds, published.minutes * 60
    if info.plain:
        return incomparable("published", found, expected, "the plain way is for audits")
    if policy.at_most is None:
        return incomparable("published", found, expected, f"nothing is asked of durations in the {info.tier} tier")
    if hardware not in info.environment.device_name:
        return incomparable("published", found, expected, f"measured on {hardware}, this is another machine")
    if not alone:
        return incomparable("published", found, expected, BESIDE_OTHERS)
    asked = f"at most {policy.at_most:g} times the published minutes are asked for; they were measured once"
    return judge_seconds(found, expected, (0.0, expected * policy.at_most), "published", asked, policy)


def judge_seconds(found: float, expected: float, band: tuple[float, float], against: str, reason: str, policy: DurationPolicy) -> Judgement:
    """Pass inside the band, ends included; slower is worse."""
    low, high = band
    verdict = Verdict.PASS if low <= found <= high else Verdict.REGRESSED if found > high else Verdict.IMPROVED
    return Judgement("duration", verdict, against, found, expected, low, high, explanation=reason, advisory=policy.advisory)


def incomparable(against: str, found: float, expected: float, why: str) -> Judgement:
    """A duration that there is nothing to hold against."""
    return Judgement("duration", Verdict.NOT_COMPARABLE, against, found, expected, explanation=why, advisory=True)
