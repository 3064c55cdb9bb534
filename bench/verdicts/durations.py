"""Seconds against expected seconds, where the two machines may be compared."""

from statistics import geometric_mean

from bench.expectations import Baseline, DurationPolicy, Expectations, PublishedRow
from bench.recording.bands import cost_of
from bench.results import RowResult, RunInfo
from bench.verdicts.costs import BESIDE_OTHERS, incomparable, obstacle_to
from bench.verdicts.verdict import Judgement, Verdict
from bench.wording import counted
from gptcore.result import Result


def judge_recorded_duration(result: RowResult, figures: Result, baseline: Baseline, info: RunInfo, policy: DurationPolicy) -> Judgement:
    """What the row costs alone against our own recording, both ways: a row that became faster is told as well."""
    pace = info.calibration_seconds if policy.calibrated else 1.0
    expected = pace * geometric_mean(cost_of(timing, policy) for timing in baseline.timings)
    found = figures.train_seconds
    if obstacle := obstacle_to(result, baseline, info):
        return incomparable("duration", "baseline", found, expected, obstacle)
    if baseline.bands.duration is None:
        return incomparable("duration", "baseline", found, expected, "the row was timed once, which tells nothing of how timings spread")
    low, high = (expected * factor for factor in baseline.bands.duration)
    return judge_seconds(found, expected, (low, high), "baseline", f"spread of {counted(len(baseline.timings), 'timing')}", policy)


def judge_published_duration(result: RowResult, figures: Result, published: PublishedRow, info: RunInfo, expectations: Expectations) -> Judgement:
    """What the row costs alone against the published minutes, from above only: being faster is the point."""
    policy, hardware = expectations.policies[info.tier].duration, expectations.published.hardware
    found, expected = figures.train_seconds, published.minutes * 60
    if info.plain:
        return incomparable("duration", "published", found, expected, "the plain way is for audits")
    if policy.at_most is None:
        return incomparable("duration", "published", found, expected, f"nothing is asked of durations in the {info.tier} tier")
    if hardware not in info.environment.device_name:
        return incomparable("duration", "published", found, expected, f"measured on {hardware}, this is another machine")
    if not result.alone:
        return incomparable("duration", "published", found, expected, BESIDE_OTHERS)
    asked = f"at most {policy.at_most:g} times the published minutes are asked for; they were measured once"
    return judge_seconds(found, expected, (0.0, expected * policy.at_most), "published", asked, policy)


def judge_seconds(found: float, expected: float, band: tuple[float, float], against: str, reason: str, policy: DurationPolicy) -> Judgement:
    """Pass inside the band, ends included; slower is worse."""
    low, high = band
    verdict = Verdict.PASS if low <= found <= high else Verdict.REGRESSED if found > high else Verdict.IMPROVED
    return Judgement("duration", verdict, against, found, expected, low, high, explanation=reason, advisory=policy.advisory)
