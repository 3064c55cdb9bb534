"""Peak memory against what was recorded, where the two machines may be compared."""

from statistics import geometric_mean

from bench.expectations import Baseline, DurationPolicy
from bench.recording.bands import peaks_of
from bench.results import RowResult, RunInfo
from bench.verdicts.verdict import Judgement, Verdict

# Bytes that tell nothing: CUDA's allocator rounds to 2 MiB, Linux's counts of pages are late by less, and under pytest, which judges each row before
# the next, 19 rows held 1 to 6 MiB more than under the command.
GRAIN = 2**23


def judge_peak_memory(result: RowResult, baseline: Baseline, info: RunInfo, policy: DurationPolicy) -> Judgement | None:
    """The most that the row held against our own recording, from above only; None where either was not measured.

    A row that runs without those it shares frozen states with holds less, which is no news.  Only warns where durations do.
    """
    recorded = baseline.provenance
    peaks = peaks_of(baseline.timings)
    if not peaks or result.peak_memory is None:
        return None
    found, expected = float(result.peak_memory), geometric_mean(peaks)
    if (info.environment.device_name, info.environment.threads) != (recorded.machine, recorded.threads):
        return incomparable(found, expected, f"measured on {recorded.machine}, threads: {recorded.threads}; this is another machine")
    if not result.alone:
        return incomparable(found, expected, "measured in a worker, which holds other things than a run that is alone; run the row alone to judge it")
    if info.plain:
        return incomparable(found, expected, "the plain way is for audits")
    if baseline.bands.peak_memory is None:
        return incomparable(found, expected, "it was measured once, which tells nothing of how it spreads")
    high = expected * baseline.bands.peak_memory[1] + GRAIN
    verdict = Verdict.PASS if found <= high else Verdict.REGRESSED
    reason = f"spread of {len(peaks)} measurements"
    return Judgement("peak_memory", verdict, "baseline", found, expected, 0.0, high, explanation=reason, advisory=policy.advisory)


def incomparable(found: float, expected: float, why: str) -> Judgement:
    """A peak that there is nothing to hold against."""
    return Judgement("peak_memory", Verdict.NOT_COMPARABLE, "baseline", found, expected, explanation=why, advisory=True)
