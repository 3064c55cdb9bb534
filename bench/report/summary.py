"""What a pull request shows of a run: the verdict first, rows that fail open and in full, the rest folded, within the size that GitHub takes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.comparison.compare import COSTS, Comparison
from bench.comparison.compare import Verdict as Compared
from bench.report import comparison as compared
from bench.report.fitting import Part, Section, fitted
from bench.report.markdown import LONGEST, table_lines, text_lines, told_lines
from bench.report.table import Told, closing_line, explanations, notes
from bench.report.text import clipped, markdown_block, markdown_code, markdown_line, markdown_text
from bench.results import Results
from bench.verdicts.judge import holds
from bench.verdicts.verdict import SEVERITY, RowVerdict, Verdict
from bench.wording import counted, row_ranges, rows_named, share
from gptcore.errors import UsageError

COMMENT_LIMIT = 60_000  # bytes; GitHub takes 65,536 characters, of which whoever posts the comment may want some
LEAST_LIMIT = 8_000  # the verdict, at its longest, and the sentence on what is missing
LONGEST_PLACE, LONGEST_COMMAND = 300, 500  # characters that the verdict names of where a run took place and how it was started
TEXTS = 100  # texts that flipped come last, the first of each row before the second of any
LONGEST_TRACEBACK = 8_000
CLOSED = "\n</details>"
UNMOVED = frozenset((Compared.SAME, Compared.NOT_TESTED, Compared.INDISTINGUISHABLE, Compared.NOT_COMPARABLE))


@dataclass(frozen=True)
class Against:
    """Another results folder that the run is compared with: its name, the run's own, and what moved."""

    base: str
    head: str
    comparisons: Sequence[Comparison]


def check_limit(limit: int) -> int:
    """The limit.  Raises UsageError where it has no space for a verdict and the sentence on what is missing."""
    if limit < LEAST_LIMIT:
        raise UsageError(f"--limit {limit} is not possible: a verdict needs at least {LEAST_LIMIT} bytes; leave it out for {COMMENT_LIMIT}")
    return limit


def render_summary(results: Results, verdicts: Sequence[RowVerdict], limit: int = COMMENT_LIMIT, against: Against | None = None) -> str:
    """The summary as GitHub's Markdown, of at most `limit` bytes.  Nothing that comes from files is more in it than text."""
    ran = [verdict for verdict in verdicts if verdict.result]
    failing = [verdict for verdict in ran if not verdict.holds]
    warning = [verdict for verdict in ran if verdict.holds and explanations(results, [verdict])]
    others = [verdict for verdict in ran if verdict.holds and verdict not in warning]
    sections = [
        _broken_invariants(results),
        *_rows("Rows that fail", "failing rows", failing, results, rank=1),
        *_rows("Rows that warn", "warning rows", warning, results, rank=4),
        *([_moved(against), _not_moved(against)] if against else []),
        _unchanged(others, results, verdicts),
        _held_invariants(results),
        _environment(results),
    ]
    return fitted(_head(results, verdicts, n_warning=len(warning)), sections, limit)


def marker(tier: str) -> str:
    """A line that no reader sees, by which a comment is found again."""
    return f"<!-- fine-tuning benchmarks: {tier} -->"


def _head(results: Results, verdicts: Sequence[RowVerdict], *, n_warning: int) -> str:
    """The verdict on one line, where it comes from on the next, and what never ran."""
    info, environment = results.info, results.info.environment
    absent = [verdict.row for verdict in verdicts if verdict.result is None]
    state = "incomplete" if absent or results.invariants is None else "passed" if holds(results, verdicts) else "failed"
    failed = Counter(verdict.verdict for verdict in verdicts if not verdict.holds)
    counts = [closing_line(verdicts), *(f"{failed[kind]} {kind}" for kind in reversed(SEVERITY) if failed[kind])]
    counts += [f"{n_warning} with a warning"] if n_warning else []
    counts += [share(sum(one.holds for one in results.invariants), len(results.invariants), "invariant")] if results.invariants else []
    commit = f"commit {environment.git_commit[:10]}{' with changes that are not committed' if environment.git_dirty else ''}"
    where = (environment.device_name, counted(environment.threads, "thread"), f"torch {environment.packages.get('torch')}", commit, environment.date)
    lines = [marker(info.tier), f"**{info.tier} tier: {state}** - {'; '.join(counts)}", markdown_text(clipped(", ".join(where), LONGEST_PLACE))]
    if absent:
        again = markdown_code(f"{clipped(info.command, LONGEST_COMMAND)} --rows {row_ranges(absent)}")
        ended = f"{len(verdicts) - len(absent)} of {counted(len(verdicts), 'row')}"
        lines.append(f"The run broke off after {ended}: {rows_named(absent)} never ended.  What is left: {again}")
    elif results.invariants is None:
        lines.append("The run broke off before its invariants were checked, so it does not hold as a whole: go on with `run --resume FOLDER`.")
    return "\n\n".join(lines)


def _rows(title: str, name: str, verdicts: Sequence[RowVerdict], results: Results, *, rank: int) -> list[Section]:
    """The table of rows that need words, then each with its own."""
    header, cells = table_lines(verdicts)
    table = Section("\n".join(["", f"### {title}", "", *header]), tuple(Part(line, rank, f"{name} of the table") for line in cells))
    return [table, *(_told(told, verdict, name, rank + 1) for verdict in verdicts for told in explanations(results, [verdict]))]


def _told(told: Told, verdict: RowVerdict, name: str, rank: int) -> Section:
    """One row's words: what moved, the command that runs it alone, the texts that flipped, the traceback of an error."""
    said = Part("\n".join(["", *told_lines(told)]), rank, f"explanations of {name}")
    texts = [Part(line, TEXTS + number, "texts that flipped") for number, line in enumerate(text_lines(told))]
    error = verdict.result.error if verdict.result else None
    folded = "\n".join((_opened("traceback"), markdown_block(error[-LONGEST_TRACEBACK:]), CLOSED)) if error and "\n" in error else ""
    return Section("", (said, *texts, *([Part(folded, rank + 1, "tracebacks")] if folded else [])))


def _unchanged(others: Sequence[RowVerdict], results: Results, verdicts: Sequence[RowVerdict]) -> Section:
    """The rows without anything to say, and what there is to say of all rows together."""
    n_apart = sum(verdict.verdict is Verdict.NOT_COMPARABLE for verdict in others)
    counts = {"unchanged": len(others) - n_apart, "not comparable, as was asked": n_apart}
    title = ", ".join(f"{counted(count, 'row')} {what}" for what, count in counts.items() if count) or "notes"
    header, cells = table_lines(others)
    rows = [Part(line, 20, "unchanged rows") for line in cells]
    said = [Part(f"\n{_line(note)}", 21, "notes") for note in notes(replace(results, invariants=()), verdicts)]
    return _fold(title, header if rows else [], [*rows, *said])


def _broken_invariants(results: Results) -> Section:
    broken = [f"broken: {one.name} ({one.explanation})" for one in results.invariants or () if not one.holds]
    return Section("\n### Invariants that do not hold", tuple(_listed(broken, 0, "broken invariants")))


def _held_invariants(results: Results) -> Section:
    held = [f"holds: {one.name}" for one in results.invariants or () if one.holds]
    return _fold(f"{counted(len(held), 'invariant')} held", [], _listed(held, 30, "held invariants"))


def _moved(against: Against) -> Section:
    """What moved between the other folder and this one, with the count of all."""
    moved = [one for one in against.comparisons if _has_moved(one)]
    line = _line(compared.closing_line(against.comparisons, against.base, against.head))
    opening = ["", "### Against another run", "", line, *(["", *_columns(compared.COLUMNS)] if moved else [])]
    rows = [Part(markdown_line(compared.cells_of(one)), 3, "figures that moved") for one in moved]
    told = _listed(compared.sentences(moved), 6, "explanations of what moved")
    return Section("\n".join(opening), (*rows, *told) or (Part("\nNo figure moved.", 3, "figures that moved"),))


def _not_moved(against: Against) -> Section:
    """Figures that differ by what chance explains, or that nothing can be said of."""
    rest = [one for one in against.comparisons if not _has_moved(one) and one.verdict is not Compared.SAME]
    rows = [Part(markdown_line(compared.cells_of(one)), 40, "figures that differ by chance") for one in rest]
    said = _listed([*compared.sentences(rest), *compared.note_lines(against.comparisons)], 41, "notes on the other run")
    return _fold(f"figures that differ by chance or cannot be compared: {len(rest)}", _columns(compared.COLUMNS) if rows else [], [*rows, *said])


def _has_moved(one: Comparison) -> bool:
    return one.verdict not in UNMOVED or (one.verdict is Compared.NOT_COMPARABLE and one.metric not in COSTS)


def _environment(results: Results) -> Section:
    """Everything a figure may depend on besides its settings."""
    info = results.info
    known: dict[str, Any] = {"command": info.command, "rows": row_ranges(info.rows), "precision": info.precision}
    known |= {"way of computing": "plain" if info.plain else "fast", "calibration": f"{info.calibration_seconds:.4g} s"}
    known |= {name.replace("_", " "): value for name, value in vars(info.environment).items()}
    lines = [markdown_line((name, clipped(_plain(value), LONGEST))) for name, value in known.items()]
    return _fold("environment", _columns(("", "")), [Part(line, 10, "lines of the environment") for line in lines])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items()) or "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value) or "none"


def _line(text: str) -> str:
    return markdown_text(clipped(text, LONGEST))


def _columns(names: Sequence[str]) -> list[str]:
    return [markdown_line(names), markdown_line("---" for _ in names)]


def _listed(sentences: Sequence[str], rank: int, name: str) -> list[Part]:
    """A list, set off by an empty line from what stands before it."""
    lines = [f"- {_line(sentence)}" for sentence in sentences]
    return [Part(line, rank, name) for line in (*(f"\n{first}" for first in lines[:1]), *lines[1:])]


def _fold(title: str, header: Sequence[str], parts: Sequence[Part]) -> Section:
    return Section("\n".join([_opened(title), *header]), tuple(parts), CLOSED)


def _opened(title: str) -> str:
    return f"\n<details><summary>{title}</summary>\n"
