"""Peak memory against what was recorded, where the two machines may be compared."""

from statistics import geometric_mean

from bench.expectations import Baseline, DurationPolicy
from bench.recording.bands import peaks_of
from bench.results import RowResult, RunInfo
from bench.verdicts.costs import incomparable, obstacle_to
from bench.verdicts.verdict import Judgement, Verdict
from bench.wording import counted, row_ranges

# Bytes that tell nothing: CUDA's allocator rounds to 2 MiB, Linux's counts of pages are late by less, and under pytest, which judges each row before
# the next, 19 rows held 1 to 6 MiB more than under the command.
GRAIN = 2**23


def judge_peak_memory(result: RowResult, baseline: Baseline, info: RunInfo, policy: DurationPolicy) -> Judgement | None:
    """The most that the row held against our own recording, from above only; None where either was not measured.

    Only beside the rows it was recorded with: what those before it loaded and share with it counts as well, 50 of the 77 MB of row 9 in miniature.
    Only warns where durations do.
    """
    peaks = peaks_of(baseline.timings)
    if not peaks or result.peak_memory is None:
        return None
    found, expected, rows = float(result.peak_memory), geometric_mean(peaks), baseline.provenance.rows
    if obstacle := obstacle_to(result, baseline, info):
        return incomparable("peak_memory", "baseline", found, expected, obstacle)
    if row_ranges(info.rows) != rows:
        return incomparable("peak_memory", "baseline", found, expected, f"recorded in a run of rows {rows or 'unknown'}; a row holds what others left, too")
    if baseline.bands.peak_memory is None:
        return incomparable("peak_memory", "baseline", found, expected, "it was measured once, which tells nothing of how it spreads")
    high = expected * baseline.bands.peak_memory[1] + GRAIN
    verdict = Verdict.PASS if found <= high else Verdict.REGRESSED
    reason = f"spread of {counted(len(peaks), 'measurement')}"
    return Judgement("peak_memory", verdict, "baseline", found, expected, 0.0, high, explanation=reason, advisory=policy.advisory)
