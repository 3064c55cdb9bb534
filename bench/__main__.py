"""The commands: `python -m bench list | run | check | record | show | speed | cache`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.cache import clear_cache, print_cache
from bench.evidence import evidence_of, recorded_evidence
from bench.expectations import load_expectations
from bench.findings import judge_findings
from bench.invariants import check_invariants
from bench.judge import holds, judge
from bench.options import add_expected, add_format, add_out, add_request, add_strictness, add_tier, request_from
from bench.record import record
from bench.report.findings import show_findings
from bench.report.terminal import make_console, print_environment, print_progress, print_report, print_rows
from bench.results import Results, read_results
from bench.rows import select_rows
from bench.run import default_folder, finish, run_rows, start_run
from bench.speed import time_rows
from bench.tiers import TIERS
from bench.verdict import RowVerdict
from gptcore.device import DEVICES, pick_device
from gptcore.errors import UserError
from gptcore.execution import set_threads
from gptcore.state_cache import StateCache
from gptcore.state_cache import default_folder as default_states_folder

SPEED_ROWS = "1-5,11,16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.  Returns 0 where every row holds, 1 where one does not, 2 for what the person can mend, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    commands = {"list": list_rows, "run": run, "check": check, "record": record_rows, "show": show, "speed": speed, "cache": cache, "findings": findings}
    try:
        return commands[options.command](options)
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
    caching = commands.add_parser("cache", help="list or clear the frozen states that --keep-states left on disk", allow_abbrev=False)
    caching.add_argument("action", choices=("list", "clear"))
    for command in (running, checking, recording, showing, finding):
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


def show(options: argparse.Namespace) -> int:
    """`show`: print a past result and where it comes from, whatever its verdict."""
    print_environment(make_console(), read_results(options.results))
    check(options)
    return 0


if __name__ == "__main__":
    console()
