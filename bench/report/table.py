"""The one table and the sentences under it, as plain strings that the terminal and Markdown both print."""

import statistics
from collections.abc import Sequence

from bench.judge import Judgement, RowVerdict, Verdict, expected_accuracies
from bench.results import Results, RowResult
from bench.rows import find_row
from gptcore.dataset import SPLITS

COLUMNS = ("row", "what it changes", "train %", "validation %", "test %", "expected %", "difference", "seconds", "this run", "x published", "verdict")


def table_cells(verdicts: Sequence[RowVerdict]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header, and one tuple of cells per row.

    Accuracies are percentages, differences percentage points.  seconds: what the row costs alone and from cold; this run: what it took, with what other
    rows had paid for; x published: how many times faster the former is than the published minutes, left out where no row has any.
    """
    rows = [row_cells(verdict) for verdict in verdicts]
    columns = [name for name in COLUMNS if name != "x published" or any(row[name] != "-" for row in rows)]
    return tuple(columns), [tuple(row[name] for name in columns) for row in rows]


def row_cells(verdict: RowVerdict) -> dict[str, str]:
    """The cells of one row by column; a dash where there is nothing to say."""
    row = find_row(verdict.row)
    cells = dict.fromkeys(COLUMNS, "-") | {"row": str(row.number), "what it changes": row.name, "verdict": verdict_text(verdict)}
    if verdict.result is None or verdict.result.figures is None:
        return cells
    figures = verdict.result.figures
    cells |= {"seconds": f"{figures.train_seconds:.2f}", "this run": f"{total_seconds(verdict.result):.2f}"}
    if verdict.published_seconds:
        cells["x published"] = f"{verdict.published_seconds / figures.train_seconds:.2f}"
    found = {split: figures.counts[split].accuracy for split in SPLITS}
    cells |= {f"{split} %": f"{100 * found[split]:.2f}" for split in SPLITS}
    expected = expected_accuracies(verdict)
    if expected:
        cells["expected %"] = " / ".join(f"{100 * expected[split]:.1f}" for split in SPLITS)
        cells["difference"] = " / ".join(f"{100 * (found[split] - expected[split]):+.1f}" for split in SPLITS)
    return cells


def total_seconds(result: RowResult) -> float:
    """What all seeds of a row took this time."""
    return sum(figures.real_seconds for figures in (result.figures, *result.others.values()) if figures)


def verdict_text(verdict: RowVerdict) -> str:
    """The verdict, with a word on what only warns."""
    warns = [judgement for judgement in verdict.judgements if judgement.advisory and judgement.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    return str(verdict.verdict) + "".join(f", {'slower' if judgement.verdict is Verdict.REGRESSED else 'faster'}" for judgement in warns)


def closing_line(verdicts: Sequence[RowVerdict]) -> str:
    """How many rows hold, and how many there was nothing to compare with."""
    apart = [verdict for verdict in verdicts if verdict.verdict is Verdict.NOT_COMPARABLE]
    n_judged = len(verdicts) - len(apart)
    holding = sum(verdict.holds for verdict in verdicts if verdict not in apart)
    counted = f"{holding} of {n_judged} judged rows hold" if n_judged else "no row was judged"
    chosen = " (other inputs were named than the recorded ones)" if any(verdict.holds for verdict in apart) else ""
    return counted + (f"; {len(apart)} not comparable{chosen}" if apart else "")


def explanations(results: Results, verdicts: Sequence[RowVerdict]) -> list[tuple[str, list[str]]]:
    """For every row that does not hold, or warns: a headline and a sentence per metric that says what moved, from what to what, and the band."""
    told = []
    for verdict in verdicts:
        if verdict.holds and verdict.verdict is Verdict.NOT_COMPARABLE:
            continue  # as the person chose; the closing line says it once
        sentences = [explain(judgement) for judgement in verdict.judgements if worth_telling(judgement)]
        if sentences:
            headline = f"row {verdict.row} ({find_row(verdict.row).name}): {verdict_text(verdict)}"
            told.append((headline, [*sentences, f"again: {results.info.command} --rows {verdict.row}"]))
    return told


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
    if judgement.found is None or judgement.expected is None or judgement.low is None or judgement.high is None:
        return f"{judgement.verdict}: {judgement.explanation}"
    number = percent if judgement.metric.endswith("accuracy") else plain
    warning = "warning, " if judgement.advisory else ""
    return (
        f"{warning}{judgement.metric.replace('_', ' ')} {judgement.verdict} from {number(judgement.expected)} to {number(judgement.found)}, "
        f"allowed {number(judgement.low)} to {number(judgement.high)} ({judgement.against}; {judgement.explanation})"
    )


def percent(fraction: float) -> str:
    """A fraction as a percentage with two decimals."""
    return f"{100 * fraction:.2f} %"


def plain(value: float) -> str:
    """A loss or a number of seconds."""
    return f"{value:.4f}"
