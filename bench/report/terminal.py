"""The run on a terminal: a line while each row runs, the table, then every failure in full."""

import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from bench.report.table import NOTICES, Told, broken_lines, closing_line, explanations, notes, table_cells, total_seconds
from bench.report.text import cell, say
from bench.results import Results, RowResult
from bench.rows import ROWS, Row, changed_settings, published_flags
from bench.tiers import Tier
from bench.verdicts.verdict import RowVerdict, Verdict
from bench.wording import counted
from gptcore.dataset import SPLITS
from gptcore.experiment import Experiment
from gptcore.model import GPTConfig
from gptcore.result import Result

STYLES = {
    Verdict.PASS: "green",
    Verdict.NOT_COMPARABLE: "yellow",
    Verdict.DRIFTED: "bold magenta",
    Verdict.IMPROVED: "bold cyan",
    Verdict.REGRESSED: "bold red",
    Verdict.MISSING: "bold red",
    Verdict.ERROR: "bold red",
}
NUMBERS = frozenset(("row", "train %", "validation %", "test %", "expected %", "difference", "notices", "seconds", "this run", "peak MB", "x published"))
SPARED_FIRST = ("notices", "peak MB", "this run", "expected %", "train %", "seconds", "validation %", "difference", "x published", "what it changes")
PLAIN_WIDTH = 200
UNBOUNDED = 10_000


class Terminal(Console):
    """A console that leaves it to its caller what follows where nobody reads any more: rich would end with 1, which is a verdict."""

    def on_broken_pipe(self) -> None:
        """Called while a BrokenPipeError is handled; raises it again."""
        raise  # noqa: PLE0704


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console on standard output, or error; wide where that is no terminal, so that logs keep whole lines.  A quiet one prints nothing."""
    # Rich takes every string of digits for a size, also those that int() does not know, or that no terminal has.
    sizes = ("COLUMNS", "LINES")
    environment = {name: value for name, value in os.environ.items() if name not in sizes or (value.isascii() and value.isdecimal() and len(value) < 5)}
    console = Terminal(highlight=False, stderr=stderr, quiet=quiet, _environ=environment)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def print_progress(console: Console, result: RowResult, position: int, n_rows: int) -> None:
    """One line for a row that has just ended."""
    if result.figures is None:
        said = f"failed: {result.failure}"
    else:
        accuracies = ", ".join(f"{split} {result.figures.counts[split].accuracy:.1%}" for split in SPLITS)
        said = f"{accuracies}, {total_seconds(result):.2f} s{frozen_part(result.figures)}"
    say(console, f"[{position}/{n_rows}] row {result.row} ({result.name}): {said}")


def frozen_part(figures: Result) -> str:
    """Where the states of the frozen blocks are, as the end of a sentence."""
    frozen = figures.frozen
    if frozen is None:
        return ""
    kept = {"memory": "in memory", "disk": "on disk", "not kept": "nowhere, computed for every batch; free some memory or disk"}
    return f" ({counted(frozen.blocks, 'frozen block')} kept {kept[frozen.place]}, {frozen.bytes / 1e6:.0f} MB)"


def print_report(console: Console, results: Results, verdicts: Sequence[RowVerdict], *, quiet: bool = False) -> None:
    """The table and what is to say of all rows, then what warned, then what failed, in full, and the count; if quiet only what failed, and the count."""
    broken = broken_lines(results)
    told = explanations(results, verdicts)
    if not quiet:
        left_out = print_table(console, results, verdicts)
        for line in notes(results, verdicts):
            if line not in broken and not (line == NOTICES and "notices" in left_out):
                say(console, line)
    for one in sorted(told, key=lambda one: not one.holds):
        if not (quiet and one.holds):
            print_told(console, one)
    for line in broken:
        say(console, line, "bold")
    say(console, "; ".join([closing_line(verdicts), *(["the run as a whole does not"] if broken else [])]), "bold")


def print_table(console: Console, results: Results, verdicts: Sequence[RowVerdict]) -> list[str]:
    """All rows with their verdicts, in as many columns as the console has room for.  Returns those it had none for."""
    table = rows_table(results, verdicts, ())
    left_out: list[str] = []
    if width_of(console, table) > console.width:
        left_out = [name for name in SPARED_FIRST if name in table_cells(verdicts)[0]]
        for name in reversed(left_out.copy()):
            wider = rows_table(results, verdicts, rest := [other for other in left_out if other != name])
            if width_of(console, wider) <= console.width:
                left_out = rest
        table = rows_table(results, verdicts, left_out)
    console.print(table)
    if left_out:
        say(console, f"no room here for {', '.join(left_out)}: widen the terminal, or see the results folder's table.md")
    return left_out


def rows_table(results: Results, verdicts: Sequence[RowVerdict], left_out: Collection[str]) -> Table:
    """All rows with their verdicts, without some columns."""
    header, rows = table_cells(verdicts)
    table = Table(title=cell(f"{results.info.tier} tier on {results.info.environment.device_name}"), title_justify="left")
    for name in header:
        if name not in left_out:
            table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for verdict, cells in zip(verdicts, rows, strict=True):
        shown = (cell(text, STYLES[verdict.verdict] if name == "verdict" else None) for name, text in zip(header, cells, strict=True) if name not in left_out)
        table.add_row(*shown)
    return table


def width_of(console: Console, table: Table) -> int:
    """The room that a table takes where nothing is cut."""
    return Measurement.get(console, console.options.update(max_width=UNBOUNDED), table).maximum


def print_told(console: Console, told: Told) -> None:
    """What there is to say of one row."""
    say(console, told.headline, "bold")
    for line in (*told.sentences, *(f"{name}: {' '.join(text.splitlines())}" for name, text in told.texts), f"again: {told.command}"):
        say(console, f"  {line}")


def page_line(folder: Path, command: str = "python -m bench", judging: Sequence[str] = ()) -> str:
    """How to see a run in a browser.  command: what starts the suite's.  judging: flags that had it judged in another way than the usual."""
    return f"as a page for a browser: {command} report {shlex.join((str(folder), *judging))}"


def print_environment(console: Console, results: Results) -> None:
    """Where and when a run took place."""
    environment = results.info.environment
    commit = f"{environment.git_commit[:10] or 'no git'}{' (dirty)' if environment.git_dirty else ''}"
    say(
        console,
        f"{environment.date}, {environment.machine}, {environment.device_name}, {counted(environment.threads, 'thread')}, "
        f"torch {environment.packages['torch']}, commit {commit}",
    )


def print_rows(console: Console, tier: Tier, rows: Sequence[Row] = ROWS) -> None:
    """A table's rows: what each changes of the first one, as flags, and what a tier makes of the whole table."""
    table = Table(title=f"rows of the {tier.name} tier: {tier.about}", title_justify="left")
    for name in ("row", "what it changes", "flags", "settings in this tier that differ from its row 1"):
        table.add_column(name)
    first = rows[0].experiment
    reference = tier.scale(first)
    for row in rows:
        changed = describe_settings(changed_settings(tier.scale(row.experiment), reference))
        table.add_row(str(row.number), row.name, cell(published_flags(row, first) or "-"), cell(changed))
    console.print(table)
    scaled = describe_settings(changed_settings(reference, Experiment()))
    say(console, f"row {rows[0].number} of this tier differs from the published row 1 in: {scaled}")


def describe_settings(settings: dict[str, Any]) -> str:
    """Settings as `name=value`, a dash where there are none."""
    return ", ".join(f"{name}={value.name if isinstance(value, GPTConfig) else value}" for name, value in settings.items()) or "-"
