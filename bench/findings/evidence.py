"""What is known of each row: how many texts were right by seed, which ones, and how long it took; from results, baselines or the publication."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.expectations import PUBLISHED_TIERS, Baseline, DurationPolicy, Expectations, Published, PublishedRow, SeedFigures
from bench.recording.bands import cost_of
from bench.results import Results, RowResult
from gptcore.answers import Count
from gptcore.dataset import SplitName
from gptcore.errors import UsageError
from gptcore.experiment import Experiment
from gptcore.result import Result

FEW_ROWS = 3  # a flaw of more rows than these says nothing of a single finding


@dataclass(frozen=True)
class SeedEvidence:
    """What one seed gave: right ones of each split, and for each test text, in order, whether it was right; None where only counts are known."""

    counts: Mapping[SplitName, Count]
    right: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Evidence:
    """One row.

    data: digest of its texts.  machine: where it was timed.  durations: of training, one value per independent run, in the same unit for every row.
    rounding: the step they come in.  flaws: what is known to be wrong with the row.
    """

    data: str
    seeds: Mapping[int, SeedEvidence]
    machine: str
    durations: tuple[float, ...]
    rounding: float = 0.0
    flaws: tuple[str, ...] = ()


def evidence_of(results: Results, name: str) -> dict[str, dict[int, Evidence]]:
    """What a results folder knows, under its title.  Raises UsageError where its rows are not the published ones."""
    if (tier := results.info.tier) not in PUBLISHED_TIERS:
        raise UsageError(
            f"{name} is of the {tier} tier of another suite, and the findings are about the published rows: "
            f"name a folder of the {' or '.join(PUBLISHED_TIERS)} tier"
        )
    return {f"{results.info.tier} tier, {name}": from_results(results)}


def recorded_evidence(expectations: Expectations) -> dict[str, dict[int, Evidence]]:
    """What the expectations know, by title: the publication, and every kind of baseline of both tiers."""
    recorded = {
        f"{tier} tier, recorded on {kind}": from_baselines(baselines, expectations.policies[tier].duration)
        for tier, kinds in expectations.baselines.items()
        for kind, baselines in kinds.items()
    }
    return {"as published": from_published(expectations.published), **recorded}


def from_results(results: Results) -> dict[int, Evidence]:
    """The rows of a results folder that have figures; without accuracies where only the time was asked for."""
    environment = results.info.environment
    machine = _machine(environment.device_name, environment.threads)
    return {number: _of_result(result, machine, results.info.timing_only) for number, result in results.rows.items() if result.figures}


def from_baselines(baselines: Mapping[int, Baseline], policy: DurationPolicy) -> dict[int, Evidence]:
    """Recorded rows of one tier and kind, with durations on the scale that the tier compares them on."""
    return {number: _of_baseline(baseline, policy) for number, baseline in baselines.items()}


def from_published(published: Published) -> dict[int, Evidence]:
    """The published table: counts of one seed, and minutes measured once."""
    return {number: _of_published(number, row, published) for number, row in published.rows.items()}


def _of_result(result: RowResult, machine: str, timing_only: bool) -> Evidence:
    own = result.figures
    # Further seeds may have trained side by side and share their time: no independent timings.  Nor are those of rows that ran side by side.
    durations = (own.train_seconds,) if own and own.train_seconds and result.alone else ()
    trained = {} if timing_only or own is None else {result.seed: own, **result.others}
    return Evidence(result.digests.get("data", ""), {seed: _of_seed(figures) for seed, figures in trained.items()}, machine, durations)


def _of_seed(figures: Result | SeedFigures) -> SeedEvidence:
    answers = figures.answers.get("test")  # older recordings have none
    return SeedEvidence(figures.counts, answers.is_right() if answers else None)


def _of_baseline(baseline: Baseline, policy: DurationPolicy) -> Evidence:
    seeds = {seed: _of_seed(figures) for seed, figures in baseline.seeds.items()}
    machine = _machine(baseline.provenance.machine, baseline.provenance.threads)
    return Evidence(baseline.digests.get("data", ""), seeds, machine, tuple(cost_of(timing, policy) for timing in baseline.timings))


def _of_published(number: int, row: PublishedRow, published: Published) -> Evidence:
    counts = {split: Count(accuracy.right, accuracy.n) for split, accuracy in row.accuracies.items() if accuracy.right is not None}
    flaws = tuple(f"row {number}: {flaw.flaw}" for flaw in published.flaws if number in flaw.rows and len(flaw.rows) <= FEW_ROWS)
    return Evidence(published.data_digest, {Experiment().seed: SeedEvidence(counts)}, published.hardware, (row.minutes,), rounding=0.01, flaws=flaws)


def _machine(name: str, threads: int) -> str:
    return f"{name}, threads: {threads}"
