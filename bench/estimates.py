"""How long a row may be expected to take, before it runs."""

from dataclasses import dataclass
from statistics import geometric_mean

from bench.expectations import Baseline, Expectations
from bench.report.text import rows_named
from bench.results import RunInfo


@dataclass(frozen=True)
class Estimate:
    """Seconds of a row's training alone and from cold, and where the number comes from."""

    seconds: float
    basis: str


def estimate_row(number: int, info: RunInfo, expectations: Expectations) -> Estimate | None:
    """What a row may take in a run, None where nothing is known of it.

    The recorded seconds, where the row was recorded for this kind of device; those of another CPU are scaled by the calibrations of the two.  Else the
    published minutes, at the pace that rows recorded for this kind of device have; without any, as they are.
    """
    recorded = expectations.baselines.get(info.tier, {}).get(info.kind, {})
    if baseline := recorded.get(number):
        here = is_of_this_machine(baseline, info)
        how = "recorded on this machine" if here else f"recorded on {baseline.provenance.machine}"
        return Estimate(
            recorded_seconds(baseline, info, expectations), how if here or info.environment.device_class != "cpu" else f"{how}, scaled by calibration"
        )
    published = expectations.published.rows
    if number not in published or "published" not in expectations.policies[info.tier].against:
        return None
    seconds = published[number].minutes * 60
    paces = [recorded_seconds(baseline, info, expectations) / (published[row].minutes * 60) for row, baseline in recorded.items() if row in published]
    if not paces or expectations.published.hardware in info.environment.device_name:
        return Estimate(seconds, f"published, on one {expectations.published.hardware}")
    pace = geometric_mean(paces)
    return Estimate(seconds * pace, f"published, times {pace:.3g} as recorded of {rows_named([*recorded])}")


def recorded_seconds(baseline: Baseline, info: RunInfo, expectations: Expectations) -> float:
    """The mean of a row's timings, relative to the calibration where timings are judged so, or where they come from another CPU."""
    elsewhere = info.environment.device_class == "cpu" and not is_of_this_machine(baseline, info)
    if elsewhere or expectations.policies[info.tier].duration.calibrated:
        return info.calibration_seconds * geometric_mean(timing.seconds / timing.calibration_seconds for timing in baseline.timings)
    return geometric_mean(timing.seconds for timing in baseline.timings)


def is_of_this_machine(baseline: Baseline, info: RunInfo) -> bool:
    """Whether a baseline was recorded on a machine like the run's, with as many threads."""
    return (baseline.provenance.machine, baseline.provenance.threads) == (info.environment.device_name, info.environment.threads)
