"""What `fetch` shows: a bar while something is downloaded on a terminal, and a line for everything that is there, or is not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from bench.fetching import Brought, Wanted
from bench.report.live import can_live
from bench.report.text import say
from bench.wording import counted, rows_named
from gptcore.download import Progress

STYLES = {"present": "", "fetched": "green", "missing": "bold red"}
WORTH_TENTHS = 50_000_000  # bytes: what is larger says in a log how far it has come


class Display(Protocol):
    """What is shown of downloads while they go on."""

    def watch(self, thing: Wanted) -> Progress:
        """Something begins.  Returns what hears of its download."""

    def done(self, thing: Brought) -> None:
        """It has come to its end."""


class Lines:
    """For logs and pipes: a line as a download begins, and for large files one for each tenth."""

    def __init__(self, console: Console, errors: Console) -> None:
        self.console = console
        self.errors = errors

    def watch(self, thing: Wanted) -> Progress:
        """Nothing is said of what is here already."""
        told: set[int] = set()

        def hear(done: int, total: int) -> None:
            tenth = 10 * done // total
            if not told:
                say(self.console, f"{thing.about}: downloading {amount(total)}" + (f", {amount(done)} of them are here" if done else ""))
                told.update(range(tenth + 1))
            elif tenth not in told and total >= WORTH_TENTHS:
                told.add(tenth)
                say(self.console, f"{thing.about}: {10 * tenth}%")

        return hear

    def done(self, thing: Brought) -> None:
        """Say where it lies; what is missing is never left unsaid."""
        say(self.errors if thing.state == "missing" else self.console, line_of(thing), STYLES[thing.state])


class LiveBars(Lines):
    """For terminals: one bar that moves, with speed and time left."""

    def __init__(self, console: Console, errors: Console, bars: Bars) -> None:
        super().__init__(console, errors)
        self.bars = bars

    def watch(self, thing: Wanted) -> Progress:
        """A bar that shows the download."""
        task = self.bars.add_task(f"{escape(thing.about)}: looking", total=None)

        def hear(done: int, total: int) -> None:
            whole = done >= total
            self.bars.update(task, completed=done, total=total, description=escape(thing.about) + (": verifying" if whole else ""))

        return hear

    def done(self, thing: Brought) -> None:
        """The bar makes way for a line."""
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        super().done(thing)


@contextmanager
def displaying_downloads(console: Console, errors: Console) -> Iterator[Display]:
    """A display of downloads for as long as they go on."""
    if not can_live(console):
        yield Lines(console, errors)
        return
    columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
    with Bars(*columns, console=console, transient=True) as bars:
        yield LiveBars(console, errors if errors.file is not console.file else console, bars)


def line_of(thing: Brought) -> str:
    """One thing in one line."""
    who = f"{thing.about} ({rows_named(thing.rows)})"
    if thing.state == "missing":
        return f"{who}: missing: {thing.problem}"
    return f"{who}: {thing.state}, {thing.path}" + (f" ({amount(thing.size)})" if thing.size else "")


def amount(size: int) -> str:
    """Bytes as servers count them: 1.04 MB."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= power:
            return f"{size / power:.2f} {unit}" if power == 1e9 else f"{size / power:.3g} {unit}"
    return f"{size} B"


def closing(brought: Sequence[Brought], tier: str) -> str:
    """Whether a run needs a network still."""
    if not brought:
        return f"the {tier} tier carries its own texts, vocabulary and weights: there is nothing to fetch"
    missing = [thing.about for thing in brought if thing.state == "missing"]
    if missing:
        which = ", ".join(missing)
        return f"{len(missing)} of {len(brought)} are missing ({which}): mend what is said of each, then fetch again; what has arrived stays"
    fetched = sum(thing.state == "fetched" for thing in brought)
    return f"everything is here ({counted(len(brought), 'thing')}, {fetched} fetched now): a run of these rows needs no network"


def brought_object(brought: Sequence[Brought]) -> dict[str, Any]:
    """The object that `--json` prints.  Its keys: complete: whether a run needs no network; files: a list of objects with about, rows (numbers of those that
    read it), state (present, fetched or missing), path, size (bytes) and problem, the last three null where they do not apply.
    """
    return {"complete": all(thing.state != "missing" for thing in brought), "files": [asdict(thing) for thing in brought]}
