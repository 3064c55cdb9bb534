"""What the page of a run says, in the order in which it says it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.comparison.compare import Verdict as Contrasted
from bench.comparison.compare import compare
from bench.expectations import Baseline, Expectations
from bench.findings.claims import JudgedFinding
from bench.report.comparison import COLUMNS, NUMBERS, SEVERITY, cells_of, note_lines, sentences, shown_of
from bench.report.comparison import closing_line as comparison_line
from bench.report.findings import closing_line as findings_line
from bench.report.page.measures import accuracy_marks, baselines_of, duration_marks
from bench.report.page.parts import Cell, Command, Headline, Story, Table, Tone
from bench.report.page.stories import anchor_of, flips_table, moved_rows, stories_of
from bench.report.page.tables import accuracy_table, attestation_table, durations_table, findings_tables, inputs_table, invariants_table, main_table
from bench.report.table import closing_line, leak_lines
from bench.results import Results
from bench.verdicts.judge import holds
from bench.verdicts.verdict import RowVerdict, Verdict
from bench.wording import counted, row_ranges, rows_named, share

CONTRAST_TONES: dict[Contrasted, Tone] = {
    Contrasted.SAME: "good",
    Contrasted.INDISTINGUISHABLE: "good",
    Contrasted.NOT_TESTED: "apart",
    Contrasted.NOT_COMPARABLE: "apart",
    Contrasted.FASTER: "notice",
    Contrasted.SLOWER: "warn",
    Contrasted.BETTER: "notice",
    Contrasted.WORSE: "bad",
    Contrasted.MISSING: "bad",
    Contrasted.ERROR: "bad",
}


@dataclass(frozen=True)
class Against:
    """This run against another: the closing line, what is not the same, and what stands behind that."""

    line: str
    table: Table | None
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything but the plots.  subtitle: tier, machine, time, commit.  flaws: of the published table.  environment: terms and what they are.

    findings_line, resuming: empty where nothing is judged, or left to run.
    """

    headline: Headline
    subtitle: str
    failing: tuple[Story, ...]
    warning: tuple[Story, ...]
    table: Table
    accuracy: Table | None
    durations: Table | None
    findings: Table | None
    untold_findings: Table | None
    findings_line: str
    against: Against | None
    flips: Table | None
    invariants: Table | None
    leaks: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    digests: tuple[Table, ...]
    resuming: str
    commands: tuple[Command, ...]
    row_commands: tuple[Command, ...]
    flaws: tuple[str, ...]
    broke_off: bool


def page_of(
    results: Results,
    verdicts: Sequence[RowVerdict],
    judged: Sequence[JudgedFinding],
    expectations: Expectations,
    folder: Path,
    *,
    base: tuple[str, Results] | None = None,
    judging: Sequence[str] = (),
    command: str = "python -m bench",
) -> Page:
    """The page of a run that was judged.  judged: the publication's findings, none where the run is of other rows.  base: another run to compare with, and
    its name.  judging: flags that had it judged in another way than the usual.  command: what starts the suite's.

    Raises UserError where the two cannot be compared.
    """
    baselines = baselines_of(results.info, expectations)
    stories = {story.anchor: story for story in stories_of(results, verdicts, judging)}
    failing = {anchor_of(verdict.row) for verdict in verdicts if not verdict.holds}
    told, untold = findings_tables(judged)
    return Page(
        headline=headline_of(results, verdicts, judging),
        subtitle=subtitle_of(results),
        failing=tuple(story for anchor, story in stories.items() if anchor in failing),
        warning=tuple(story for anchor, story in stories.items() if anchor not in failing),
        table=main_table(results, verdicts, expectations, stories),
        accuracy=None if results.info.timing_only else accuracy_table(accuracy_marks(verdicts, baselines)),
        durations=durations_table(duration_marks(verdicts, expectations), expectations.published.hardware),
        findings=told,
        untold_findings=untold,
        findings_line=findings_line(judged) if judged else "",
        against=against_of(base[0], base[1], results, str(folder)) if base else None,
        flips=flips_table(results, verdicts),
        invariants=invariants_table(results),
        leaks=tuple(leak_lines(results)),
        environment=tuple(environment_of(results, baselines)),
        digests=tuple(table for table in (inputs_table(results), attestation_table(results)) if table),
        resuming=resuming_of(results, folder, judging, command),
        commands=tuple(commands_of(results, folder, base[0] if base else None, judging, command)),
        row_commands=tuple(Command(f"row {number} alone", run_of(results, str(number), judging)) for number in results.info.rows),
        flaws=tuple(f"{rows_named(flaw.rows)}: {flaw.flaw}" for flaw in expectations.published.flaws),
        broke_off=results.invariants is None,
    )


def headline_of(results: Results, verdicts: Sequence[RowVerdict], judging: Sequence[str] = ()) -> Headline:
    """The verdict on the run as a whole, and how it was come by where that is not the usual way."""
    failing = [verdict for verdict in verdicts if not verdict.holds]
    unfinished = [number for number in results.info.rows if number not in results.rows]
    broken = [invariant for invariant in results.invariants or () if not invariant.holds]
    sentences = [closing_line(verdicts), *([f"judged with {shlex.join(judging)}"] if judging else []), *moved_rows(verdicts)]
    if results.invariants:
        sentences.append(f"{share(len(results.invariants) - len(broken), len(results.invariants), 'invariant')}")
    sentences += [f"invariant broken: {invariant.name}" for invariant in broken]
    total = len(verdicts)
    if results.invariants is None:
        words = f"The run broke off: {rows_named(unfinished)} missing" if unfinished else "The run broke off before its invariants were checked"
    elif failing:
        words = share(len(failing), total, "row", ("does not hold", "do not hold")) if total > 1 else "The row does not hold"
    elif broken:
        words = "Every row holds, but an invariant is broken"
    elif all(verdict.verdict is Verdict.NOT_COMPARABLE for verdict in verdicts):
        return Headline("Nothing was judged", "apart", tuple(sentences))
    else:
        words = f"All {total} rows hold" if total > 1 else "The row holds"
    return Headline(words, "good" if holds(results, verdicts) else "bad", tuple(sentences))


def subtitle_of(results: Results) -> str:
    """What ran where and when."""
    environment = results.info.environment
    commit = f"{environment.git_commit[:10] or 'no commit'}{' with uncommitted changes' if environment.git_dirty else ''}"
    return f"{results.info.tier} tier on {environment.device_name}, {environment.date.replace('T', ' ')}, {commit}"


def against_of(base_name: str, base: Results, results: Results, name: str) -> Against:
    """This run against another one."""
    comparisons = compare([base], [results])
    gravest_first = sorted(comparisons, key=lambda one: -SEVERITY.index(one.verdict))
    shown = shown_of(gravest_first, everything=False)
    lines = tuple(
        tuple(Cell(text, CONTRAST_TONES[one.verdict] if column == "verdict" else "") for column, text in zip(COLUMNS, cells_of(one), strict=True))
        for one in shown
    )
    table = Table("against-table", f"What is not the same; BASE is {base_name}, HEAD this run", COLUMNS, lines, NUMBERS - {"row"}) if shown else None
    return Against(comparison_line(comparisons, base_name, name), table, (*sentences(comparisons), *note_lines(comparisons)))


def environment_of(results: Results, baselines: Mapping[int, Baseline]) -> Iterator[tuple[str, str]]:
    """Where, when and with what the run took place, and where its baselines come from."""
    info = results.info
    environment = info.environment
    yield "date", environment.date
    yield "commit", f"{environment.git_commit or 'none'}{', with uncommitted changes' if environment.git_dirty else ''}"
    yield "code", f"{environment.code} (sha256 over all modules)"
    yield "machine", f"{environment.machine}, {environment.device_name}, {counted(environment.cores, 'core')}, {environment.cpu_capability}"
    yield "device", f"{environment.device_class}{f', CUDA {environment.cuda}' if environment.cuda else ''}"
    yield "threads", str(environment.threads)
    yield "precision", info.precision
    yield "way of computing", "plain, for audits" if info.plain else "fast"
    yield "deterministic algorithms", "yes" if environment.deterministic_algorithms else "no"
    yield "calibration", f"{info.calibration_seconds:.4f} s"
    yield "python", environment.python
    yield from environment.packages.items()
    yield from environment.environment_variables.items()
    yield "chosen by the person", ", ".join(info.chosen) or "nothing"
    recorded: dict[str, list[int]] = {}
    for number in results.rows:
        if number in baselines:
            origin = baselines[number].provenance
            where = f"{origin.date}, commit {origin.git_commit[:10] or 'none'}, torch {origin.torch}, {origin.machine}, threads: {origin.threads}"
            recorded.setdefault(where, []).append(number)
    for where, numbers in recorded.items():
        yield f"baseline of {rows_named(numbers)}", where


def commands_of(results: Results, folder: Path, base: str | None, judging: Sequence[str] = (), command: str = "python -m bench") -> Iterator[Command]:
    """How to do it all again, judged in the same way."""
    place = shlex.join((str(folder), *judging))
    yield Command("the same run", run_of(results, row_ranges(results.info.rows), judging))
    yield Command("judge the folder again", f"{command} check {place}")
    yield Command("write this page again", f"{command} report {place}{f' --against {shlex.quote(base)}' if base else ''}")


def run_of(results: Results, rows: str, judging: Sequence[str]) -> str:
    """The command that runs some rows as they ran."""
    return " ".join((results.info.command, "--rows", rows, *map(shlex.quote, judging)))


def resuming_of(results: Results, folder: Path, judging: Sequence[str], command: str) -> str:
    """The command that goes on with a run that broke off, empty for one that did not."""
    is_whole = results.invariants is not None and all(number in results.rows for number in results.info.rows)
    return "" if is_whole else f"{command} run --resume {shlex.join((str(folder), *judging))}"
