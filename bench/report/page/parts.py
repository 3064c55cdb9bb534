"""What pages are made of: cells, tables and commands, as plain strings that the templates escape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.findings.claims import Conclusion
from bench.verdicts.verdict import RowVerdict, Verdict

Tone = Literal["good", "bad", "warn", "notice", "apart", ""]

VERDICT_TONES: dict[Verdict, Tone] = {
    Verdict.PASS: "good",
    Verdict.NOT_COMPARABLE: "apart",
    Verdict.DRIFTED: "warn",
    Verdict.IMPROVED: "notice",
    Verdict.REGRESSED: "bad",
    Verdict.MISSING: "bad",
    Verdict.ERROR: "bad",
}
CONCLUSION_TONES: dict[str, Tone] = {
    Conclusion.SUPPORTED: "good",
    Conclusion.NOT_SUPPORTED: "bad",
    Conclusion.INCONCLUSIVE: "warn",
    Conclusion.NOT_JUDGED: "apart",
}


@dataclass(frozen=True)
class Cell:
    """Text, how it is meant, and the id of the place in the page that it leads to."""

    text: str
    tone: Tone = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose lines start with their header.  numbers: names of the columns whose cells are set to the right.  notes: sentences under it."""

    name: str
    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """What a person can type, and what for."""

    purpose: str
    text: str


@dataclass(frozen=True)
class Story:
    """What happened to one row, in full.

    moved: what moved, from, to, with the band.  error: its first line; trace: all of it.  lost, gained: numbers and texts of the flipped test messages.
    """

    anchor: str
    headline: str
    verdict: Cell
    moved: Table | None
    sentences: tuple[str, ...]
    error: str
    trace: str
    counted: str
    lost: tuple[tuple[int, str], ...]
    gained: tuple[tuple[int, str], ...]
    command: str


@dataclass(frozen=True)
class Headline:
    """The verdict on everything: in a few words, how it is meant, and sentences."""

    words: str
    tone: Tone
    sentences: tuple[str, ...] = field(default=())


def without_empty_columns(table: Table) -> Table:
    """The table without the columns that have nothing but dashes."""
    kept = [place for place in range(len(table.header)) if any(line[place].text != "-" for line in table.lines)]
    return replace(table, header=tuple(table.header[place] for place in kept), lines=tuple(tuple(line[place] for place in kept) for line in table.lines))


def cells(*texts: str) -> tuple[Cell, ...]:
    """Cells without a tone."""
    return tuple(map(Cell, texts))


def tone_of(verdict: RowVerdict) -> Tone:
    """How a row's verdict is meant: one that fails the row is never a mere warning."""
    tone = VERDICT_TONES[verdict.verdict]
    return "bad" if tone == "warn" and not verdict.holds else tone


def lines_of(rows: Iterable[Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    """Lines of plain text."""
    return tuple(cells(*row) for row in rows)
