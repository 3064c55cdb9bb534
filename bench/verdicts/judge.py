"""A result against what was expected of it -> a verdict per metric and per row."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from bench.expectations import Baseline, Expectations, PublishedAccuracy, PublishedRow, SeedFigures, TierPolicy
from bench.recording.bands import LEVEL, LOSSES, SEED_METRICS, seed_values, seeds_p_value, split_of
from bench.recording.baselines import seed_figures
from bench.recording.traces import traces_of
from bench.results import Results, RowResult, RunInfo
from bench.rows import Row, find_row
from bench.statistics import counts_band
from bench.verdicts.drift import flips_of, is_inside, judge_trace, judge_traces, numerical_band
from bench.verdicts.durations import judge_published_duration, judge_recorded_duration
from bench.verdicts.power import power_of
from bench.verdicts.verdict import SEVERITY, Flips, Judgement, RowVerdict, Strictness, Verdict
from gptcore.dataset import SplitName
from gptcore.experiment import digest_of, settings_of
from gptcore.result import Result
from gptcore.weights import PINNED_WEIGHTS


def judge(results: Results, expectations: Expectations, strictness: Strictness = Strictness.USUAL) -> list[RowVerdict]:
    """A verdict for every row the run was asked for, finished or not."""
    return [judge_row(find_row(number), results.rows.get(number), results.info, expectations, strictness) for number in results.info.rows]


def holds(results: Results, verdicts: Sequence[RowVerdict]) -> bool:
    """Whether a run passes as a whole: every row and every invariant."""
    return all(verdict.holds for verdict in verdicts) and all(invariant.holds for invariant in results.invariants)


def judge_row(row: Row, result: RowResult | None, info: RunInfo, expectations: Expectations, strictness: Strictness = Strictness.USUAL) -> RowVerdict:
    """The verdict on one row.  A row that differs only in what the person chose is not comparable and still holds; any other mismatch does not."""
    baseline = expectations.baselines.get(info.tier, {}).get(info.kind, {}).get(row.number)
    judgements = tuple(_judgements(row, result, baseline, info, expectations))
    serious = [judgement.verdict for judgement in judgements if not judgement.advisory]
    verdict = max(serious, key=SEVERITY.index)
    changed = {component for judgement in judgements for component in judgement.changed}
    chosen = verdict is Verdict.NOT_COMPARABLE and changed <= set(info.chosen)
    tolerated = verdict is Verdict.DRIFTED and not drift_fails(baseline, info, expectations.policies[info.tier], strictness)
    return RowVerdict(
        row.number,
        verdict,
        holds=verdict is Verdict.PASS or chosen or tolerated,
        judgements=judgements,
        result=result,
        published_seconds=published_seconds_of(row, result, expectations),
        flips=same_seed_flips(result, baseline),
        power=power_of(judgements, result, baseline, expectations.published.reruns["test"]),
    )


def drift_fails(baseline: Baseline | None, info: RunInfo, policy: TierPolicy, strictness: Strictness) -> bool:
    """Whether a drifted row does not hold: usually where the tier says so and torch is the baseline's, down to its minor version.

    The device class is the baseline's anyway, since baselines are kept apart by it.
    """
    if strictness is not Strictness.USUAL:
        return strictness is Strictness.STRICT
    return policy.drift_fails and baseline is not None and minor_version(info.environment.packages["torch"]) == minor_version(baseline.provenance.torch)


def minor_version(version: str) -> tuple[str, ...]:
    """Major and minor of a version such as 2.13.0+cpu."""
    return tuple(version.split(".")[:2])


def _judgements(row: Row, result: RowResult | None, baseline: Baseline | None, info: RunInfo, expectations: Expectations) -> Iterator[Judgement]:
    policy = expectations.policies[info.tier]
    is_published_kind = "published" in policy.against and info.precision == "fp32"
    published = expectations.published.rows.get(row.number) if is_published_kind else None
    if result is None:
        yield Judgement("row", Verdict.MISSING, "run", explanation="the run ended before this row did; run it again")
    elif result.error or result.figures is None:
        yield Judgement("row", Verdict.ERROR, "run", explanation=result.error or "no figures")
    elif info.timing_only:
        yield from judge_time_alone(row, result, result.figures, baseline, published, info, expectations)
    else:
        against_published = published and judge_against_published(row, result, result.figures, published, info, expectations)
        against_baseline = baseline and judge_against_baseline(result, result.figures, baseline, info, policy)
        sources = {"published": against_published, "baseline": against_baseline}
        judgements = [judgement for against in policy.against for judgement in sources[against] or ()]
        place = f"{info.tier} / {info.kind}"
        nothing = Judgement("row", Verdict.MISSING, "expectations", explanation=f"no baseline for row {row.number} under {place}; record one")
        yield from judgements or [nothing]


def judge_time_alone(
    row: Row, result: RowResult, figures: Result, baseline: Baseline | None, published: PublishedRow | None, info: RunInfo, expectations: Expectations
) -> Iterator[Judgement]:
    """The duration of a row that ran with random weights, which take as long as any others; all else must be what the expectation had."""
    judgements = []
    if published and does_same_work(row, result, published_digests(row, expectations)):
        judgements.append(judge_published_duration(figures, published, info, expectations))
    if baseline and does_same_work(row, result, baseline.digests):
        judgements.append(judge_recorded_duration(figures, baseline, info, expectations.policies[info.tier].duration))
    comparable = [replace(judgement, advisory=False) for judgement in judgements if judgement.verdict is not Verdict.NOT_COMPARABLE]
    yield from comparable or [
        Judgement("duration", Verdict.NOT_COMPARABLE, "any", figures.train_seconds, explanation="no duration of this work on a machine like this one is known")
    ]


def does_same_work(row: Row, result: RowResult, wanted: Mapping[str, str]) -> bool:
    """Whether a row's time may be compared: all it depends on is as wanted, but for the weights, which cost the same whatever they are."""
    found = result.digests | {"settings": digest_of(result.settings | {"weights": row.experiment.weights})}
    return all(found.get(name) == wanted.get(name) for name in ("settings", "data", "tokenizer"))


def judge_against_baseline(result: RowResult, figures: Result, baseline: Baseline, info: RunInfo, policy: TierPolicy) -> Iterator[Judgement]:
    """Every figure against our own recording, if both depend on the same things; of another seed those that seeds were recorded of."""
    changed = [name for name in sorted(result.digests | baseline.digests) if result.digests.get(name) != baseline.digests.get(name)]
    if changed and not (changed == ["settings"] and is_another_seed(result, baseline)):
        explanation = f"row {result.row}'s {' and '.join(changed)} changed since this was recorded at {baseline.provenance.git_commit[:10] or 'no commit'}"
        yield Judgement("row", Verdict.NOT_COMPARABLE, "baseline", explanation=explanation, changed=tuple(changed))
        return
    if not changed:
        # The plain way moves weights that nothing feels by other rounding than the fast one, which leaves them alone.
        yield from (judgement for judgement in judge_traces(figures, baseline) if not (info.plain and judgement.metric == "weight_norm"))
    for metric in SEED_METRICS:
        yield judge_metric(metric, result, figures, baseline, same_seed=not changed)
    yield judge_recorded_duration(figures, baseline, info, policy.duration)


def is_another_seed(result: RowResult, baseline: Baseline) -> bool:
    """Whether the seed alone differs from what was recorded, and seeds were recorded to hold it against; random weights depend on it, too."""
    settings = result.settings | {"seed": baseline.seed}
    return bool(baseline.bands.seeds) and digest_of(settings) == baseline.digests.get("settings") and settings["weights"] != "random"


def judge_metric(metric: str, result: RowResult, figures: Result, baseline: Baseline, *, same_seed: bool) -> Judgement:
    """One loss or accuracy, of one seed or of several.

    What one seed gave passes inside the numerical band.  Outside, it drifted, or moved for good if what is known of other seeds says so.
    """
    found, recorded = [seed_figures(one) for one in (figures, *result.others.values())], [*baseline.seeds.values()]
    several = len(found) > 1
    before, after = (natural(metric, mean(seed_values(metric, seeds))) for seeds in (recorded if several else [baseline.own], found))
    inside = is_inside(metric, figures, baseline) if same_seed else None
    low, high = numerical_band(metric, baseline) if same_seed else baseline.bands.seeds[metric]
    judgement = Judgement(metric, Verdict.PASS, "baseline", after, before, low, high, explanation=f"rounding in {len(baseline.repeats)} repeats")
    if inside and not several:
        return judgement
    moved = moved_for_good(metric, found, figures, baseline)
    if moved.direction:
        verdict = Verdict.IMPROVED if (moved.direction > 0) == metric.endswith("accuracy") else Verdict.REGRESSED
        return replace(judgement, verdict=verdict, low=moved.low, high=moved.high, explanation=moved.reason)
    if inside is False:
        # Of a loss the evaluation that strays furthest tells more than the last one.
        strayed = judge_trace(metric, traces_of(figures), figures, baseline) if metric in LOSSES else own_count(judgement, figures, baseline)
        return replace(strayed, verdict=Verdict.DRIFTED, explanation=f"{strayed.explanation}; {moved.reason}")
    return replace(judgement, low=moved.low, high=moved.high, explanation=moved.reason)


def own_count(judgement: Judgement, figures: Result, baseline: Baseline) -> Judgement:
    """An accuracy of the recorded seed alone, which is what drifts, whatever other seeds beside it gave."""
    split = split_of(judgement.metric)
    return replace(judgement, found=figures.counts[split].accuracy, expected=baseline.own.counts[split].accuracy)


@dataclass(frozen=True)
class Movement:
    """Whether a figure moved beyond what seeds do: -1 down, 1 up, 0 not provably.  low, high: the band that told, if one did."""

    direction: int
    low: float | None
    high: float | None
    reason: str


def moved_for_good(metric: str, found: Sequence[SeedFigures], figures: Result, baseline: Baseline) -> Movement:
    """By Student's test where there are several seeds on both sides, by the band of one more seed where one is held against several.

    Where only one seed was recorded, accuracies go by McNemar's test of the answers to the same texts, and of losses nothing can be said.
    """
    recorded = [*baseline.seeds.values()]
    after, before = (mean(seed_values(metric, seeds)) for seeds in (found, recorded))
    if len(found) > 1 and len(recorded) > 1:
        p = seeds_p_value(metric, found, recorded)
        reason = f"Student's test of {len(found)} seeds against {len(recorded)}: p = {p:.2g}, level {LEVEL:.2g}"
        return Movement(direction_of(after - before) if p < LEVEL else 0, None, None, reason)
    if metric in baseline.bands.seeds:
        low, high = baseline.bands.seeds[metric]
        value = natural(metric, after)
        direction = direction_of(value - high) if value > high else direction_of(value - low) if value < low else 0
        percent = 100 if metric.endswith("accuracy") else 1
        return Movement(direction, low, high, f"one more seed than {len(recorded)} recorded ones lies from {percent * low:.4g} to {percent * high:.4g}")
    flips = flips_of(split_of(metric), figures, baseline) if metric.endswith("accuracy") else None
    if flips is None:
        known = "one seed was" if len(recorded) == 1 else f"{len(recorded)} seeds were"
        return Movement(0, None, None, f"{known} recorded, so nothing tells what seeds do")
    reason = f"McNemar's exact test: {len(flips.lost)} texts lost, {len(flips.gained)} gained, p = {flips.p:.2g}, level {LEVEL:.2g}"
    return Movement(direction_of(len(flips.gained) - len(flips.lost)) if flips.p < LEVEL else 0, None, None, reason)


def direction_of(difference: float) -> int:
    """The sign."""
    return (difference > 0) - (difference < 0)


def natural(metric: str, value: float) -> float:
    """A value as people read it: seeds are compared by the logarithms of their losses."""
    return value if metric.endswith("accuracy") else math.exp(value)


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
    for split, accuracy in published.accuracies.items():
        yield judge_published_accuracy(split, figures.counts[split].accuracy, accuracy, expectations.published.reruns[split])
    yield judge_published_duration(figures, published, info, expectations)


def judge_published_accuracy(split: SplitName, found: float, published: PublishedAccuracy, reruns: int) -> Judgement:
    """Passes as close as the author's reruns came, drifts inside what two counts from one distribution can differ by, and moved for good outside.

    Nothing is published but counts, so they are compared as if each had texts of its own (Fisher's exact test), which is the most that may be said.
    """
    fewest, most = whole_counts(published)
    n = published.n
    expected = published.percent / 100 if published.right is None else published.right / n
    rounding = 1e-9  # whole counts divided by n must not fall out of a band that ends on them
    near = ((fewest - reruns) / n - rounding, (most + reruns) / n + rounding)
    far = (counts_band(fewest, n, LEVEL).low / n - rounding, counts_band(most, n, LEVEL).high / n + rounding)
    metric = f"{split}_accuracy"
    if near[0] <= found <= near[1]:
        return Judgement(metric, Verdict.PASS, "published", found, expected, *near, explanation=f"the author's reruns moved by at most {reruns}")
    if far[0] <= found <= far[1]:
        reason = f"the author's reruns moved by at most {reruns}; two counts of {n} may differ that much"
        return Judgement(metric, Verdict.DRIFTED, "published", found, expected, *near, explanation=reason)
    verdict = Verdict.IMPROVED if found > expected else Verdict.REGRESSED
    return Judgement(metric, verdict, "published", found, expected, *far, explanation=f"Fisher's exact test of two counts of {n}, level {LEVEL:.2g}")


def whole_counts(published: PublishedAccuracy) -> tuple[int, int]:
    """The published count, twice; or the two around a percentage that is none."""
    if published.right is not None:
        return published.right, published.right
    share = published.percent / 100 * published.n
    return math.floor(share), math.ceil(share)


def published_seconds_of(row: Row, result: RowResult | None, expectations: Expectations) -> float | None:
    """What the row took as published, if the result did the same work."""
    published = expectations.published.rows.get(row.number)
    if published is None or result is None or not does_same_work(row, result, published_digests(row, expectations)):
        return None
    return published.minutes * 60


def published_digests(row: Row, expectations: Expectations) -> dict[str, str]:
    """What a row's figures depend on as published."""
    return {
        "settings": digest_of(settings_of(row.experiment)),
        "data": expectations.published.data_digest,
        "tokenizer": expectations.published.tokenizer_digest,
        "weights": PINNED_WEIGHTS[row.experiment.model_size.name].sha256 if row.experiment.weights == "pretrained" else digest_of("random"),
    }


def same_seed_flips(result: RowResult | None, baseline: Baseline | None) -> Flips | None:
    """Which test texts flipped since the baseline, if all but the code was the same."""
    if baseline is None or result is None or result.figures is None or result.digests != baseline.digests:
        return None
    return flips_of("test", result.figures, baseline)
