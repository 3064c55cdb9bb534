"""A result against the published figures: single counts, and minutes measured once."""

import math
from collections.abc import Iterator, Mapping

from bench.expectations import Expectations, PublishedAccuracy, PublishedRow
from bench.recording.bands import LEVEL
from bench.results import RowResult, RunInfo
from bench.rows import Row
from bench.statistics import counts_band
from bench.verdicts.durations import judge_published_duration
from bench.verdicts.verdict import Judgement, Verdict
from gptcore.dataset import SplitName
from gptcore.experiment import digest_of, settings_of
from gptcore.hub import PINNED_WEIGHTS
from gptcore.result import Result


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
    yield judge_published_duration(result, figures, published, info, expectations)


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


def does_same_work(row: Row, result: RowResult, wanted: Mapping[str, str]) -> bool:
    """Whether a row's time may be compared: all it depends on is as wanted, but for the weights, which cost the same whatever they are."""
    found = result.digests | {"settings": digest_of(result.settings | {"weights": row.experiment.weights})}
    return all(found.get(name) == wanted.get(name) for name in ("settings", "data", "tokenizer"))
