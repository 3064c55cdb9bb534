"""What the doctor found, as a table on a terminal or one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.doctor.examination import Examination
from bench.doctor.finding import State
from bench.doctor.prognosis import Prognosis
from bench.report.text import cell, say
from bench.wording import counted, duration, rows_named
from gptcore.memory import in_words

STYLES = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red"}


def print_examination(console: Console, examination: Examination) -> None:
    """What to expect of each row, then a line for everything that was looked at, the worst last, and whether all rows can run."""
    if examination.prognoses:
        console.print(table_of(examination.prognoses))
    table = Table(show_header=True)
    for name in ("looked at", "state", "what was found, and what to do"):
        table.add_column(name, overflow="fold")
    for finding in sorted(examination.findings, key=lambda finding: list(State).index(finding.state)):
        table.add_row(cell(finding.about), cell(finding.state, STYLES[finding.state]), cell(finding.sentence))
    console.print(table)
    say(console, conclusion(examination), "bold")


def table_of(prognoses: Sequence[Prognosis]) -> Table:
    """What to expect of each row."""
    table = Table()
    for name in ("row", "what it changes", "memory at least", "expected", "by"):
        table.add_column(name, justify="left" if name in ("what it changes", "by") else "right", overflow="fold")
    for row in prognoses:
        expected = "unknown" if row.seconds is None else duration(row.seconds)
        table.add_row(str(row.row), cell(row.name), in_words(row.memory), expected, cell(row.basis))
    return table


def conclusion(examination: Examination) -> str:
    """Whether all rows can run."""
    warnings = sum(finding.state is State.WARNING for finding in examination.findings)
    warned = f"; {counted(warnings, 'warning')}" if warnings else ""
    stopped = examination.stopped
    if not stopped:
        return f"all rows can run{warned}"
    others = "the others can" if set(stopped) < set(examination.asked) else "until that is mended"
    return f"{rows_named(stopped)} cannot run, {others}{warned}"


def examination_object(examination: Examination) -> dict[str, Any]:
    """The object that `--json` prints.  Its keys: can_run: whether all rows can; findings: a list of objects with about, state, sentence, and the rows that it
    keeps from running (none: all, where the state is problem); rows: a list of objects with row, name, memory (bytes), seconds (null where unknown) and basis.
    """
    return {
        "can_run": not examination.stopped,
        "findings": [asdict(finding) for finding in examination.findings],
        "rows": [asdict(row) for row in examination.prognoses],
    }
