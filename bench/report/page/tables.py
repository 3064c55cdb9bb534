"""The tables of a run's page."""

from collections.abc import Mapping, Sequence

from bench.expectations import Baseline, Expectations
from bench.findings.claims import Conclusion, JudgedFinding
from bench.report.findings import findings_cells
from bench.report.findings import note_lines as findings_notes
from bench.report.page.measures import EXPLANATIONS, AccuracyMark, Basis, DurationMark, baselines_of, figures_of
from bench.report.page.parts import CONCLUSION_TONES, Cell, Story, Table, lines_of, tone_of, without_empty_columns
from bench.report.page.stories import anchor_of
from bench.report.table import NOTICES, megabytes, notes, row_cells, seed_lines
from bench.results import Results
from bench.verdicts.verdict import RowVerdict
from bench.wording import row_ranges
from gptcore.dataset import SPLITS

FIGURES = ("row", "what it changes", "verdict", *(f"{split} %" for split in SPLITS), "recorded %", "from recorded", "published %", "from published")
COSTS = ("notices", "seconds", "this run", "x published")
WORDS = frozenset(("what it changes", "interval of", "verdict", "what it says", "claimed", "this part", "note", "name", "what was seen"))
FLIPS_SHOWN = 50


def main_table(results: Results, verdicts: Sequence[RowVerdict], expectations: Expectations, stories: Mapping[str, Story]) -> Table:
    """One line per row: figures, what they are held against, and the verdict."""
    header = (*FIGURES, *COSTS)
    baselines = baselines_of(results.info, expectations)
    lines = [main_line(verdict, expectations, baselines.get(verdict.row), stories) for verdict in verdicts]
    caption = "Accuracies in percent, differences in points, seconds of training alone and from cold."
    if expectations.published.rows and all(line["from published"].text == "-" for line in lines):
        caption += f" Published figures are of GPT-2 on an {expectations.published.hardware}; this run did other work, and is not judged against them."
    told = tuple(line for line in notes(results, verdicts) if line.startswith((NOTICES, "a clean run"))) + tuple(seed_lines(results))
    in_order = tuple(tuple(line[column] for column in header) for line in lines)
    return without_empty_columns(Table("table", caption, header, in_order, frozenset(header) - WORDS, told))


def main_line(verdict: RowVerdict, expectations: Expectations, baseline: Baseline | None, stories: Mapping[str, Story]) -> dict[str, Cell]:
    """The cells of one row by column.  Of a row without figures the recorded ones stand there all the same."""
    texts = row_cells(verdict)
    line = {column: Cell(texts.get(column, "-")) for column in (*FIGURES, *COSTS)}
    anchor = anchor_of(verdict.row)
    line["row"] = Cell(texts["row"], link=anchor if anchor in stories else "")
    line["verdict"] = Cell(texts["verdict"], tone_of(verdict))
    for against, column, moved in (("baseline", "recorded %", "from recorded"), ("published", "published %", "from published")):
        judged = {one.metric: one for one in verdict.judgements if one.against == against and one.expected is not None and one.found is not None}
        both = [judged.get(f"{split}_accuracy") for split in SPLITS]
        if all(both):
            line[column] = Cell(" / ".join(f"{100 * (one.expected or 0):.1f}" for one in both if one))
            line[moved] = Cell(" / ".join(f"{100 * ((one.found or 0) - (one.expected or 0)):+.1f}" for one in both if one))
    if baseline and figures_of(verdict) is None:
        line["recorded %"] = Cell(" / ".join(f"{100 * baseline.own.counts[split].accuracy:.1f}" for split in SPLITS))
    published = expectations.published.rows.get(verdict.row)
    if published:
        line["published %"] = Cell(" / ".join(f"{published.accuracies[split].percent:.2f}" for split in SPLITS if split in published.accuracies))
    return line


def accuracy_table(marks: Sequence[AccuracyMark]) -> Table | None:
    """Test accuracy with its interval; None without figures."""
    if not marks:
        return None
    header = ("row", "what it changes", "test %", "95 % interval", "recorded %", "interval of")
    lines = lines_of(
        (
            str(mark.row),
            mark.name,
            f"{100 * mark.found:.2f}",
            f"{100 * mark.interval.low:.2f} to {100 * mark.interval.high:.2f}",
            "-" if mark.recorded is None else f"{100 * mark.recorded:.2f}",
            f"{len(mark.seeds)} {mark.basis}" if mark.basis is Basis.SEEDS else str(mark.basis),
        )
        for mark in marks
    )
    explained = tuple(f"{basis}: {EXPLANATIONS[basis]}" for basis in Basis if any(mark.basis is basis for mark in marks))
    caption = "Test accuracy in percent, and how far it could be chance"
    return without_empty_columns(Table("accuracies", caption, header, lines, frozenset(header) - WORDS, explained))


def durations_table(marks: Sequence[DurationMark], hardware: str) -> Table | None:
    """Seconds against recorded seconds and published minutes, and as multiples of row 1's; None without figures."""
    if not marks:
        return None
    first = next((mark for mark in marks if mark.row == 1), None) if len(marks) > 1 else None
    header = (
        "row",
        "what it changes",
        "seconds",
        "recorded seconds",
        "band",
        "published minutes",
        "x published",
        "x row 1",
        "x row 1 as published",
        "peak memory, MB",
    )
    lines = lines_of(
        (
            str(mark.row),
            mark.name,
            f"{mark.seconds:.3f}",
            "-" if mark.recorded is None else f"{mark.recorded:.3f}",
            "-" if mark.band is None else f"{mark.band.low:.3f} to {mark.band.high:.3f}",
            "-" if mark.minutes is None else f"{mark.minutes:.2f}",
            "-" if not mark.published or not mark.seconds else f"{mark.published / mark.seconds:.2f}",
            "-" if not first or not first.seconds else f"{mark.seconds / first.seconds:.2f}",
            "-" if not first or not first.minutes or not mark.minutes else f"{mark.minutes / first.minutes:.2f}",
            "-" if mark.memory is None else megabytes(mark.memory),
        )
        for mark in marks
    )
    notes = list(dict.fromkeys(f"recorded seconds: {mark.note}" for mark in marks if mark.note))
    if any(mark.minutes for mark in marks) and not any(mark.published for mark in marks):
        told = f"published minutes are of GPT-2 on an {hardware}; this run did other work"
        notes.append(f"{told}, so only the multiples of row 1 can be put side by side" if first else told)
    caption = "Training alone and from cold; recorded seconds at the pace of this run where the tier compares durations so"
    return without_empty_columns(Table("durations-table", caption, header, lines, frozenset(header) - WORDS, tuple(notes)))


def findings_tables(judged: Sequence[JudgedFinding]) -> tuple[Table | None, Table | None]:
    """Findings that the run says something of, and those that it does not, whose rows never ran or cannot be compared; None for none."""
    told = [one for one in judged if any(claim.conclusion is not Conclusion.NOT_JUDGED for claim in one.claims)]
    untold = [one for one in judged if one not in told]
    caption = "Findings that this run says nothing of"
    return (
        findings_table("findings-table", "What this run says of the publication's findings", told) if told else None,
        findings_table("untold-findings", caption, untold) if untold else None,
    )


def findings_table(name: str, caption: str, judged: Sequence[JudgedFinding]) -> Table:
    """Findings, a line per claim."""
    header, rows = findings_cells(judged)
    numbers = [str(one.finding.number) for one in judged for _ in one.claims]  # every line needs its header
    lines = tuple((Cell(number), *(Cell(text, CONCLUSION_TONES.get(text, "")) for text in row[1:])) for number, row in zip(numbers, rows, strict=True))
    return Table(name, caption, header, lines, frozenset(("seeds",)), tuple(findings_notes(judged)))


def invariants_table(results: Results) -> Table | None:
    """What must hold whatever is expected; None where nothing was checked."""
    if not results.invariants:
        return None
    lines = tuple(
        (Cell(one.name), Cell("holds", "good") if one.holds else Cell("broken", "bad"), Cell(row_ranges(one.rows) or "-"), Cell(one.explanation or "-"))
        for one in sorted(results.invariants, key=lambda one: one.holds)
    )
    return Table("invariants-table", "What must hold whatever is expected of the figures", ("name", "verdict", "rows", "what was seen"), lines)


def inputs_table(results: Results) -> Table | None:
    """What figures depend on besides the code: components, their digests, and the rows that have them; None where no row came so far."""
    rows: dict[tuple[str, str], list[int]] = {}
    for number, result in results.rows.items():
        for component, digest in result.digests.items():
            rows.setdefault((component, digest), []).append(number)
    lines = lines_of((component, digest[:16], row_ranges(numbers)) for (component, digest), numbers in sorted(rows.items(), key=lambda item: item[0][0]))
    caption = "Digests (sha256, their first 16 digits) of what the figures depend on: only equal ones are compared"
    return Table("inputs", caption, ("component", "digest", "rows"), lines) if lines else None


def attestation_table(results: Results) -> Table | None:
    """What says whether another computation agrees bit for bit, of each row's own seed; None without figures."""
    attested = [(number, result.figures.attestation) for number, result in results.rows.items() if result.figures]
    caption = "Digests (sha256, their first 16 digits) of what came out: the trained weights, and the logits of every text"
    lines = lines_of((str(number), attestation.weights[:16], attestation.logits[:16]) for number, attestation in attested)
    return Table("attested", caption, ("row", "weights", "logits"), lines, frozenset(("row",))) if lines else None
