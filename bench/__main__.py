"""The commands: `python -m bench list | run | check | record | show`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.expectations import load_expectations
from bench.judge import RowVerdict, judge
from bench.options import add_expected, add_out, add_request, add_tier, request_from
from bench.record import record
from bench.report.terminal import make_console, print_environment, print_progress, print_report, print_rows
from bench.results import Results, read_results
from bench.run import default_folder, finish, run_rows, start_run
from bench.tiers import TIERS
from gptcore.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.  Returns 0 where every row holds, 1 where one does not, 2 for what the person can mend, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    commands = {"list": list_rows, "run": run, "check": check, "record": record_rows, "show": show}
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
    recording = commands.add_parser("record", help="run rows twice and record them as the new baselines", allow_abbrev=False)
    add_request(recording.add_argument)
    add_out(recording.add_argument)
    showing = commands.add_parser("show", help="print a past result", allow_abbrev=False)
    showing.add_argument("results", type=Path)
    for command in (running, checking, recording, showing):
        add_expected(command.add_argument)
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
    threads = read_results(folder).info.environment.threads
    where = f"{request.device}, {threads} thread{'s' if threads > 1 else ''}"
    terminal.print(f"{len(request.rows)} rows of the {request.tier.name} tier on {where}; results in {folder}", markup=False, soft_wrap=True)
    for position, result in enumerate(run_rows(request, folder), start=1):
        print_progress(terminal, result, position, len(request.rows))
    return report(terminal, finish(folder, expectations))


def check(options: argparse.Namespace) -> int:
    """`check`: judge a results folder."""
    results = read_results(options.results)
    return report(make_console(), (results, judge(results, load_expectations(options.expected))))


def report(terminal: Console, judged: tuple[Results, list[RowVerdict]]) -> int:
    """Print results with their verdicts.  Returns the exit code they deserve."""
    results, verdicts = judged
    print_report(terminal, results, verdicts)
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def record_rows(options: argparse.Namespace) -> int:
    """`record`: make rows the new baselines."""
    request = request_from(options)
    record(request, options.expected, options.out or default_folder(f"record-{request.tier.name}"), make_console())
    return 0


def show(options: argparse.Namespace) -> int:
    """`show`: print a past result and where it comes from, whatever its verdict."""
    print_environment(make_console(), read_results(options.results))
    check(options)
    return 0


if __name__ == "__main__":
    console()
