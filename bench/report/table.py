"""The one table and the sentences under it, as plain strings that the terminal and Markdown both print."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.recording.bands import FLAGGED_RUNS, N_ROWS
from bench.results import Results, RowResult
from bench.verdicts.verdict import Judgement, RowVerdict, Verdict
from bench.wording import counted, row_ranges, share
from gptcore.dataset import SPLITS, SplitName
from gptcore.result import Result

COLUMNS = (
    "row",
    "what it changes",
    *(f"{split} %" for split in SPLITS),
    "expected %",
    "difference",
    "notices",
    "seconds",
    "this run",
    "peak MB",
    "x published",
    "verdict",
)


WARNINGS = {
    ("duration", Verdict.REGRESSED): "slower",
    ("duration", Verdict.IMPROVED): "faster",
    ("peak_memory", Verdict.REGRESSED): "more memory",
}


def table_cells(verdicts: Sequence[RowVerdict]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header, and one tuple of cells per row.

    Accuracies are percentages, means where there are several seeds, differences percentage points.  notices: see `NOTICES`.  seconds: what the row costs
    alone and from cold; this run: what it took, with what other rows had paid for; x published: how many times faster the former is than the published
    minutes; peak MB: the most memory that was held, in millions of bytes.  Notices, peak MB and x published are left out where no row has any.
    """
    rows = [row_cells(verdict) for verdict in verdicts]
    columns = [name for name in COLUMNS if name not in ("x published", "notices", "peak MB") or any(row[name] != "-" for row in rows)]
    return tuple(columns), [tuple(row[name] for name in columns) for row in rows]


def row_cells(verdict: RowVerdict) -> dict[str, str]:
    """The cells of one row by column; a dash where there is nothing to say."""
    cells = dict.fromkeys(COLUMNS, "-") | {"row": str(verdict.row), "what it changes": verdict.name, "verdict": verdict_text(verdict)}
    if verdict.result is None or verdict.result.figures is None:
        return cells
    figures = verdict.result.figures
    cells |= {"seconds": f"{figures.train_seconds:.2f}", "this run": f"{total_seconds(verdict.result):.2f}"}
    if verdict.result.peak_memory:
        cells["peak MB"] = megabytes(verdict.result.peak_memory)
    if verdict.published_seconds:
        cells["x published"] = f"{verdict.published_seconds / figures.train_seconds:.2f}"
    found = {split: statistics.mean(seed.counts[split].accuracy for seed in (figures, *verdict.result.others.values())) for split in SPLITS}
    cells |= {f"{split} %": f"{100 * found[split]:.2f}" for split in SPLITS}
    if (power := verdict.power).drift is not None or power.drop is not None:
        cells["notices"] = " / ".join("-" if drop is None else f"{100 * drop:.1f}" for drop in (power.drift, power.drop))
    expected = expected_accuracies(verdict)
    if expected:
        cells["expected %"] = " / ".join(f"{100 * expected[split]:.1f}" for split in SPLITS)
        cells["difference"] = " / ".join(f"{100 * (found[split] - expected[split]):+.1f}" for split in SPLITS)
    return cells


def expected_accuracies(verdict: RowVerdict) -> dict[SplitName, float]:
    """The accuracies a row was held against, by split; empty where it was not comparable."""
    first: dict[SplitName, float] = {}
    for judgement in verdict.judgements:
        for split in SPLITS:
            if judgement.metric == f"{split}_accuracy" and judgement.expected is not None:
                first.setdefault(split, judgement.expected)
    return first


def total_seconds(result: RowResult) -> float:
    """What all seeds of a row took this time."""
    return sum(figures.real_seconds for figures in (result.figures, *result.others.values()) if figures)


def verdict_text(verdict: RowVerdict) -> str:
    """The verdict, with a word on what only warns."""
    if verdict.verdict is Verdict.DRIFTED and verdict.holds:
        return f"{verdict.verdict} (warning)"
    warns = [judgement for judgement in verdict.judgements if judgement.advisory and judgement.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    return str(verdict.verdict) + "".join(f", {WARNINGS[judgement.metric, judgement.verdict]}" for judgement in warns)


def closing_line(verdicts: Sequence[RowVerdict]) -> str:
    """How many rows hold, and how many there was nothing to compare with."""
    apart = [verdict for verdict in verdicts if verdict.verdict is Verdict.NOT_COMPARABLE]
    n_judged = len(verdicts) - len(apart)
    holding = sum(verdict.holds for verdict in verdicts if verdict not in apart)
    said = share(holding, n_judged, "judged row") if n_judged else "no row was judged"
    chosen = " (other inputs were named than the recorded ones)" if any(verdict.holds for verdict in apart) else ""
    return said + (f"; {len(apart)} not comparable{chosen}" if apart else "")


@dataclass(frozen=True)
class Told:
    """What there is to say of one row: a headline, a sentence per metric that moved, test texts that flipped by what they did, and the row's own command."""

    headline: str
    sentences: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    command: str
    holds: bool


def explanations(results: Results, verdicts: Sequence[RowVerdict]) -> list[Told]:
    """For every row that does not hold, or warns: what moved, from what to what, and the band.  As the person chose, the closing line says once."""
    told = []
    for verdict in verdicts:
        sentences = [explain(judgement) for judgement in verdict.judgements if worth_telling(judgement)]
        if sentences and not (verdict.holds and verdict.verdict is Verdict.NOT_COMPARABLE):
            headline = f"row {verdict.row} ({verdict.name}): {verdict_text(verdict)}"
            flipped, texts = ([], []) if verdict.holds else flipped_texts(verdict, results)
            told.append(Told(headline, (*sentences, *flipped), tuple(texts), own_command(verdict, results), verdict.holds))
    return told


def own_command(verdict: RowVerdict, results: Results) -> str:
    """The command that runs a row alone, with all that the run was asked besides; all rows of the run where memory is all that moved, which they share."""
    moved = {judgement.metric for judgement in verdict.judgements if worth_telling(judgement)}
    return f"{results.info.command} --rows {row_ranges(results.info.rows) if moved == {'peak_memory'} else verdict.row}"


def flipped_texts(verdict: RowVerdict, results: Results) -> tuple[list[str], list[tuple[str, str]]]:
    """How many test texts flipped since the baseline, and which: those that went from right to wrong, then those from wrong to right."""
    flips = verdict.flips
    if flips is None or not (flips.lost or flips.gained):
        return [], []
    said = f"{counted(len(flips.lost), 'test text')} went from right to wrong, {len(flips.gained)} from wrong to right (McNemar's exact p = {flips.p:.2g})"
    known = results.test_texts
    flipped = [*(("right to wrong", number) for number in flips.lost), *(("wrong to right", number) for number in flips.gained)]
    return [said], [(f"{how}, text {number + 1}", known[number] if number < len(known) else "(not kept)") for how, number in flipped]


def notes(results: Results, verdicts: Sequence[RowVerdict]) -> list[str]:
    """The lines under the table: what a column means, what several seeds gave, what leaked."""
    powers = [verdict.power for verdict in verdicts]
    known = [NOTICES] if any(power.drift is not None or power.drop is not None for power in powers) else []
    if all(power.drift is not None and power.drop is not None for power in powers) and not any(map(is_published, verdicts)):
        known.append(clean_line(len(verdicts)))
    return [*known, *seed_lines(results), *leak_lines(results), *invariant_lines(results)]


def is_published(verdict: RowVerdict) -> bool:
    """Whether a row was held against the publication, whose bands are not of our making."""
    return any(judgement.against == "published" for judgement in verdict.judgements)


def invariant_lines(results: Results) -> list[str]:
    """What was checked of the run itself: the number of invariants that hold, and every one that does not."""
    if not results.invariants:
        return broken_lines(results)
    holding = [invariant.name for invariant in results.invariants if invariant.holds]
    held = share(len(holding), len(results.invariants), "invariant")
    return [f"{held}: {'; '.join(holding)}" if holding else held, *broken_lines(results)]


def broken_lines(results: Results) -> list[str]:
    """Why a run does not hold as a whole, whatever its rows do."""
    if results.invariants is None:
        return ["the run broke off before its invariants were checked, so it does not hold as a whole: go on with `run --resume FOLDER`"]
    return [f"invariant broken: {invariant.name} ({invariant.explanation})" for invariant in results.invariants if not invariant.holds]


NOTICES = "notices: the drop of test accuracy, in points, that leaves the numerical band (same seed) / that is called regressed with 95 % power (any seed)"


def clean_line(n_rows: int = N_ROWS) -> str:
    """How often a clean run of so many rows is flagged: the level of each row is the one that the nineteen need."""
    of_row = FLAGGED_RUNS / N_ROWS
    which, of_run = ("all rows", f"{FLAGGED_RUNS:.0%}") if n_rows == N_ROWS else ("these rows", f"{n_rows * of_row:.2%}")
    return (
        f"a clean run of {which} is flagged in at most {of_run} of runs for rounding and {of_run} for its seeds, a single row in at "
        f"most {of_row:.2%} of runs for each, by the way the bands are derived"
    )


def leak_lines(results: Results) -> list[str]:
    """For every row its accuracy on the validation and test texts that do not stand verbatim in train, and the difference that makes."""
    told = {number: leaks_of(result.figures) for number, result in results.rows.items() if result.figures}
    lines = [f"row {number}, texts that do not stand in train: {', '.join(leaks)}" for number, leaks in told.items() if leaks]
    return lines or (["no validation or test text stands verbatim in train"] if told else [])


def leaks_of(figures: Result) -> list[str]:
    """What each split gives without the texts that stand in train, where some do."""
    parts = []
    for split in SPLITS[1:]:
        unseen, count = figures.unseen.get(split), figures.counts[split]
        if unseen is None:
            parts.append(f"{split} none, all {count.n} stand there")
        elif unseen.n < count.n:
            parts.append(f"{split} {percent(unseen.accuracy)} of {unseen.n} ({100 * (unseen.accuracy - count.accuracy):+.2f} points)")
    return parts


def seed_lines(results: Results) -> list[str]:
    """For every row with several seeds: mean, standard deviation and range of its test accuracy."""
    lines = []
    for number, result in results.rows.items():
        if result.figures and result.others:
            tests = [100 * figures.counts["test"].accuracy for figures in (result.figures, *result.others.values())]
            lines.append(
                f"row {number}, {len(tests)} seeds: test accuracy {statistics.mean(tests):.2f} +- {statistics.stdev(tests):.2f} % "
                f"({min(tests):.2f} to {max(tests):.2f})"
            )
    return lines


def worth_telling(judgement: Judgement) -> bool:
    """Whether a person should read about it: anything but a pass, and of durations only those that moved."""
    return judgement.verdict is not Verdict.PASS and not (judgement.advisory and judgement.verdict is Verdict.NOT_COMPARABLE)


def explain(judgement: Judgement) -> str:
    """One judgement as a sentence."""
    if judgement.found is None or judgement.expected is None:
        metric = "" if judgement.metric == "row" else f"{judgement.metric.replace('_', ' ')} "
        return f"{metric}{judgement.verdict}: {judgement.explanation}"
    number = written(judgement.metric)
    warning = "warning, " if judgement.advisory else ""
    band = "" if judgement.low is None or judgement.high is None else f", allowed {number(judgement.low)} to {number(judgement.high)}"
    return (
        f"{warning}{judgement.metric.replace('_', ' ')} {judgement.verdict} from {number(judgement.expected)} to {number(judgement.found)}{band} "
        f"({judgement.against}; {judgement.explanation})"
    )


def written(metric: str) -> Callable[[float], str]:
    """How a value of a metric is written: accuracies in percent, durations and memory with their unit, all else as the number it is."""
    if metric == "duration":
        return seconds
    if metric == "peak_memory":
        return megabytes_named
    return percent if "accuracy" in metric else plain


def percent(fraction: float) -> str:
    """A fraction as a percentage with two decimals."""
    return f"{100 * fraction:.2f} %"


def seconds(value: float) -> str:
    """A duration with four digits, or whole where there are more."""
    return f"{value:#.4g} s" if value < 999.95 else f"{value:.0f} s"


def megabytes(size: float) -> str:
    """Bytes as millions of them, whole where they are many."""
    return f"{size / 1e6:.0f}" if size >= 1e8 else f"{size / 1e6:.1f}"


def megabytes_named(size: float) -> str:
    """The same with the unit."""
    return f"{megabytes(size)} MB"


def plain(value: float) -> str:
    """A loss, a margin or a norm."""
    return f"{value:.9g}"
