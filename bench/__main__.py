"""The commands: `python -m bench list | run | check | record | show | findings | compare | bisect | sensitivity | speed | cache`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from bench.cache import clear_cache, print_cache
from bench.comparison.bisect import Criterion
from bench.comparison.bisect import bisect as find_first_bad
from bench.comparison.compare import compare_folders, exit_code
from bench.comparison.revisions import compare_revisions, is_results_folder
from bench.expectations import load_expectations
from bench.findings.claims import judge_findings
from bench.findings.evidence import evidence_of, recorded_evidence
from bench.invariants import check_invariants
from bench.options import add_expected, add_format, add_out, add_request, add_rerun, add_strictness, add_tier, request_from, rerun_arguments
from bench.recording.record import record
from bench.report.comparison import bisection_lines, show_comparison
from bench.report.findings import show_findings
from bench.report.sensitivity import report_sensitivity
from bench.report.terminal import make_console, print_environment, print_progress, print_report, print_rows
from bench.results import Results, read_results
from bench.rows import select_rows
from bench.run import default_folder, finish, run_rows, start_run
from bench.sensitivity.measure import measure_sensitivity
from bench.speed.timing import time_rows
from bench.tiers import TIERS
from bench.verdicts.judge import holds, judge
from bench.verdicts.verdict import RowVerdict
from gptcore.device import DEVICES, pick_device
from gptcore.errors import UsageError, UserError
from gptcore.execution import set_threads
from gptcore.state_cache import StateCache
from gptcore.state_cache import default_folder as default_states_folder

SPEED_ROWS = "1-5,11,16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.  Returns 0 where every row holds, 1 where one does not, 2 for what the person can mend, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished rows stay in the results folder", file=sys.stderr)
        return 130


def console() -> None:
    """Entry point of the `bench` script."""
    sys.exit(main())


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Nineteen fine-tuning experiments as regression checks.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print the rows and their settings", allow_abbrev=False)
    add_tier(listing.add_argument)
    running = commands.add_parser("run", help="run rows and judge them", allow_abbrev=False)
    add_request(running.add_argument)
    add_out(running.add_argument)
    checking = commands.add_parser("check", help="judge a results folder without running anything", allow_abbrev=False)
    checking.add_argument("results", type=Path)
    recording = commands.add_parser("record", help="run rows twice, with other seeds and under other rounding, as the new baselines", allow_abbrev=False)
    add_request(recording.add_argument)
    recording.add_argument("--repeats", action=argparse.BooleanOptionalAction, help="measure the spread of rounding (default: in the smoke tier)")
    add_out(recording.add_argument)
    showing = commands.add_parser("show", help="print a past result", allow_abbrev=False)
    showing.add_argument("results", type=Path)
    timing = commands.add_parser("speed", help="time rows plain and fast, in turn, at GPT-2's size with random weights", allow_abbrev=False)
    timing.add_argument("--rows", default=SPEED_ROWS, help=f"numbers and ranges (default: {SPEED_ROWS})")
    timing.add_argument(
        "--limit-train", "--limit_train", type=int, default=16, help="training texts; more take longer and come closer to the whole (default: 16)"
    )
    timing.add_argument("--device", default="cpu", help=f"{', '.join(DEVICES)} (default: cpu)")
    timing.add_argument("--threads", type=int, metavar="N", help="threads of the CPU (default: the cores this process may use)")
    timing.add_argument("--out", type=Path, help="new file for the table in Markdown (default: results/speed-<time>.md)")
    finding = commands.add_parser("findings", help="judge the publication's twelve findings", allow_abbrev=False)
    finding.add_argument("results", type=Path, nargs="?", help="a results folder (default: the published figures, then every recorded baseline)")
    add_format(finding.add_argument)
    comparing = commands.add_parser("compare", help="compare two results folders, or two git revisions that run in turn", allow_abbrev=False)
    for side in ("base", "head"):
        comparing.add_argument(side, metavar=side.upper(), help="a results folder, or a git revision")
    comparing.add_argument("--repeats", type=int, default=3, metavar="N", help="of each revision, for durations (default: 3)")
    comparing.add_argument("--all", action="store_true", help="show figures that did not move, too")
    comparing.add_argument("--fail-on-duration", action="store_true", help="a slower row fails")
    bisecting = commands.add_parser("bisect", help="find the commit that moved a row", allow_abbrev=False)
    bisecting.add_argument("--good", required=True, help="a git revision before the change")
    bisecting.add_argument("--bad", required=True, help="a git revision after it")
    bisecting.add_argument("--row", required=True, type=int, metavar="N", help="the row that moved")
    bisecting.add_argument(
        "--criterion", choices=get_args(Criterion), default="changed", help="changed: beyond rounding; worse: significantly (default: changed)"
    )
    for command in (comparing, bisecting):
        add_rerun(command.add_argument)
        add_out(command.add_argument)
        add_format(command.add_argument)
    comparing.add_argument("--rows", default="all", help="numbers and ranges such as 1,4-5 (default: all)")
    measuring = commands.add_parser("sensitivity", help="measure how often clean runs are flagged, and which deliberate defects are caught", allow_abbrev=False)
    measuring.add_argument("--only", metavar="TEXT", help="only defects with this in their name or module")
    add_out(measuring.add_argument)
    caching = commands.add_parser("cache", help="list or clear the frozen states that --keep-states left on disk", allow_abbrev=False)
    caching.add_argument("action", choices=("list", "clear"))
    for command in (running, checking, recording, showing, finding, measuring):
        add_expected(command.add_argument)
    for command in (running, checking, showing):
        add_strictness(command.add_argument)
    return parser


def list_rows(options: argparse.Namespace) -> int:
    """`list`: print the table of rows."""
    print_rows(make_console(), TIERS[options.tier])
    return 0


def run(options: argparse.Namespace) -> int:
    """`run`: run rows, show them as they end, then judge."""
    expectations = load_expectations(options.expected)
    request = request_from(options)
    terminal = make_console()
    folder = start_run(request, options.out)
    where = f"{request.device}, threads: {read_results(folder).info.environment.threads}"
    terminal.print(f"{len(request.rows)} rows of the {request.tier.name} tier on {where}; results in {folder}", markup=False, soft_wrap=True)
    for position, result in enumerate(run_rows(request, folder), start=1):
        print_progress(terminal, result, position, len(request.rows))
    check_invariants(request, folder)
    return report(terminal, finish(folder, expectations, options.strictness))


def check(options: argparse.Namespace) -> int:
    """`check`: judge a results folder."""
    results = read_results(options.results)
    return report(make_console(), (results, judge(results, load_expectations(options.expected), options.strictness)))


def report(terminal: Console, judged: tuple[Results, list[RowVerdict]]) -> int:
    """Print results with their verdicts.  Returns the exit code they deserve."""
    results, verdicts = judged
    print_report(terminal, results, verdicts)
    return 0 if holds(results, verdicts) else 1


def record_rows(options: argparse.Namespace) -> int:
    """`record`: make rows the new baselines."""
    tier = TIERS[options.tier]
    request = request_from(options, tier.recorded_seeds)
    repeats = tier.records_repeats if options.repeats is None else options.repeats
    record(request, options.expected, options.out or default_folder(f"record-{tier.name}"), make_console(), repeats=repeats)
    return 0


def speed(options: argparse.Namespace) -> int:
    """`speed`: time rows plain and fast, and write the table."""
    path = options.out or default_folder("speed").with_suffix(".md")
    command = f"python -m bench speed --rows {options.rows} --limit-train {options.limit_train} --device {options.device}"
    time_rows(select_rows(options.rows), options.limit_train, pick_device(options.device), set_threads(options.threads), path, command, make_console())
    return 0


def cache(options: argparse.Namespace) -> int:
    """`cache`: the frozen states on disk."""
    states = StateCache(default_states_folder(), limit=0)
    (print_cache if options.action == "list" else clear_cache)(make_console(), states)
    return 0


def findings(options: argparse.Namespace) -> int:
    """`findings`: what the evidence says of the publication's conclusions."""
    expectations = load_expectations(options.expected)
    titled = evidence_of(read_results(options.results), str(options.results)) if options.results else recorded_evidence(expectations)
    show_findings(make_console(), {title: judge_findings(evidence) for title, evidence in titled.items()}, options.format)
    return 0


def compare(options: argparse.Namespace) -> int:
    """`compare`: two sides against each other, whatever is expected of either."""
    base, head = options.base, options.head
    are_folders = {is_results_folder(side) for side in (base, head)}
    if len(are_folders) > 1:
        raise UsageError(f"{base} and {head} are a results folder and none: compare two results folders, or two git revisions")
    if are_folders == {True}:
        comparisons = compare_folders(Path(base), Path(head))
    else:
        arguments = [*rerun_arguments(options), "--rows", options.rows]
        comparisons = compare_revisions(base, head, arguments, options.out or default_folder("compare"), repeats=options.repeats, echo=tell)
    show_comparison(make_console(), comparisons, base, head, options.format, everything=options.all, judge_durations=options.fail_on_duration)
    return exit_code(comparisons, judge_durations=options.fail_on_duration)


def bisect(options: argparse.Namespace) -> int:
    """`bisect`: the first commit that moved a row.  Returns 1 where several are left."""
    arguments, out = rerun_arguments(options), options.out or default_folder("bisect")
    found = find_first_bad(options.good, options.bad, options.row, arguments, out, criterion=options.criterion, echo=tell)
    terminal = make_console()
    for line in bisection_lines(found):
        terminal.print(line, markup=False, soft_wrap=True)
    if found.is_decided:
        show_comparison(terminal, found.comparisons, str(found.good), str(found.suspects[0]), options.format)
    return 0 if found.is_decided else 1


def sensitivity(options: argparse.Namespace) -> int:
    """`sensitivity`: clean runs and deliberate defects, for real.  Returns 1 where one of the former is flagged, or one of the latter is missed."""
    out = options.out or default_folder("sensitivity")
    found = measure_sensitivity(load_expectations(options.expected), out, tell, only=options.only)
    report_sensitivity(make_console(), found, out)
    return 0 if found.holds else 1


def tell(line: str) -> None:
    """Say something that is not the answer."""
    print(line, file=sys.stderr, flush=True)


def show(options: argparse.Namespace) -> int:
    """`show`: print a past result and where it comes from, whatever its verdict."""
    print_environment(make_console(), read_results(options.results))
    check(options)
    return 0


COMMANDS = {
    "list": list_rows,
    "run": run,
    "check": check,
    "record": record_rows,
    "show": show,
    "findings": findings,
    "compare": compare,
    "bisect": bisect,
    "sensitivity": sensitivity,
    "speed": speed,
    "cache": cache,
}

if __name__ == "__main__":
    console()
