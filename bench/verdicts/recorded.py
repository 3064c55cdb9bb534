"""A result against our own recording: the same seed figure by figure, other seeds by what seeds do."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import mean

from bench.expectations import LOSSES, SEED_METRICS, Baseline, SeedFigures, TierPolicy
from bench.recording.bands import LEVEL, SINGLE_PRECISION, seed_values, seeds_grain, seeds_p_value, split_of
from bench.recording.baselines import seed_figures
from bench.recording.traces import traces_of
from bench.results import RowResult, RunInfo
from bench.statistics import same_seeds_test
from bench.verdicts.drift import flips_of, is_inside, judge_trace, judge_traces, numerical_band
from bench.verdicts.durations import judge_recorded_duration
from bench.verdicts.memory import judge_peak_memory
from bench.verdicts.verdict import Flips, Judgement, Verdict
from bench.wording import counted
from gptcore.experiment import digest_of
from gptcore.result import Result


def judge_against_baseline(result: RowResult, figures: Result, baseline: Baseline, info: RunInfo, policy: TierPolicy) -> Iterator[Judgement]:
    """Every figure against our own recording, if both depend on the same things; of another seed those that seeds were recorded of."""
    changed = [name for name in sorted(result.digests | baseline.digests) if result.digests.get(name) != baseline.digests.get(name)]
    if changed and not (changed == ["settings"] and "settings" in info.chosen and is_another_seed(result, baseline)):
        explanation = f"row {result.row}'s {' and '.join(changed)} changed since this was recorded at {baseline.provenance.git_commit[:10] or 'no commit'}"
        yield Judgement("row", Verdict.NOT_COMPARABLE, "baseline", explanation=explanation, changed=tuple(changed))
        return
    if not changed:
        # The plain way moves weights that nothing feels by other rounding than the fast one, which leaves them alone.
        yield from (judgement for judgement in judge_traces(figures, baseline) if not (info.plain and judgement.metric == "weight_norm"))
    for metric in SEED_METRICS:
        yield judge_metric(metric, result, figures, baseline, same_seed=not changed)
    yield judge_recorded_duration(result, figures, baseline, info, policy.duration)
    if memory := judge_peak_memory(result, baseline, info, policy.duration):
        yield memory


def is_another_seed(result: RowResult, baseline: Baseline) -> bool:
    """Whether the seed alone differs from what was recorded, and seeds were recorded to hold it against; random weights depend on it, too."""
    settings = result.settings | {"seed": baseline.seed}
    return bool(baseline.bands.seeds) and digest_of(settings) == baseline.digests.get("settings") and settings["weights"] != "random"


def judge_metric(metric: str, result: RowResult, figures: Result, baseline: Baseline, *, same_seed: bool) -> Judgement:
    """One loss or accuracy, of one seed or of several.

    What one seed gave passes inside the numerical band.  Outside, it drifted, or moved for good if what is known of other seeds says so.
    """
    found = {seed: seed_figures(one) for seed, one in {result.seed: figures, **result.others}.items()}
    several = len(found) > 1
    known = ([baseline.seeds[seed] for seed in common_seeds(found, baseline)] or [*baseline.seeds.values()]) if several else [baseline.own]
    before, after = (natural(metric, mean(seed_values(metric, seeds))) for seeds in (known, [*found.values()]))
    inside = is_inside(metric, figures, baseline) if same_seed else None
    low, high = numerical_band(metric, baseline) if same_seed else baseline.bands.seeds[metric]
    judgement = Judgement(metric, Verdict.PASS, "baseline", after, before, low, high, explanation=f"rounding in {counted(len(baseline.repeats), 'repeat')}")
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


def common_seeds(found: Collection[int], baseline: Baseline) -> list[int]:
    """The seeds of a run that were recorded, if all were: then they can be compared one by one."""
    return list(found) if len(found) > 1 and baseline.seeds.keys() >= set(found) else []


def moved_for_good(metric: str, found: Mapping[int, SeedFigures], figures: Result, baseline: Baseline) -> Movement:
    """By Student's test where there are several seeds on both sides, by the band of one more seed where one is held against several.

    Where the very seeds were recorded they are compared with themselves, since what a seed draws moves both sides alike; see `same_seeds_test`.
    Where only one seed was recorded, accuracies go by McNemar's test of the answers to the same texts, and of losses nothing can be said.
    """
    recorded = [*baseline.seeds.values()]
    after = mean(seed_values(metric, [*found.values()]))
    if common := common_seeds(found, baseline):
        now, before = (seed_values(metric, [of[seed] for seed in common]) for of in (found, baseline.seeds))
        grain = seeds_grain(metric, recorded) or relative_rounding(metric, baseline)
        p = same_seeds_test(now, before, seed_values(metric, recorded), grain=grain)
        reason = f"{counted(len(common), 'seed')} against themselves, paired t-test or Student's, twice the smaller p: p = {p:.2g}, level {LEVEL:.2g}"
        return Movement(direction_of(mean(now) - mean(before)) if p < LEVEL else 0, None, None, reason)
    if len(found) > 1 and len(recorded) > 1:
        p = seeds_p_value(metric, [*found.values()], recorded)
        reason = f"Student's test of {len(found)} seeds against {len(recorded)}: p = {p:.2g}, level {LEVEL:.2g}"
        return Movement(direction_of(after - mean(seed_values(metric, recorded))) if p < LEVEL else 0, None, None, reason)
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
    reason = f"McNemar's exact test: {counted(len(flips.lost), 'text')} lost, {len(flips.gained)} gained, p = {flips.p:.2g}, level {LEVEL:.2g}"
    return Movement(direction_of(len(flips.gained) - len(flips.lost)) if flips.p < LEVEL else 0, None, None, reason)


def relative_rounding(metric: str, baseline: Baseline) -> float:
    """How far rounding moves the last loss, relatively, so that what it does to every seed alike proves nothing."""
    low, high = numerical_band(metric, baseline)
    last = baseline.traces[metric][-1]
    return SINGLE_PRECISION if low is None or high is None or last <= 0 else (high - low) / last


def direction_of(difference: float) -> int:
    """The sign."""
    return (difference > 0) - (difference < 0)


def natural(metric: str, value: float) -> float:
    """A value as people read it: seeds are compared by the logarithms of their losses."""
    return value if metric.endswith("accuracy") else math.exp(value)


def same_seed_flips(result: RowResult | None, baseline: Baseline | None) -> Flips | None:
    """Which test texts flipped since the baseline, if all but the code was the same."""
    if baseline is None or result is None or result.figures is None or result.digests != baseline.digests:
        return None
    return flips_of("test", result.figures, baseline)
