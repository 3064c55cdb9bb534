"""A comparison on a terminal, as Markdown and as JSON.  Accuracies are percentages there and differences points; JSON keeps fractions, and bytes."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from bench.comparison.bisect import Bisection
from bench.comparison.compare import ACCURACIES, COSTS, DURATION, EVERY_METRIC, LEVEL, PEAK_MEMORY, Comparison, Verdict, exit_code
from bench.report.table import megabytes_named, percent
from bench.report.text import Format, as_json, cell, markdown_line, markdown_text, say
from bench.statistics import Interval
from bench.wording import counted, rows_named

COLUMNS = ("row", "what it changes", "metric", "BASE", "HEAD", "difference", "95 % interval", "verdict")
NUMBERS = frozenset(("row", "BASE", "HEAD", "difference", "95 % interval"))
STYLES = {
    Verdict.SAME: "green",
    Verdict.INDISTINGUISHABLE: "green",
    Verdict.NOT_TESTED: "yellow",
    Verdict.NOT_COMPARABLE: "yellow",
    Verdict.FASTER: "bold cyan",
    Verdict.SLOWER: "bold yellow",
    Verdict.LESS_MEMORY: "bold cyan",
    Verdict.MORE_MEMORY: "bold yellow",
    Verdict.BETTER: "bold cyan",
    Verdict.WORSE: "bold red",
    Verdict.MISSING: "bold red",
    Verdict.ERROR: "bold red",
}
SEVERITY = list(Verdict)
TOLD = frozenset(Verdict) - {Verdict.SAME, Verdict.INDISTINGUISHABLE}


def show_comparison(
    console: Console, comparisons: Sequence[Comparison], base: str, head: str, form: Format, *, everything: bool = False, judge_costs: bool = False
) -> None:
    """A comparison on a terminal, or as plain Markdown or JSON."""
    match form:
        case "text":
            print_comparison(console, comparisons, base=base, head=head, everything=everything)
        case "markdown":
            console.out(render_comparison(comparisons, base=base, head=head, everything=everything), highlight=False)
        case "json":
            console.out(comparison_json(comparisons, base=base, head=head, judge_costs=judge_costs), highlight=False)


def print_comparison(console: Console, comparisons: Sequence[Comparison], *, base: str, head: str, everything: bool = False) -> None:
    """The closing line, the table of what is not the same (or of `everything`), then a sentence on each verdict that needs one."""
    say(console, closing_line(comparisons, base, head), "bold")
    shown = shown_of(comparisons, everything=everything)
    if shown:
        table = Table()
        for name in COLUMNS:
            table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name in NUMBERS)
        for comparison in shown:
            *cells, verdict = cells_of(comparison)
            table.add_row(*map(cell, cells), cell(verdict, STYLES[comparison.verdict]))
        console.print(table)
    for line in (*sentences(comparisons), *note_lines(comparisons)):
        say(console, line)


def render_comparison(comparisons: Sequence[Comparison], *, base: str, head: str, everything: bool = False) -> str:
    """The same as Markdown."""
    lines = [f"**{markdown_text(closing_line(comparisons, base, head))}**"]
    shown = shown_of(comparisons, everything=everything)
    if shown:
        lines += [
            "",
            markdown_line(COLUMNS),
            markdown_line("---:" if name in NUMBERS else "---" for name in COLUMNS),
            *(markdown_line(cells_of(comparison)) for comparison in shown),
        ]
    told = (*sentences(comparisons), *note_lines(comparisons))
    return "\n".join(lines + ([""] if told else []) + [f"- {markdown_text(line)}" for line in told]) + "\n"


def comparison_json(comparisons: Sequence[Comparison], *, base: str, head: str, judge_costs: bool = False) -> str:
    """Every comparison with every field, accuracies as fractions, seconds and bytes with ratios for differences; and what they come to."""
    content = {
        "schema_version": 1,
        "base": base,
        "head": head,
        "level": LEVEL,
        "summary": closing_line(comparisons, base, head),
        "exit_code": exit_code(comparisons, judge_costs=judge_costs),
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    return as_json(content) + "\n"


def show_bisection(console: Console, bisection: Bisection, form: Format) -> None:
    """What a bisection came to, with the row at GOOD against the row at the first bad commit, on a terminal or as plain Markdown or JSON."""
    base, head = str(bisection.good), str(bisection.suspects[0])
    lines = bisection_lines(bisection)
    match form:
        case "text":
            for line in lines:
                say(console, line)
            if bisection.is_decided:
                print_comparison(console, bisection.comparisons, base=base, head=head)
        case "markdown":
            told = "\n".join(f"- {markdown_text(line.strip())}" for line in lines)
            console.out(f"{told}\n\n{render_comparison(bisection.comparisons, base=base, head=head)}" if bisection.is_decided else told, highlight=False)
        case "json":
            console.out(as_json({"schema_version": 1, **asdict(bisection)}), highlight=False)


def bisection_lines(bisection: Bisection) -> list[str]:
    """What a bisection came to, in sentences."""
    if not bisection.is_decided:
        listed = [f"  {suspect} {suspect.subject}" for suspect in bisection.suspects]
        return [f"row {bisection.row}: the first bad commit is one of these {len(listed)}, between which the row cannot run:", *listed]
    suspect = bisection.suspects[0]
    n_skipped = sum(word == "skip" for _, word in bisection.looked)
    skipped = f", {n_skipped} of them skipped" if n_skipped else ""
    return [f"row {bisection.row}: the first bad commit is {suspect.commit} {suspect.subject} (looked at {len(bisection.looked)} between{skipped})"]


def closing_line(comparisons: Sequence[Comparison], base: str, head: str) -> str:
    """How many rows came out how: each counts by the gravest verdict of its metrics, costs aside, which are counted after it."""
    rows = {comparison.row: Verdict.SAME for comparison in comparisons if comparison.metric not in COSTS}
    for comparison in comparisons:
        if comparison.metric not in COSTS:
            rows[comparison.row] = max(rows[comparison.row], comparison.verdict, key=SEVERITY.index)
    told = [f"{counted(len(rows), 'row')}: {_counted(rows.values())}"] if rows else []
    for metric, name in ((DURATION, "durations"), (PEAK_MEMORY, "memory")):
        verdicts = [comparison.verdict for comparison in comparisons if comparison.metric == metric]
        told += [f"{name}: {_counted(verdicts)}"] if verdicts else []
    return f"{base} -> {head}: {'; '.join(told) or 'no row'}"


def shown_of(comparisons: Sequence[Comparison], *, everything: bool) -> list[Comparison]:
    """What the table shows."""
    return [comparison for comparison in comparisons if everything or comparison.verdict is not Verdict.SAME]


def cells_of(comparison: Comparison) -> tuple[str, ...]:
    """One comparison as the table's cells; a dash where there is nothing to say."""
    number, difference = _written(comparison.metric)
    return (
        str(comparison.row),
        comparison.name or "-",
        comparison.metric.replace("_", " "),
        "-" if comparison.base is None else number(comparison.base),
        "-" if comparison.head is None else number(comparison.head),
        "-" if comparison.difference is None else difference(comparison.difference),
        "-" if comparison.interval is None else _range(comparison.interval, comparison.metric),
        str(comparison.verdict),
    )


def sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """What stands behind every verdict that is no plain "chance explains it", rows and metrics with the same words told together."""
    told: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.verdict in TOLD or (comparison.p is not None and comparison.p < LEVEL):  # significant alone, not among so many
            told.setdefault(f"{comparison.verdict}: {comparison.explanation}", []).append(comparison)
    return [f"{_where(group)} {words}" for words, group in told.items()]


def note_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """What else differs between the sides, rows with the same note told together."""
    told: dict[str, list[int]] = {}
    for comparison in comparisons:
        for note in comparison.notes:
            told.setdefault(note, []).append(comparison.row)
    return [f"{rows_named(rows)}: {note}" for note, rows in told.items()]


def _where(group: Sequence[Comparison]) -> str:
    metrics = list(dict.fromkeys(comparison.metric.replace("_", " ") for comparison in group if comparison.metric != EVERY_METRIC))
    return f"{rows_named([comparison.row for comparison in group])}{''.join(f', {metric}' for metric in metrics)}"


def _counted(verdicts: Iterable[Verdict]) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in reversed(SEVERITY) if counts[verdict])


def _written(metric: str) -> tuple[Callable[[float], str], Callable[[float], str]]:
    """How a metric's values are written, and their difference."""
    if metric in ACCURACIES:
        return percent, _points
    return {DURATION: (_seconds, _ratio), PEAK_MEMORY: (megabytes_named, _ratio)}.get(metric, (_loss, _change))


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _ratio(value: float) -> str:
    return f"x {value:.3f}"


def _loss(value: float) -> str:
    return f"{value:.5f}"


def _change(value: float) -> str:
    return f"{value:+.2g}" if abs(value) < 1e-4 else f"{value:+.5f}"


def _range(interval: Interval, metric: str) -> str:
    if metric in ACCURACIES:
        return f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}"
    if metric in COSTS:
        return f"{interval.low:.3f} to {interval.high:.3f}"
    return f"{_change(interval.low)} to {_change(interval.high)}"
