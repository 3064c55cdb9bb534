"""What was measured of false alarms and of defects: two tables and the line under each, on a terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report.terminal import STYLES
from bench.report.text import cell, markdown_line, markdown_text, say
from bench.rows import ROWS
from bench.sensitivity.measure import CleanOutcome, DefectOutcome, Sensitivity
from bench.verdicts.verdict import Verdict
from bench.wording import counted, row_ranges
from gptcore.files import write_text_atomically

CLEAN_COLUMNS = ("clean run", "rows judged", "drifted", "improved", "regressed", "other")
DEFECT_COLUMNS = ("defect", "module", "caught by", "rows", "told first by", "worst verdict")
NAMED = (Verdict.DRIFTED, Verdict.IMPROVED, Verdict.REGRESSED)
NOT_CAUGHT = "NOT CAUGHT"


def clean_cells(outcomes: Sequence[CleanOutcome]) -> list[tuple[str, ...]]:
    """One tuple of cells per clean run; of flagged rows the numbers, a dash for none."""
    return [(outcome.name, str(outcome.n_judged), *_flagged_cells(outcome.flagged)) for outcome in outcomes]


def defect_cells(outcomes: Sequence[DefectOutcome]) -> list[tuple[str, ...]]:
    """One tuple of cells per defect."""
    return [(outcome.name, outcome.module, *_caught_cells(outcome)) for outcome in outcomes]


def clean_line(found: Sensitivity) -> str:
    """How many clean runs were flagged, and how many may be."""
    same = [outcome for outcome in found.clean if outcome.same_seed]
    others = [outcome for outcome in found.clean if not outcome.same_seed]
    parts = [f"{_flagged(runs)} of {len(runs)} clean runs with {seed} flagged" for runs, seed in ((same, "the recorded seed"), (others, "other seeds")) if runs]
    n_judged = sum(outcome.n_judged for outcome in found.clean)
    return f"{', '.join(parts)} ({counted(n_judged, 'row')} judged): with 95 % confidence at most {found.highest_rate:.1%} of clean runs are"


def defects_line(found: Sensitivity) -> str:
    """The share of defects that were caught, and how many of all ran through without an error."""
    n_caught, n_silent = (sum(map(is_so, found.defects)) for is_so in (_is_caught, _is_silent))
    return f"{n_caught} of {len(found.defects)} defects caught ({n_caught / len(found.defects):.1%}); {n_silent} of them ran through without an error"


def print_sensitivity(console: Console, found: Sensitivity) -> None:
    """Both tables with their lines."""
    _print_table(console, "clean runs", CLEAN_COLUMNS, clean_cells(found.clean), [STYLES[Verdict.REGRESSED] if one.flagged else None for one in found.clean])
    say(console, clean_line(found), "bold")
    missed = [None if one.is_caught else STYLES[Verdict.REGRESSED] for one in found.defects]
    _print_table(console, "deliberate defects", DEFECT_COLUMNS, defect_cells(found.defects), missed)
    say(console, defects_line(found), "bold")


def render_sensitivity(found: Sensitivity) -> str:
    """The same as Markdown."""
    tables = ((CLEAN_COLUMNS, clean_cells(found.clean), clean_line(found)), (DEFECT_COLUMNS, defect_cells(found.defects), defects_line(found)))
    lines: list[str] = []
    for header, rows, closing in tables:
        lines += [markdown_line(header), markdown_line("---" for _ in header), *map(markdown_line, rows), "", f"**{markdown_text(closing)}**", ""]
    return "\n".join(lines)


def report_sensitivity(console: Console, found: Sensitivity, out: Path) -> None:
    """Print both tables, and write them to `sensitivity.md` in the folder."""
    print_sensitivity(console, found)
    write_text_atomically(out / "sensitivity.md", render_sensitivity(found))


def _flagged_cells(flagged: Mapping[Verdict, tuple[int, ...]]) -> list[str]:
    others = [number for verdict, rows in flagged.items() if verdict not in NAMED for number in rows]
    return [row_ranges(rows) or "-" for rows in (*(flagged.get(verdict, ()) for verdict in NAMED), others)]


def _caught_cells(outcome: DefectOutcome) -> tuple[str, ...]:
    if outcome.broke_off:
        return "at once", "-", "the run broke off", str(outcome.worst)
    if not outcome.is_caught:
        return NOT_CAUGHT, "-", "-", str(outcome.worst)
    told = ", ".join([*(f"{metric.replace('_', ' ')} {n_rows}" for metric, n_rows in outcome.told.items()), *(["an invariant"] if outcome.broken else [])])
    return f"{len(outcome.caught)} of {len(ROWS)}", row_ranges(outcome.caught), told, str(outcome.worst)


def _is_caught(outcome: DefectOutcome) -> bool:
    return outcome.is_caught


def _is_silent(outcome: DefectOutcome) -> bool:
    return outcome.is_caught and not outcome.broke_off and Verdict.ERROR not in outcome.caught.values()


def _flagged(outcomes: Sequence[CleanOutcome]) -> int:
    return sum(bool(outcome.flagged) for outcome in outcomes)


def _print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str | None]) -> None:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name)
    for cells, style in zip(rows, styles, strict=True):
        table.add_row(*map(cell, cells), style=style)
    console.print(table)
