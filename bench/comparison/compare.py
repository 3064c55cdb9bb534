"""Two sides, each one or several runs of the same code: what moved between them, row by row and metric by metric."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import median

from bench.comparison.circumstances import are_identical, common_seeds, have_same_texts, notes_on, obstacle_to_durations, obstacle_to_memory, seeds_of
from bench.comparison.contrasts import Contrast, Loss, accuracy_contrast, cost_contrast, counts_contrast, loss_contrast
from bench.results import Results, RowResult, read_results
from bench.statistics import Interval, holm
from bench.verdicts.memory import GRAIN
from bench.wording import row_ranges, rows_named
from gptcore.dataset import SPLITS, SplitName
from gptcore.errors import UserError
from gptcore.result import Result

LEVEL = 0.05
ACCURACIES: dict[str, SplitName] = {f"{split}_accuracy": split for split in SPLITS}
LOSSES: dict[str, Loss] = {"train_loss": "train_loss", "validation_loss": "validation_loss"}
DURATION = "duration"
PEAK_MEMORY = "peak_memory"
COSTS = {DURATION: obstacle_to_durations, PEAK_MEMORY: obstacle_to_memory}
EVERY_METRIC = "every metric"


class CompareError(UserError):
    """Results that cannot be compared at all."""


class Verdict(StrEnum):
    """What became of a metric; a row is known by the last of its metrics' verdicts in this order.

    same: bit-identical, or of memory as far as it can be measured.  indistinguishable: it differs, by no more than chance explains.
    not tested: it differs, and nothing tells what chance does to it.
    """

    SAME = "same"
    NOT_TESTED = "not tested"
    INDISTINGUISHABLE = "indistinguishable"
    NOT_COMPARABLE = "not comparable"
    FASTER = "faster"
    SLOWER = "slower"
    LESS_MEMORY = "less memory"
    MORE_MEMORY = "more memory"
    BETTER = "better"
    WORSE = "worse"
    MISSING = "missing"
    ERROR = "error"


@dataclass(frozen=True)
class Comparison:
    """One metric of one row, or every metric of a row that is missing or failed.

    base, head: accuracies as fractions, losses, seconds, bytes; the mean over the common seeds, of seconds and bytes the median over the runs.
    difference: head - base, of seconds and bytes head / base.  interval: 95 %, of this difference alone.
    p: of the test that the explanation names.  adjusted: p corrected for all that was tested, which the verdict goes by.  (See `holm`.)
    notes: what else differs between the sides, the same for all metrics of a row.
    """

    row: int
    name: str
    metric: str
    verdict: Verdict
    explanation: str
    base: float | None = None
    head: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    adjusted: float | None = None
    notes: tuple[str, ...] = ()


def compare_folders(base: Path, head: Path, rows: Collection[int] | None = None) -> list[Comparison]:
    """Compare two results folders, all rows or some.  Raises UserError where one cannot be read, their tiers differ, or neither was asked for such a row."""
    return compare([read_results(base)], [read_results(head)], rows)


def compare(base: Sequence[Results], head: Sequence[Results], rows: Collection[int] | None = None) -> list[Comparison]:
    """Every metric of the rows, by default of all that any run was asked for.  Each side has one run or several; the n-th of both ran in turn.

    Where nothing changed, the chance that any metric of any row is called better or worse is at most LEVEL; another LEVEL goes to
    durations and memory.
    Raises CompareError for runs of different tiers, and for rows that no run was asked for.
    """
    tiers = {run.info.tier for run in (*base, *head)}
    if len(tiers) > 1:
        raise CompareError(f"results of the {' and the '.join(sorted(tiers))} tier have no figure in common: name two of the same tier")
    asked = {number for run in (*base, *head) for number in run.info.rows}
    if absent := sorted(set(rows or ()) - asked):
        raise CompareError(f"neither side was asked for {rows_named(absent)}: choose from {row_ranges(asked)} with --rows")
    numbers = sorted(asked if rows is None else rows)
    return _judged([comparison for number in numbers for comparison in _compare_row(number, base, head)])


def exit_code(comparisons: Sequence[Comparison], *, judge_costs: bool = False) -> int:
    """1 where a metric got worse, or accuracies and losses cannot be compared, or a row is missing or failed, else 0.

    Durations and memory count on request only: all else that a machine does moves them too.
    """
    failing = {Verdict.WORSE, Verdict.MISSING, Verdict.ERROR} | ({Verdict.SLOWER, Verdict.MORE_MEMORY} if judge_costs else set())
    apart = any(comparison.verdict is Verdict.NOT_COMPARABLE and comparison.metric not in COSTS for comparison in comparisons)
    return int(apart or any(comparison.verdict in failing for comparison in comparisons))


def _compare_row(number: int, base: Sequence[Results], head: Sequence[Results]) -> Iterator[Comparison]:
    """All metrics of one row, before the correction for their number."""
    before, after = ([run.rows[number] for run in runs if number in run.rows] for runs in (base, head))
    sides = (("BASE", before, base), ("HEAD", after, head))
    whole = Comparison(number, next((row.name for row in (*before, *after)), ""), EVERY_METRIC, Verdict.MISSING, "")
    absent = [side for side, rows, runs in sides if len(rows) < len(runs)]
    failures = [f"{side}: {row.failure}" for side, rows, _ in sides for row in rows if row.error or not row.figures]
    if absent:
        yield replace(whole, explanation=f"there is no such row in {' nor in '.join(absent)}")
    elif failures:
        yield replace(whole, verdict=Verdict.ERROR, explanation="; ".join(dict.fromkeys(failures)))
    else:
        notes = notes_on(base, head, number)
        texts = "" if have_same_texts(before[0], after[0]) else "the texts are not the same"
        for metric in _metrics((*base, *head), (*before, *after)):
            obstacle = texts or (COSTS[metric]((*base, *head)) if metric in COSTS else "")
            contrast = None if obstacle else _contrast(metric, before, after)
            blank = replace(whole, metric=metric, base=_value(metric, before), head=_value(metric, after), notes=notes)
            if contrast is None:
                yield replace(blank, verdict=Verdict.NOT_COMPARABLE, explanation=obstacle or "no text was asked for on both sides")
            else:
                yield _filled(blank, contrast, is_known=metric not in COSTS and are_identical(before[0], after[0]))


def _filled(blank: Comparison, contrast: Contrast, *, is_known: bool) -> Comparison:
    """A comparison with what its contrast says.  is_known: the row is bit-identical, so nothing is left to test or to correct for."""
    filled = replace(blank, base=contrast.base, head=contrast.head, difference=contrast.difference)
    if is_known:
        return replace(filled, verdict=Verdict.SAME, explanation="all figures of the row are bit-identical")
    verdict = Verdict.SAME if contrast.is_same else Verdict.NOT_TESTED if contrast.p is None else Verdict.INDISTINGUISHABLE
    return replace(filled, verdict=verdict, explanation=contrast.reason, interval=contrast.interval, p=contrast.p)


def _metrics(runs: Sequence[Results], rows: Sequence[RowResult]) -> Iterator[str]:
    """What is compared: costs alone where random weights stand in for the row's own, memory where it was measured."""
    if not any(run.info.timing_only for run in runs):
        yield from (*ACCURACIES, *LOSSES)
    yield DURATION
    if all(row.peak_memory for row in rows):
        yield PEAK_MEMORY


def _contrast(metric: str, before: Sequence[RowResult], after: Sequence[RowResult]) -> Contrast | None:
    """A metric that can be compared.  None where the sides were asked for different texts."""
    if metric == DURATION:
        return cost_contrast(_seconds(before), _seconds(after))
    if metric == PEAK_MEMORY:
        return cost_contrast(_bytes(before), _bytes(after), grain=GRAIN)
    own = (_own_figures(before[0]), _own_figures(after[0]))
    pairs = common_seeds(before[0], after[0])
    if metric in ACCURACIES:
        split = ACCURACIES[metric]
        return accuracy_contrast(pairs, split) if pairs else counts_contrast(own[0].counts[split], own[1].counts[split])
    if pairs:
        return loss_contrast(pairs, LOSSES[metric])
    return replace(loss_contrast([own], LOSSES[metric]), reason="no common seed: run both sides with the same --seed")


def _value(metric: str, rows: Sequence[RowResult]) -> float:
    """A metric of one side by itself."""
    figures = _own_figures(rows[0])
    if metric == DURATION:
        return median(_seconds(rows))
    if metric == PEAK_MEMORY:
        return median(_bytes(rows))
    if metric in ACCURACIES:
        return figures.counts[ACCURACIES[metric]].accuracy
    return float(getattr(figures.history[-1], LOSSES[metric]))


def _judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with their final verdicts.  Costs are a family of their own, lest they take power from the other metrics."""
    judged = list(comparisons)
    for is_cost in (False, True):
        tested = [(index, found.p) for index, found in enumerate(judged) if found.p is not None and (found.metric in COSTS) is is_cost]
        for (index, _), adjusted in zip(tested, holm([p for _, p in tested]), strict=True):
            judged[index] = _corrected(judged[index], adjusted, len(tested))
    return judged


def _corrected(found: Comparison, adjusted: float, n_tests: int) -> Comparison:
    """A tested metric with its corrected p-value, and the verdict that this allows."""
    correction = f", corrected for {n_tests} tests {adjusted:.2g}" if n_tests > 1 else ""
    explanation = f"{found.explanation}: p = {found.p:.2g}{correction}"
    return replace(found, verdict=_direction(found) if adjusted < LEVEL else found.verdict, adjusted=adjusted, explanation=explanation)


def _direction(found: Comparison) -> Verdict:
    """What a significant difference is called."""
    if found.metric in COSTS:  # the medians' ratio may lie on the other side of 1 than the interval, which the test goes with
        is_more = found.interval is not None and found.interval.low > 1
        more, less = (Verdict.SLOWER, Verdict.FASTER) if found.metric == DURATION else (Verdict.MORE_MEMORY, Verdict.LESS_MEMORY)
        return more if is_more else less
    grew = found.difference is not None and found.difference > 0
    return Verdict.BETTER if grew == (found.metric in ACCURACIES) else Verdict.WORSE


def _own_figures(row: RowResult) -> Result:
    return seeds_of(row)[row.seed]


def _seconds(rows: Sequence[RowResult]) -> list[float]:
    return [_own_figures(row).train_seconds for row in rows]


def _bytes(rows: Sequence[RowResult]) -> list[float]:
    return [float(row.peak_memory or 0) for row in rows]
