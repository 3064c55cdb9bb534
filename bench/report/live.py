"""The run while it goes on: a table that renews itself on a terminal, and a line for every row that ends elsewhere.

Rows report as they go (see `Report` of gptcore); all that is done then is to note it.  A thread of its own draws the table, at most `REFRESHES` times a second,
and asks nothing of the device.  No figure can depend on it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from bench.progress import RowProgress, RunProgress
from bench.report.terminal import STYLES, print_progress
from bench.report.text import printable
from bench.results import RowResult
from bench.rows import Row
from bench.verdicts.verdict import RowVerdict, Verdict
from bench.wording import duration, row_ranges, share
from gptcore.result import Report

REFRESHES = 4
NARROWEST = 67  # columns: below, a table says less than lines
WIDE = 110
LOWEST = 8  # lines
COLUMNS = ("row", "what it changes", "phase", "epoch", "loss", "train", "val.", "test", "elapsed", "rest")
WIDTHS = {"row": 3, "phase": 16, "epoch": 5, "loss": 5, "train": 5, "val.": 5, "test": 5, "elapsed": 7, "rest": 7}
LEFT = frozenset(("what it changes", "phase"))
LONGEST_NAME = 30


class Display(Protocol):
    """What a run shows of itself while it goes on."""

    def begin(self, row: Row) -> Report:
        """A row begins.  Returns what hears its events."""

    def end(self, result: RowResult, verdict: RowVerdict) -> None:
        """A row has ended."""

    def pass_to(self, phase: str) -> None:
        """Something else than rows begins."""


@dataclass(frozen=True)
class Lines:
    """A line for every row that ends: for logs, pipes, and terminals that cannot do more."""

    console: Console
    progress: RunProgress

    def begin(self, row: Row) -> Report:
        """Nothing is said of what is under way."""
        return self.progress.begin(row)

    def end(self, result: RowResult, verdict: RowVerdict) -> None:
        """Say what came of the row."""
        self.progress.end(result, verdict)
        print_progress(self.console, result, self.progress.n_ended, len(self.progress.rows))

    def pass_to(self, phase: str) -> None:
        """Nothing is said of it."""


@dataclass(frozen=True)
class LiveTable:
    """All rows of a run in one table, as far as they have come; of more than the terminal has lines for those around the ones that run."""

    console: Console
    progress: RunProgress

    def begin(self, row: Row) -> Report:
        """The row runs."""
        return self.progress.begin(row)

    def end(self, result: RowResult, verdict: RowVerdict) -> None:
        """The row shows what came of it."""
        self.progress.end(result, verdict)

    def pass_to(self, phase: str) -> None:
        """Say so under the table."""
        self.progress.phase = phase

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One text for each line.  A `rich.table.Table` would measure and wrap every cell again: several milliseconds that training waits for."""
        rows = [*self.progress.rows.values()]
        shown = window(rows, max(console.height - 4, 1))
        gap, widths = layout(options.max_width, shown)
        yield line(COLUMNS, widths, gap, "bold")
        now, pace = self.progress.clock(), self.progress.pace
        for row in shown:
            yield line(cells_of(row, pace, now), widths, gap, style_of(row))
        hidden = {row.row.number for row in rows} - {row.row.number for row in shown}
        said = summary(self.progress) + (f"; rows {row_ranges(hidden)} not shown" if hidden else "")
        yield Text(said, style="bold", no_wrap=True, overflow="crop")


def window(rows: list[RowProgress], n_lines: int) -> list[RowProgress]:
    """So many rows around the first that runs, or is next, most of them after it."""
    waiting = next((place for place, row in enumerate(rows) if row.ended is None), len(rows))
    current = next((place for place, row in enumerate(rows) if row.is_running), waiting)
    start = max(0, min(current - n_lines // 3, len(rows) - n_lines))
    return rows[start : start + n_lines]


def layout(width: int, rows: list[RowProgress]) -> tuple[int, dict[str, int]]:
    """The gap between columns and the width of each, for a terminal of so many columns: the name takes what is left."""
    gap = 2 if width >= WIDE else 1
    left = width - sum(WIDTHS.values()) - gap * (len(COLUMNS) - 1)
    name = max(0, min(left, LONGEST_NAME, max(len(row.row.name) for row in rows)))
    return gap, WIDTHS | {"what it changes": max(name, min(left, len("what it changes")))}


def line(cells: tuple[str, ...], widths: dict[str, int], gap: int, style: str) -> Text:
    """Cells in their columns, numbers to the right."""
    padded = [fitted(printable(cell), widths[name]) if name in LEFT else cell.rjust(widths[name]) for name, cell in zip(COLUMNS, cells, strict=True)]
    return Text((" " * gap).join(padded), style=style, no_wrap=True, overflow="crop")


def fitted(text: str, width: int) -> str:
    """Text in so many columns, with a sign that it was cut."""
    return f"{set_cell_size(text, width - 1)}…" if cell_len(text) > width > 0 else set_cell_size(text, width)


def cells_of(progress: RowProgress, pace: float, now: float) -> tuple[str, ...]:
    """A row's cells; blank where there is nothing to say yet."""
    accuracies = [f"{100 * accuracy:.1f}" for accuracy in progress.accuracies]
    elapsed, rest = progress.elapsed(now), progress.rest(pace, now)
    return (
        str(progress.row.number),
        progress.row.name,
        progress.phase,
        f"{progress.epoch}/{progress.n_epochs}" if progress.epoch else "",
        "" if progress.loss is None else f"{progress.loss:.3f}"[:5],
        *accuracies,
        *[""] * (3 - len(accuracies)),
        "" if elapsed is None else duration(elapsed),
        "" if rest is None or progress.ended is not None else duration(rest),
    )


def style_of(progress: RowProgress) -> str:
    """Rows that wait stand back, the one that runs stands out, and one that has ended has its verdict's colour."""
    if progress.ended is not None:
        return STYLES[Verdict(progress.phase)]
    return "bold" if progress.is_running else "dim"


def summary(progress: RunProgress) -> str:
    """How many rows have ended and hold, what goes on, and the time."""
    rest, is_whole = progress.rest()
    left = f"about {duration(rest)} left" if is_whole else f"more than {duration(rest)} left" if rest else "time left unknown"
    holding = sum(row.ended is not None and row.holds for row in progress.rows.values())
    said = [
        f"{share(progress.n_ended, len(progress.rows), 'row', ('ended', 'ended'))}, {holding} {'holds' if holding == 1 else 'hold'}",
        f"{duration(progress.elapsed())} elapsed",
    ]
    return "; ".join([*said, progress.phase or left])


def can_live(console: Console) -> bool:
    """Whether a table can renew itself there: on a terminal that moves its cursor, knows the characters and is large enough, and not under `CI`."""
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    is_whole = console.encoding.startswith("utf") and console.width >= NARROWEST and console.height >= LOWEST
    return console.is_interactive and console.file.isatty() and not console.legacy_windows and not console.quiet and is_whole and not is_ci


@contextmanager
def displaying(console: Console, progress: RunProgress) -> Iterator[Display]:
    """A display of a run for as long as it goes on.

    A table that came to the end of its run makes way for the report; one that was interrupted stays as it was last, and the cursor comes back.
    """
    if not can_live(console):
        yield Lines(console, progress)
        return
    table = LiveTable(console, progress)
    live = Live(table, console=console, refresh_per_second=REFRESHES, vertical_overflow="crop")
    try:
        live.start(refresh=True)  # within the try: an interruption may come while it starts
        yield table
        live.transient = True
    finally:
        live.stop()
