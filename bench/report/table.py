"""The one table and the sentences under it, as plain strings that the terminal and Markdown both print."""

from collections.abc import Sequence

from bench.judge import Judgement, RowVerdict, Verdict, expected_accuracies
from bench.results import Results
from bench.rows import find_row
from gptcore.dataset import SPLITS

HEADER = ("row", "what it changes", "train %", "validation %", "test %", "expected %", "difference", "seconds", "verdict")


def table_cells(verdicts: Sequence[RowVerdict]) -> list[tuple[str, ...]]:
    """One tuple of cells per row, in the order of HEADER.  Accuracies are percentages, differences percentage points."""
    return [row_cells(verdict) for verdict in verdicts]


def row_cells(verdict: RowVerdict) -> tuple[str, ...]:
    """The cells of one row; a dash where there is nothing to say."""
    row = find_row(verdict.row)
    figures = verdict.result.figures if verdict.result else None
    if figures is None:
        return (str(row.number), row.name, *("-" for _ in range(6)), str(verdict.verdict))
    expected = expected_accuracies(verdict)
    found = {split: figures.counts[split].accuracy for split in SPLITS}
    return (
        str(row.number),
        row.name,
        *(f"{100 * found[split]:.2f}" for split in SPLITS),
        " / ".join(f"{100 * expected[split]:.1f}" for split in SPLITS) if expected else "-",
        " / ".join(f"{100 * (found[split] - expected[split]):+.1f}" for split in SPLITS) if expected else "-",
        f"{figures.train_seconds:.2f}",
        verdict_text(verdict),
    )


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
