"""How long a row may be expected to take, before it runs."""

from dataclasses import dataclass
from statistics import geometric_mean

from bench.expectations import Baseline, Expectations
from bench.results import RunInfo
from bench.rows import find_row
from bench.speed.published import published_flops
from bench.wording import counted, rows_named


@dataclass(frozen=True)
class Estimate:
    """Seconds of a row's training alone and from cold, and where the number comes from."""

    seconds: float
    basis: str


def estimate_row(number: int, info: RunInfo, expectations: Expectations) -> Estimate | None:
    """What a row may take in a run, None where nothing is known of it.

    The recorded seconds, where the row was recorded for this kind of device.  Else the operations the row needs, at the pace that rows recorded for this kind
    of device have, since frozen parts and lengths make rows of one table differ by far more than machines do; without any the published minutes.
    """
    recorded = expectations.baselines.get(info.tier, {}).get(info.kind, {})
    if baseline := recorded.get(number):
        return Estimate(recorded_seconds(baseline, info, expectations), f"recorded {where_recorded(baseline, info)}")
    published = expectations.published.rows
    if number not in published or "published" not in expectations.policies[info.tier].against:
        return None
    known = {row: baseline for row, baseline in recorded.items() if row in published}
    if not known or expectations.published.hardware in info.environment.device_name:
        return Estimate(published[number].minutes * 60, f"published, on one {expectations.published.hardware}")
    pace = geometric_mean(recorded_seconds(baseline, info, expectations) / published_flops(find_row(row).experiment) for row, baseline in known.items())
    return Estimate(published_flops(find_row(number).experiment) * pace, f"its arithmetic alone, at the pace recorded of {rows_named([*known])}")


def recorded_seconds(baseline: Baseline, info: RunInfo, expectations: Expectations) -> float:
    """The mean of a row's timings, relative to the calibration where timings are judged so, or where they come from another CPU.

    The calibration is a small piece of work, which further threads only hinder: where their number is another one, the threads say how much longer it takes.
    """
    seconds = geometric_mean(timing.seconds for timing in baseline.timings)
    if info.environment.threads != baseline.provenance.threads:
        return seconds * max(1.0, baseline.provenance.threads / info.environment.threads)
    if expectations.policies[info.tier].duration.calibrated or is_of_another_cpu(baseline, info):
        return info.calibration_seconds * geometric_mean(timing.seconds / timing.calibration_seconds for timing in baseline.timings)
    return seconds


def where_recorded(baseline: Baseline, info: RunInfo) -> str:
    """Where a baseline comes from, and what was done to its seconds."""
    origin = baseline.provenance
    place = "on this machine" if origin.machine == info.environment.device_name else f"on {origin.machine}"
    if origin.threads != info.environment.threads:
        return f"{place} with {counted(origin.threads, 'thread')}"
    return f"{place}, scaled by calibration" if is_of_another_cpu(baseline, info) else place


def is_of_another_cpu(baseline: Baseline, info: RunInfo) -> bool:
    """Whether a run computes on a CPU that is not the baseline's."""
    return info.environment.device_class == "cpu" and baseline.provenance.machine != info.environment.device_name
