"""A result against what was expected of it -> a verdict per metric and per row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.expectations import AccuracyTolerance, Baseline, DurationTolerance, Expectations, PublishedRow, Tolerances
from bench.results import Results, RowResult, RunInfo
from bench.rows import Row, find_row
from gptcore.dataset import SPLITS, SplitName
from gptcore.experiment import digest_of, settings_of
from gptcore.result import Result
from gptcore.weights import PINNED_WEIGHTS


class Verdict(StrEnum):
    """What can be said of a figure; later ones outrank earlier ones when a row's metrics are summed up."""

    PASS = "pass"
    NOT_COMPARABLE = "not comparable"
    IMPROVED = "improved"
    REGRESSED = "regressed"
    MISSING = "missing"
    ERROR = "error"


SEVERITY = list(Verdict)


@dataclass(frozen=True)
class Judgement:
    """One metric of one row.  Accuracies and losses are plain numbers, durations seconds; `advisory` ones warn and never fail a row.

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
class RowVerdict:
    """One row: every judgement, the verdict they sum up to, and whether the row holds.  published_seconds: None where other work was done."""

    row: int
    verdict: Verdict
    holds: bool
    judgements: tuple[Judgement, ...]
    result: RowResult | None
    published_seconds: float | None = None


def judge(results: Results, expectations: Expectations) -> list[RowVerdict]:
    """A verdict for every row the run was asked for, finished or not."""
    return [judge_row(find_row(number), results.rows.get(number), results.info, expectations) for number in results.info.rows]


def judge_row(row: Row, result: RowResult | None, info: RunInfo, expectations: Expectations) -> RowVerdict:
    """The verdict on one row.  A row that differs only in what the person chose is not comparable and still holds; any other mismatch does not."""
    judgements = tuple(_judgements(row, result, info, expectations))
    serious = [judgement.verdict for judgement in judgements if not judgement.advisory]
    verdict = max(serious, key=SEVERITY.index)
    changed = {component for judgement in judgements for component in judgement.changed}
    holds = verdict is Verdict.PASS or (verdict is Verdict.NOT_COMPARABLE and changed <= set(info.chosen))
    published = expectations.published.rows.get(row.number)
    is_published_work = published and result and does_same_work(row, result, published_digests(row, expectations))
    return RowVerdict(row.number, verdict, holds, judgements, result, published.minutes * 60 if published and is_published_work else None)


def _judgements(row: Row, result: RowResult | None, info: RunInfo, expectations: Expectations) -> Iterator[Judgement]:
    tolerances = expectations.tolerances[info.tier]
    baseline = expectations.baselines.get(info.tier, {}).get(info.kind, {}).get(row.number)
    is_published_kind = "published" in tolerances.against and info.precision == "fp32"
    published = expectations.published.rows.get(row.number) if is_published_kind else None
    if result is None:
        yield Judgement("row", Verdict.MISSING, "run", explanation="the run ended before this row did; run it again")
    elif result.error or result.figures is None:
        yield Judgement("row", Verdict.ERROR, "run", explanation=result.error or "no figures")
    elif info.timing_only:
        yield from judge_time_alone(row, result, result.figures, baseline, published, info, expectations)
    elif baseline is None and published is None:
        place = f"{info.tier} / {info.kind}"
        yield Judgement("row", Verdict.MISSING, "expectations", explanation=f"no baseline for row {row.number} under {place}; record one")
    else:
        for against in tolerances.against:
            if against == "published" and published:
                yield from judge_against_published(row, result, result.figures, published, info, expectations)
            if against == "baseline" and baseline:
                yield from judge_against_baseline(result, result.figures, baseline, info, tolerances)


def judge_time_alone(
    row: Row, result: RowResult, figures: Result, baseline: Baseline | None, published: PublishedRow | None, info: RunInfo, expectations: Expectations
) -> Iterator[Judgement]:
    """The duration of a row that ran with random weights, which take as long as any others; all else must be what the expectation had."""
    judgements = []
    if published and does_same_work(row, result, published_digests(row, expectations)):
        judgements.append(judge_published_duration(figures, published, info, expectations))
    if baseline and does_same_work(row, result, baseline.digests):
        judgements.append(judge_recorded_duration(figures, baseline, info, expectations.tolerances[info.tier]))
    comparable = [replace(judgement, advisory=False) for judgement in judgements if judgement.verdict is not Verdict.NOT_COMPARABLE]
    yield from comparable or [
        Judgement("duration", Verdict.NOT_COMPARABLE, "any", figures.train_seconds, explanation="no duration of this work on a machine like this one is known")
    ]


def does_same_work(row: Row, result: RowResult, wanted: Mapping[str, str]) -> bool:
    """Whether a row's time may be compared: all it depends on is as wanted, but for the weights, which cost the same whatever they are."""
    found = result.digests | {"settings": digest_of(result.settings | {"weights": row.experiment.weights})}
    return all(found.get(name) == wanted.get(name) for name in ("settings", "data", "tokenizer"))


def judge_against_baseline(result: RowResult, figures: Result, baseline: Baseline, info: RunInfo, tolerances: Tolerances) -> Iterator[Judgement]:
    """Last losses, accuracies and duration against our own recording, if both depend on the same things."""
    changed = [name for name in sorted(result.digests | baseline.digests) if result.digests.get(name) != baseline.digests.get(name)]
    if changed:
        explanation = f"row {result.row}'s {' and '.join(changed)} changed since this was recorded at {baseline.provenance.git_commit[:10] or 'no commit'}"
        yield Judgement("row", Verdict.NOT_COMPARABLE, "baseline", explanation=explanation, changed=tuple(changed))
        return
    found_last, expected_last = figures.history[-1], baseline.history[-1]
    reach = tolerances.final_loss.relative
    for metric in ("train_loss", "validation_loss"):
        expected = getattr(expected_last, metric)
        band = (expected * (1 - reach), expected * (1 + reach))
        yield in_band(metric, getattr(found_last, metric), expected, band, "baseline", tolerances.final_loss.reason, more_is_better=False)
    for split, count in baseline.counts.items():
        band = accuracy_band(count.accuracy, count.n, tolerances.accuracy)
        found = figures.counts[split].accuracy
        yield in_band(f"{split}_accuracy", found, count.accuracy, band, "baseline", tolerances.accuracy.reason, more_is_better=True)
    yield judge_recorded_duration(figures, baseline, info, tolerances)


def judge_against_published(
    row: Row, result: RowResult, figures: Result, published: PublishedRow, info: RunInfo, expectations: Expectations
) -> Iterator[Judgement]:
    """Accuracies and duration against the published figures, if the run had the published settings, data, tokenizer and weights."""
    wanted = published_digests(row, expectations)
    other = [name for name in wanted if result.digests.get(name) != wanted[name]]
    if other:
        yield Judgement(
            "row", Verdict.NOT_COMPARABLE, "published", explanation=f"this run's {' and '.join(other)} are not the published ones", changed=tuple(other)
        )
        return
    tolerances = expectations.tolerances[info.tier]
    for split, accuracy in published.accuracies.items():
        expected = accuracy.right / accuracy.n if accuracy.right is not None else accuracy.percent / 100
        band = accuracy_band(expected, accuracy.n, tolerances.accuracy)
        found = figures.counts[split].accuracy
        yield in_band(f"{split}_accuracy", found, expected, band, "published", tolerances.accuracy.reason, more_is_better=True)
    yield judge_published_duration(figures, published, info, expectations)


def published_digests(row: Row, expectations: Expectations) -> dict[str, str]:
    """What a row's figures depend on as published."""
    return {
        "settings": digest_of(settings_of(row.experiment)),
        "data": expectations.published.data_digest,
        "tokenizer": expectations.published.tokenizer_digest,
        "weights": PINNED_WEIGHTS[row.experiment.model_size.name].sha256 if row.experiment.weights == "pretrained" else digest_of("random"),
    }


def accuracy_band(expected: float, n: int, tolerance: AccuracyTolerance) -> tuple[float, float]:
    """Lowest and highest accuracy, as fractions, that count as the expected one."""
    points = tolerance.points_below_90 if expected < 0.9 else tolerance.points
    reach = (tolerance.examples or 0) / n + (points or 0) / 100
    rounding = 1e-9  # whole counts divided by n must not fall out of a band that ends on them
    return expected - reach - rounding, expected + reach + rounding


def judge_recorded_duration(figures: Result, baseline: Baseline, info: RunInfo, tolerances: Tolerances) -> Judgement:
    """What the row costs alone against our own recording, both ways: a row that became faster is told as well."""
    recorded = baseline.provenance
    same_hardware = (info.environment.device_name, info.environment.threads) == (recorded.machine, recorded.threads)
    pace = info.calibration_seconds / baseline.calibration_seconds if tolerances.duration.comparable == "calibration" else 1.0
    return judge_duration(figures.train_seconds, baseline.seconds * pace, "baseline", tolerances.duration, recorded.machine, info, same_hardware=same_hardware)


def judge_published_duration(figures: Result, published: PublishedRow, info: RunInfo, expectations: Expectations) -> Judgement:
    """What the row costs alone against the published minutes, from above only: being faster is the point."""
    tolerance = replace(expectations.tolerances[info.tier].duration, at_least=0.0)
    hardware = expectations.published.hardware
    same_hardware = hardware in info.environment.device_name
    return judge_duration(figures.train_seconds, published.minutes * 60, "published", tolerance, hardware, info, same_hardware=same_hardware)


def judge_duration(
    found: float, expected: float, against: str, tolerance: DurationTolerance, hardware: str, info: RunInfo, *, same_hardware: bool
) -> Judgement:
    """Seconds against expected seconds, where the two machines may be compared."""
    if info.plain:
        return Judgement("duration", Verdict.NOT_COMPARABLE, against, found, expected, explanation="the plain way is for audits", advisory=True)
    if tolerance.comparable == "same hardware" and not same_hardware:
        explanation = f"measured on {hardware}, this is another machine"
        return Judgement("duration", Verdict.NOT_COMPARABLE, against, found, expected, explanation=explanation, advisory=True)
    band = (expected * tolerance.at_least, expected * tolerance.at_most)
    judgement = in_band("duration", found, expected, band, against, tolerance.reason, more_is_better=False)
    return replace(judgement, advisory=tolerance.advisory)


def in_band(metric: str, found: float, expected: float, band: tuple[float, float], against: str, reason: str, *, more_is_better: bool) -> Judgement:
    """Pass inside the band, ends included; improved or regressed outside, by the metric's good side."""
    low, high = band
    if low <= found <= high:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.IMPROVED if (found > high) == more_is_better else Verdict.REGRESSED
    return Judgement(metric, verdict, against, found, expected, low, high, explanation=reason)


def expected_accuracies(verdict: RowVerdict) -> dict[SplitName, float]:
    """The accuracies a row was held against, by split; empty where it was not comparable."""
    first: dict[SplitName, float] = {}
    for judgement in verdict.judgements:
        for split in SPLITS:
            if judgement.metric == f"{split}_accuracy" and judgement.expected is not None:
                first.setdefault(split, judgement.expected)
    return first
