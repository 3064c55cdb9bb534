"""What a row would notice: how small a drop of its test accuracy is still told from chance."""

from collections.abc import Sequence

from bench.expectations import Baseline
from bench.recording.bands import LEVEL, seed_values, seeds_grain
from bench.results import RowResult
from bench.statistics import noticed_drop, noticed_drop_of_count
from bench.verdicts.drift import numerical_band
from bench.verdicts.recorded import common_seeds
from bench.verdicts.verdict import Judgement, Power, Verdict

POWER = 0.95
METRIC = "test_accuracy"


def power_of(judgements: Sequence[Judgement], result: RowResult | None, baseline: Baseline | None, reruns: int) -> Power:
    """What the row would have noticed, against what it was judged by; of a baseline with a single seed only a drift.

    reruns: by how many test texts the author's reruns moved.
    """
    judged = {judgement.against: judgement for judgement in judgements if judgement.metric == METRIC and judgement.verdict is not Verdict.NOT_COMPARABLE}
    if result is None or result.figures is None or not judged:
        return Power(None, None)
    count = result.figures.counts["test"]
    if baseline is None or "baseline" not in judged:
        published = judged["published"]
        assert published.expected is not None  # noqa: S101 - as every judgement of a published accuracy has
        return Power((reruns + 1) / count.n, noticed_drop_of_count(round(published.expected * count.n), count.n, LEVEL, POWER))
    is_own_seed = result.digests == baseline.digests
    low, _ = numerical_band(METRIC, baseline)
    drift = drop_beyond(baseline.own.counts["test"].accuracy, low, count.n) if is_own_seed and low is not None else None
    seeds = [*baseline.seeds.values()]
    if METRIC not in baseline.bands.seeds:
        return Power(drift, None)
    found = [result.seed, *result.others]
    against_themselves = bool(common_seeds(found, baseline))
    level, n_before = (LEVEL / 2, len(found)) if against_themselves else (LEVEL, None)  # there are two tests then (see `same_seeds_test`)
    values, grain = seed_values(METRIC, seeds), seeds_grain(METRIC, seeds)
    return Power(drift, noticed_drop(values, level, n_found=len(found), n_before=n_before, power=POWER, grain=grain))


def drop_beyond(expected: float, low: float, n: int) -> float:
    """The smallest drop in whole texts that leaves a band, as a fraction."""
    return expected - low + 1 / n
