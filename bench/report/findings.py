"""The findings judged: as cells that the terminal and Markdown both print, and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.findings.claims import Claim, Conclusion, JudgedClaim, JudgedFinding
from bench.findings.differences import Basis
from bench.report.text import Format, as_json, cell, markdown_line, markdown_text, say
from bench.wording import counted

COLUMNS = ("finding", "what it says", "verdict", "rows", "claimed", "found [95 % interval]", "seeds", "this part", "note")
WHOLE = frozenset(("finding", "verdict", "rows", "found [95 % interval]", "seeds", "this part"))  # cells that are not broken into lines
STYLES = {Conclusion.SUPPORTED: "green", Conclusion.NOT_SUPPORTED: "bold red", Conclusion.INCONCLUSIVE: "yellow", Conclusion.NOT_JUDGED: "dim"}

EXPLANATIONS = {
    Basis.SEEDS: "several seeds: the interval of the mean difference, paired by seed (Student); it speaks of other seeds on these test texts, "
    "not of other texts",
    Basis.ANSWERS: "one seed, answers known: the interval from the test texts that two models answer differently (Bonett & Price; p: McNemar, exact); "
    "it speaks of this one trained pair of models on texts like these, not of other seeds",
    Basis.COUNTS: "one seed, counts alone: which texts were right is unknown, so the two counts are taken as independent (Newcombe), too wide an interval "
    "where two models err on the same texts; p: McNemar's exact, over all ways the answers may pair; supported means beyond the noise of the test texts for "
    "this one trained pair of models: how much seeds vary is unknown",
    Basis.IDENTITY: "identical: every count of every common seed is equal, and every answer to a test text where answers are known",
    Basis.TIMINGS: "several timings: the interval of the ratio of durations, from runs timed apart (Student, on logarithms)",
    Basis.ONE_TIMING: "one timing: a duration measured once tells nothing about its own spread, so nothing is concluded from it",
}


def findings_cells(judged: Sequence[JudgedFinding]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header, and one tuple of cells per claim; only a finding's first one repeats the finding.

    Differences of test accuracy are in percentage points, row minus other; durations are multiples of the other row's.
    """
    rows = []
    for one in judged:
        of_finding = (str(one.finding.number), one.finding.sentence, str(one.conclusion))
        for claim in one.claims:
            rows.append((*of_finding, *_claim_cells(claim)))
            of_finding = ("", "", "")
    return COLUMNS, rows


def claim_text(claim: Claim) -> str:
    """What is claimed of two rows, and the published size."""
    if claim.metric == "duration":
        return f"time {'over' if claim.direction == 'higher' else 'under'} {claim.limit:g} x, {claim.size:.2f} x"
    margin = f" (margin {claim.limit:g})" if claim.limit else ""
    stated = f" (stated: {claim.stated[0]:+g} to {claim.stated[1]:+g})" if claim.stated else ""
    return f"{claim.direction}{margin}, {claim.size:+.2f}{stated}"


def note_lines(judged: Sequence[JudgedFinding]) -> list[str]:
    """What a reader must know of the figures: how each kind of interval came about, that there are many, and which findings rest on flawed rows."""
    differences = [claim.difference for one in judged for claim in one.claims if claim.difference]
    lines = [EXPLANATIONS[basis] for basis in Basis if any(difference.basis is basis for difference in differences)]
    n_intervals = sum(difference.interval is not None for difference in differences)
    if n_intervals > 1:
        lines.append(
            f"{counted(len(judged), 'finding')} with {n_intervals} intervals of 95 % are looked at together, without correction: about one interval in "
            "twenty misses the true value"
        )
    return lines + [f"finding {one.finding.number} rests on a flawed row: {flaw}" for one in judged for flaw in one.flaws]


def closing_line(judged: Sequence[JudgedFinding]) -> str:
    """How many findings came to each verdict."""
    return ", ".join(f"{sum(one.conclusion is conclusion for one in judged)} {conclusion}" for conclusion in Conclusion)


def show_findings(console: Console, titled: Mapping[str, Sequence[JudgedFinding]], form: Format) -> None:
    """The findings of every source, by title, on a terminal or as plain Markdown or JSON."""
    if form == "json":
        console.out(as_json({title: findings_json(judged) for title, judged in titled.items()}), highlight=False)
    for title, judged in titled.items():
        if form == "text":
            print_findings(console, title, judged)
        elif form == "markdown":
            console.out(render_findings(title, judged), highlight=False)


def print_findings(console: Console, title: str, judged: Sequence[JudgedFinding]) -> None:
    """The table, its notes and the count on a terminal."""
    header, rows = findings_cells(judged)
    table = Table(title=cell(title), title_justify="left")
    for name in header:
        table.add_column(name, justify="right" if name in ("finding", "seeds") else "left", no_wrap=name in WHOLE)
    for cells in rows:
        if cells[0]:
            table.add_section()
        table.add_row(*map(_styled, cells))
    console.print(table)
    for line in note_lines(judged):
        say(console, f"- {line}")
    say(console, closing_line(judged), "bold")


def render_findings(title: str, judged: Sequence[JudgedFinding]) -> str:
    """The same as Markdown."""
    header, rows = findings_cells(judged)
    lines = [f"**{markdown_text(title)}: {closing_line(judged)}**", "", markdown_line(header), markdown_line("---" for _ in header)]
    lines += [markdown_line(cells) for cells in rows]
    return "\n".join([*lines, "", *(f"- {markdown_text(line)}" for line in note_lines(judged))]) + "\n"


def findings_json(judged: Sequence[JudgedFinding]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "findings": [
            {
                "finding": one.finding.number,
                "sentence": one.finding.sentence,
                "verdict": str(one.conclusion),
                "flaws": list(one.flaws),
                "claims": [_claim_json(claim) for claim in one.claims],
            }
            for one in judged
        ],
        "verdicts": {str(conclusion): sum(one.conclusion is conclusion for one in judged) for conclusion in Conclusion},
        "notes": note_lines(judged),
    }


def _claim_cells(judged: JudgedClaim) -> tuple[str, ...]:
    claim, difference = judged.claim, judged.difference
    rows = f"{claim.row} v {claim.other}"
    if difference is None:
        return rows, claim_text(claim), "-", "-", str(judged.conclusion), judged.reason
    seeds = "-" if claim.metric == "duration" else str(difference.n)
    return rows, claim_text(claim), _found(judged), seeds, str(judged.conclusion), "; ".join(_notes(judged))


def _found(judged: JudgedClaim) -> str:
    difference = judged.difference
    if difference is None:
        return "-"
    number = "{:.2f} x" if judged.claim.metric == "duration" else "{:+.2f}"
    bounds = [number.format(bound) for bound in (difference.interval.low, difference.interval.high)] if difference.interval else []
    return number.format(difference.value) + (f" [{', '.join(bounds)}]" if bounds else "")


def _notes(judged: JudgedClaim) -> list[str]:
    difference = judged.difference
    if difference is None:
        return [judged.reason]
    notes = list(difference.notes)
    if difference.basis is Basis.ONE_TIMING:
        notes.insert(0, "timed once")
    elif difference.basis is Basis.TIMINGS:
        notes.insert(0, f"{counted(difference.n, 'timing')} or more of each")
    if judged.size_inside is not None and difference.basis is not Basis.COUNTS:
        notes.append(f"claimed size {'inside' if judged.size_inside else 'outside'} the interval")
    return notes


def _claim_json(judged: JudgedClaim) -> dict[str, Any]:
    claim, difference = judged.claim, judged.difference
    interval = difference.interval if difference else None
    return {
        "row": claim.row,
        "other": claim.other,
        "metric": claim.metric,
        "unit": "points" if claim.metric == "test accuracy" else "times the other row's",
        "direction": claim.direction,
        "limit": claim.limit,
        "claimed": claim.size,
        "stated": list(claim.stated) if claim.stated else None,
        "verdict": str(judged.conclusion),
        "difference": difference.value if difference else None,
        "interval": [interval.low, interval.high] if interval else None,
        "size_inside": judged.size_inside,
        "basis": str(difference.basis) if difference else None,
        "n": difference.n if difference else 0,
        "notes": _notes(judged),
    }


def _styled(text: str) -> Text:
    style = STYLES.get(Conclusion(text)) if text in set(Conclusion) else None
    return cell(text, style)
