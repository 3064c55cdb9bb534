"""The states that runs left on disk for one another: what is there, and how to be rid of it."""

from datetime import datetime

from rich.console import Console
from rich.table import Table

from bench.report.text import say
from bench.wording import counted
from gptcore.state_cache import StateCache


def print_cache(console: Console, cache: StateCache) -> None:
    """A table of what is kept, the longest unused first, and what it takes in all."""
    entries = cache.entries()
    if not entries:
        say(console, f"{cache.folder} keeps no computed states")
        return
    table = Table()
    for name in ("key", "MB", "last used"):
        table.add_column(name, justify="right" if name == "MB" else "left", no_wrap=True)
    for entry in entries:
        table.add_row(entry.path.stem[:12], _megabytes(entry.size), f"{datetime.fromtimestamp(entry.last_used).astimezone():%Y-%m-%d %H:%M}")
    console.print(table)
    say(console, f"{cache.folder}: {_count(len(entries))}, {_megabytes(sum(entry.size for entry in entries))} MB")


def clear_cache(console: Console, cache: StateCache) -> None:
    """Remove what is kept and say how much it was."""
    n_entries, n_bytes = cache.clear()
    say(console, f"removed {_count(n_entries)}, {_megabytes(n_bytes)} MB, from {cache.folder}")


def _count(n_entries: int) -> str:
    return counted(n_entries, "entry", "entries")


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f}"
