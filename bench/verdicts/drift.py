"""The numerical question: did the same seed compute the same, but for rounding?"""

from collections.abc import Iterator

from bench.expectations import LOSSES, Baseline
from bench.recording.bands import SINGLE_PRECISION, split_of
from bench.recording.traces import Traces, place_of, traces_of
from bench.statistics import mcnemar
from bench.verdicts.verdict import Flips, Judgement, Verdict
from bench.wording import counted
from gptcore.dataset import SplitName
from gptcore.result import Result


def judge_traces(figures: Result, baseline: Baseline) -> Iterator[Judgement]:
    """One judgement for every trace but the losses, which are judged by seeds as well, and one for the margins: where a figure strays furthest."""
    found = traces_of(figures)
    for name in baseline.bands.traces:
        if name not in LOSSES:
            yield judge_trace(name, found, figures, baseline)
    for split, reach in baseline.bands.margins.items():
        yield judge_margins(split, reach, figures, baseline)


def judge_trace(name: str, found: Traces, figures: Result, baseline: Baseline) -> Judgement:
    """The number of a trace that strays furthest, as a multiple of its band."""
    values, recorded, reaches = found[name], baseline.traces[name], baseline.bands.traces[name]
    if len(values) != len(recorded):
        return Judgement(name, Verdict.DRIFTED, "baseline", explanation=f"{counted(len(values), 'number')} instead of {len(recorded)}")
    worst = max(range(len(values)), key=lambda index: excess(values[index] - recorded[index], reaches[index]))
    inside = excess(values[worst] - recorded[worst], reaches[worst]) <= 1
    low, high = recorded[worst] - reaches[worst], recorded[worst] + reaches[worst]
    return Judgement(
        name,
        Verdict.PASS if inside else Verdict.DRIFTED,
        "baseline",
        values[worst],
        recorded[worst],
        low,
        high,
        explanation=f"rounding in {counted(len(baseline.repeats), 'repeat')}{place_of(name, worst, figures)}",
    )


def excess(deviation: float, reach: float) -> float:
    """The deviation as a multiple of its reach; differences of floating-point numbers that should be zero are."""
    if reach == 0:
        return 0.0 if deviation == 0 else float("inf")
    return abs(deviation) / (reach * (1 + SINGLE_PRECISION))


def judge_margins(split: SplitName, reach: float, figures: Result, baseline: Baseline) -> Judgement:
    """The text whose margin moved most."""
    found, recorded = figures.margins[split], baseline.margins[split]
    metric = f"{split}_margins"
    if len(found) != len(recorded):
        return Judgement(metric, Verdict.DRIFTED, "baseline", explanation=f"{counted(len(found), 'text')} instead of {len(recorded)}")
    worst = max(range(len(found)), key=lambda index: abs(found[index] - recorded[index]))
    inside = abs(found[worst] - recorded[worst]) <= reach
    explanation = f"rounding in {counted(len(baseline.repeats), 'repeat')}, text {worst + 1} moved most"
    low, high = recorded[worst] - reach, recorded[worst] + reach
    return Judgement(metric, Verdict.PASS if inside else Verdict.DRIFTED, "baseline", found[worst], recorded[worst], low, high, explanation=explanation)


def is_inside(metric: str, figures: Result, baseline: Baseline) -> bool | None:
    """Whether a loss (at every evaluation) or an accuracy is inside its numerical band; None for losses without repeats that tell."""
    if metric not in LOSSES:
        low, high = counts_within(metric, baseline)
        return low <= figures.counts[split_of(metric)].right <= high
    if metric not in baseline.bands.traces:
        return None
    return judge_trace(metric, traces_of(figures), figures, baseline).verdict is Verdict.PASS


def numerical_band(metric: str, baseline: Baseline) -> tuple[float | None, float | None]:
    """The numerical band of the last loss or of an accuracy."""
    if metric not in LOSSES:
        low, high = counts_within(metric, baseline)
        n = baseline.own.counts[split_of(metric)].n
        return low / n, high / n
    if metric not in baseline.bands.traces:
        return None, None
    last, reach = baseline.traces[metric][-1], baseline.bands.traces[metric][-1]
    return last - reach, last + reach


def counts_within(metric: str, baseline: Baseline) -> tuple[int, int]:
    """Fewest and most right ones; without repeats the recorded count."""
    split = split_of(metric)
    right = baseline.own.counts[split].right
    return baseline.bands.counts.get(split, (right, right))


def flips_of(split: SplitName, figures: Result, baseline: Baseline) -> Flips | None:
    """Which texts the same seed lost and gained, of those both runs asked for; None where that was not recorded."""
    if split not in baseline.own.answers:
        return None
    before, after = baseline.own.answers[split], figures.answers[split]
    if before.n != after.n:
        return None
    both = zip(before.is_right(), after.is_right(), before.is_asked(), after.is_asked(), strict=True)
    flipped = [(number, was, now) for number, (was, now, was_asked, now_asked) in enumerate(both) if was_asked and now_asked and was != now]
    lost, gained = (tuple(number for number, was, _ in flipped if was is way) for way in (True, False))
    return Flips(lost, gained, mcnemar(len(lost), len(gained)))
