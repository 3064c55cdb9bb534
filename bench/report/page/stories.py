"""The rows that do not hold, or only just: what moved, from what to what, the band, which messages flipped, and the command that runs the row alone."""

import shlex
from collections.abc import Iterator, Sequence

from bench.report.page.parts import VERDICT_TONES, Cell, Story, Table, tone_of
from bench.report.table import explain, own_command, verdict_text, worth_telling, written
from bench.results import Results
from bench.verdicts.verdict import SEVERITY, Flips, Judgement, RowVerdict, Verdict
from bench.wording import counted, rows_named

MOVED_COLUMNS = ("metric", "from", "to", "allowed", "verdict", "held against", "how that is known")
NUMBERS = frozenset(("from", "to", "allowed"))
NOT_KEPT = "(not kept)"


def stories_of(results: Results, verdicts: Sequence[RowVerdict], judging: Sequence[str] = ()) -> list[Story]:
    """One for every row that does not hold, or warns; none for what the person chose."""
    return [story_of(results, one, judging) for one in verdicts if any(map(worth_telling, one.judgements)) and not is_chosen(one)]


def is_chosen(verdict: RowVerdict) -> bool:
    """Whether a row cannot be compared because the person asked for something else."""
    return verdict.holds and verdict.verdict is Verdict.NOT_COMPARABLE


def anchor_of(number: int) -> str:
    """The id of a row's story."""
    return f"row-{number}"


def story_of(results: Results, verdict: RowVerdict, judging: Sequence[str] = ()) -> Story:
    """What happened to one row.  judging: flags that had it judged in another way than the usual."""
    told = [judgement for judgement in verdict.judgements if worth_telling(judgement)]
    failed = next((one for one in told if one.verdict is Verdict.ERROR), None)
    flips = verdict.flips or Flips((), (), 1.0)
    return Story(
        anchor=anchor_of(verdict.row),
        headline=f"Row {verdict.row}: {verdict.name}",
        verdict=Cell(verdict_text(verdict), tone_of(verdict)),
        moved=moved_table(verdict.row, [judgement for judgement in told if is_measured(judgement)]),
        sentences=tuple(explain(judgement) for judgement in told if not is_measured(judgement) and judgement is not failed),
        error=failed.explanation.split("\n")[0] if failed else "",
        trace=failed.explanation if failed and "\n" in failed.explanation.strip() else "",
        counted=counted_flips(flips),
        lost=tuple((number + 1, text_of(results, number)) for number in flips.lost),
        gained=tuple((number + 1, text_of(results, number)) for number in flips.gained),
        command=" ".join((own_command(verdict, results), *map(shlex.quote, judging))),
    )


def is_measured(judgement: Judgement) -> bool:
    """Whether a judgement is about a number that moved."""
    return judgement.found is not None and judgement.expected is not None


def moved_table(row: int, judgements: Sequence[Judgement]) -> Table | None:
    """What moved, a line per metric; None where nothing was measured."""
    if not judgements:
        return None
    gravest_first = sorted(judgements, key=lambda one: -SEVERITY.index(one.verdict) * (not one.advisory))
    return Table(f"moved-{row}", f"What moved in row {row}", MOVED_COLUMNS, tuple(map(moved_line, gravest_first)), NUMBERS)


def moved_line(judgement: Judgement) -> tuple[Cell, ...]:
    """One metric that moved."""
    number = written(judgement.metric)
    found, expected, low, high = ("-" if value is None else number(value) for value in (judgement.found, judgement.expected, judgement.low, judgement.high))
    band = "-" if judgement.low is None or judgement.high is None else f"{low} to {high}"
    word = f"{judgement.verdict} (warning)" if judgement.advisory else str(judgement.verdict)
    tone = "warn" if judgement.advisory else VERDICT_TONES[judgement.verdict]
    texts = (judgement.metric.replace("_", " "), expected, found, band, word, judgement.against, judgement.explanation)
    return tuple(Cell(text, tone if column == "verdict" else "") for column, text in zip(MOVED_COLUMNS, texts, strict=True))


def counted_flips(flips: Flips) -> str:
    """How many messages flipped, empty for none."""
    if not flips.lost and not flips.gained:
        return ""
    return f"{counted(len(flips.lost), 'test message')} went from right to wrong, {len(flips.gained)} from wrong to right (McNemar's exact p = {flips.p:.2g})"


def text_of(results: Results, number: int) -> str:
    """A test message, counted from zero."""
    return results.test_texts[number] if number < len(results.test_texts) else NOT_KEPT


def flips_table(results: Results, verdicts: Sequence[RowVerdict]) -> Table | None:
    """Every test message that some row answers differently than the recorded run did: those of most rows first.  None where there is none."""
    lost: dict[int, list[int]] = {}
    gained: dict[int, list[int]] = {}
    for verdict in verdicts:
        for where, numbers in ((lost, verdict.flips.lost), (gained, verdict.flips.gained)) if verdict.flips else ():
            for number in numbers:
                where.setdefault(number, []).append(verdict.row)
    order = sorted(lost.keys() | gained.keys(), key=lambda number: (-len(lost.get(number, ())) - len(gained.get(number, ())), number))
    if not order:
        return None
    lines = tuple(_flip_line(results, number, lost.get(number, []), gained.get(number, [])) for number in order)
    return Table(
        "flipped", "Test messages that rows answer differently than when they were recorded", ("message", "text", "right to wrong", "wrong to right"), lines
    )


def moved_rows(verdicts: Sequence[RowVerdict]) -> Iterator[str]:
    """Which rows came to which verdict, the gravest first, passes left out."""
    for verdict in reversed(Verdict):
        for holds, words in ((False, str(verdict)), (True, f"{verdict}, which only warns")):
            numbers = [one.row for one in verdicts if one.verdict is verdict and one.holds is holds and not is_chosen(one)]
            if numbers and verdict is not Verdict.PASS:
                yield f"{words}: {rows_named(numbers)}"


def _flip_line(results: Results, number: int, lost: Sequence[int], gained: Sequence[int]) -> tuple[Cell, ...]:
    named = (rows_named(numbers) if numbers else "-" for numbers in (lost, gained))
    return tuple(map(Cell, (str(number + 1), text_of(results, number), *named)))
