"""Accuracy and duration over many runs: as tables for a terminal and Markdown, and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.history import ACCURACY, LEVEL, SHORTEST, Change, Group, History, Point, Series
from bench.report.text import Format, as_json, cell, markdown_line, markdown_text, say
from bench.wording import counted

COLUMNS = ("row", "what it changes", "runs", "test % first", "test % last", "seconds first", "seconds last", "changes")
NUMBERS = frozenset(COLUMNS) - {"what it changes", "changes"}
METHOD = (
    f"a change is where the mean of a figure moves: runs are parted where Student's test gives the smallest p, corrected for the places tried (Bonferroni), "
    f"and so are the parts (binary segmentation); durations as logarithms, at least {SHORTEST} runs on either side; of groups in which only normal noise "
    f"moved, at most {LEVEL:.0%} show a change, all rows and both metrics together"
)


def show_history(console: Console, history: History, form: Format) -> None:
    """A history on a terminal, or as plain Markdown or JSON."""
    match form:
        case "text":
            print_history(console, history)
        case "markdown":
            console.out(render_history(history), highlight=False)
        case "json":
            console.out(as_json(history_json(history)), highlight=False)


def print_history(console: Console, history: History) -> None:
    """A table per group, its changes in sentences, then what was left out and how changes are found."""
    for group in history.groups:
        table = Table(title=cell(f"{group.title}: {runs_line(group)}"), title_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name in NUMBERS)
        for series in group.series:
            table.add_row(*map(cell, series_cells(series)))
        console.print(table)
        for line in change_lines(group):
            say(console, line, "bold")
        for line in group_notes(group):
            say(console, line)
    for line in history_notes(history):
        say(console, line)


def render_history(history: History) -> str:
    """The same as Markdown."""
    lines = []
    for group in history.groups:
        lines += [f"**{markdown_text(f'{group.title}: {runs_line(group)}')}**", "", markdown_line(COLUMNS), markdown_line("---" for _ in COLUMNS)]
        lines += [*(markdown_line(series_cells(series)) for series in group.series), ""]
        lines += [f"- {markdown_text(line)}" for line in (*change_lines(group), *group_notes(group))] + [""]
    return "\n".join([*lines, *(f"- {markdown_text(line)}" for line in history_notes(history))]) + "\n"


def history_json(history: History) -> dict[str, Any]:
    """Everything for programs: accuracies as fractions, seconds."""
    return {"schema_version": 1, "method": METHOD, "level": LEVEL, **asdict(history)}


def series_cells(series: Series) -> tuple[str, ...]:
    """One series as the table's cells."""
    first, last = series.points[0], series.points[-1]
    name = f"{series.name} ({series.variant})" if series.variant else series.name
    accuracies = (_percent(first), _percent(last))
    seconds = (f"{first.seconds:.3f}", f"{last.seconds:.3f}")
    changes = "; ".join(f"{metric_name(change)} {moved(change)} at {code_of(series.points[change.index])}" for change in series.changes)
    return (str(series.row), name, str(len(series.points)), *accuracies, *seconds, changes or "-")


def change_lines(group: Group) -> Iterator[str]:
    """A sentence for every change: what moved, from what to what, and between which commits."""
    for series in group.series:
        for change in series.changes:
            before, after = series.points[change.index - 1], series.points[change.index]
            besides = f"; besides, {change.besides}" if change.besides else ""
            variant = f" ({series.variant})" if series.variant else ""
            yield (
                f"row {series.row}{variant}, {metric_name(change)} {moved(change)}: between {code_of(before)} and {code_of(after)}"
                f"{f' ({after.run.subject})' if after.run.subject else ''}, p = {change.p:.2g}, level {group.level:.2g}{besides}"
            )


def group_notes(group: Group) -> list[str]:
    """What a reader must know of a group."""
    enough = sum(len(series.points) >= 2 * SHORTEST for series in group.series)
    notes = [] if enough else [f"too few runs for changes: {2 * SHORTEST} of the same inputs are needed"]
    notes += [] if any(series.changes for series in group.series) or not enough else ["no change that chance does not explain"]
    notes += [f"seconds at the pace of {group.pace:.4g} s for the calibration, the median of these runs"] if group.pace else []
    return [*notes, *group.failed]


def history_notes(history: History) -> list[str]:
    """How runs are ordered, what was left out, and how changes are found."""
    return [f"runs are {history.order}", *(f"left out: {sentence}" for sentence in history.skipped), METHOD]


def runs_line(group: Group) -> str:
    """How many runs, and of when."""
    first, last = group.runs[0], group.runs[-1]
    count = counted(len(group.runs), "run")
    return f"{count}, {first.date[:10]}" + (f" to {last.date[:10]}" if last.date[:10] != first.date[:10] else "")


def metric_name(change: Change) -> str:
    """The metric as people say it."""
    return change.metric.replace("_", " ")


def moved(change: Change) -> str:
    """From what to what."""
    if change.metric == ACCURACY:
        return f"{100 * change.before:.2f} to {100 * change.after:.2f} %"
    return f"{change.before:.3g} to {change.after:.3g} s (x {change.after / change.before:.2f})"


def code_of(point: Point) -> str:
    """The code that ran."""
    return f"{point.run.commit[:10] or point.run.folder}{' (dirty)' if point.run.dirty else ''}"


def _percent(point: Point) -> str:
    return f"{100 * point.accuracies['test']:.2f}" if point.accuracies else "-"
