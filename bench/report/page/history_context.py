"""What the page of a history says."""

from dataclasses import dataclass

from bench.history import Group, History
from bench.report.history import COLUMNS, METHOD, NUMBERS, change_lines, group_notes, runs_line, series_cells
from bench.report.page.drawing import Plot
from bench.report.page.history_plots import history_plot
from bench.report.page.parts import Cell, Headline, Table, lines_of
from bench.wording import counted


@dataclass(frozen=True)
class GroupPart:
    """One group: what changed, the table of its series, a plot of each, and its runs."""

    name: str
    title: str
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    table: Table
    plots: tuple[Plot, ...]
    runs: Table


@dataclass(frozen=True)
class HistoryPage:
    """The whole page.  folder: that was searched."""

    headline: Headline
    folder: str
    order: str
    groups: tuple[GroupPart, ...]
    method: str
    skipped: tuple[str, ...]


def history_page(history: History, folder: str) -> HistoryPage:
    """What there is to say of a history."""
    groups = tuple(group_part(group, f"group-{number}") for number, group in enumerate(history.groups, start=1))
    return HistoryPage(headline_of(history), folder, history.order, groups, METHOD, history.skipped)


def headline_of(history: History) -> Headline:
    """How many changes there are; whether they are welcome is for people to say."""
    n_changes = sum(len(series.changes) for group in history.groups for series in group.series)
    n_runs = sum(len(group.runs) for group in history.groups)
    found = f"{counted(n_runs, 'run')} in {counted(len(history.groups), 'group')} that may be compared"
    words = counted(n_changes, "change") if n_changes else "No change"
    left_out = (f"{counted(len(history.skipped), 'folder')} could not be read",) if history.skipped else ()
    return Headline(words, "apart", (found, *left_out))


def group_part(group: Group, name: str) -> GroupPart:
    """One group's part of the page."""
    lines = tuple(
        tuple(Cell(text, "notice" if column == "changes" and text != "-" else "") for column, text in zip(COLUMNS, series_cells(series), strict=True))
        for series in group.series
    )
    runs = lines_of(
        (run.folder, run.date.replace("T", " "), run.commit[:10] or "none", "yes" if run.dirty else "no", run.packages.get("torch", "-"), run.subject or "-")
        for run in group.runs
    )
    changed_first = sorted(group.series, key=lambda series: not series.changes)
    return GroupPart(
        name=name,
        title=group.title,
        changes=tuple(change_lines(group)),
        notes=(runs_line(group), *group_notes(group)),
        table=Table(f"{name}-table", "The first and the last run of each row, and what changed between them", COLUMNS, lines, NUMBERS),
        plots=tuple(history_plot(series, f"{name}-row-{series.row:02d}-{number}") for number, series in enumerate(changed_first, start=1)),
        runs=Table(f"{name}-runs", "Runs in order", ("folder", "date", "commit", "uncommitted changes", "torch", "subject"), runs),
    )
