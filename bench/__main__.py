"""The commands: `python -m bench list | run | check | record | show`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.expectations import DEFAULT_PATH, load_expectations
from bench.judge import judge
from bench.record import record
from bench.report.terminal import make_console, print_environment, print_progress, print_report, print_rows
from bench.results import read_results
from bench.rows import select_rows
from bench.run import Request, finish, make_request, run_rows, start_run
from bench.tiers import TIERS
from gptcore.device import DEVICES
from gptcore.errors import UserError
from gptcore.inputs import Sources


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
    add_tier(listing)
    running = commands.add_parser("run", help="run rows and judge them", allow_abbrev=False)
    add_request(running)
    running.add_argument("--out", type=Path, help="new folder for the results (default: results/<tier>-<time>)")
    checking = commands.add_parser("check", help="judge a results folder without running anything", allow_abbrev=False)
    checking.add_argument("results", type=Path)
    recording = commands.add_parser("record", help="run rows twice and record them as the new baselines", allow_abbrev=False)
    add_request(recording)
    showing = commands.add_parser("show", help="print a past result", allow_abbrev=False)
    showing.add_argument("results", type=Path)
    for command in (running, checking, recording, showing):
        command.add_argument("--expected", type=Path, default=DEFAULT_PATH, help="file of expectations (default: the checkout's expected_results.json)")
    return parser


def add_tier(parser: argparse.ArgumentParser) -> None:
    """Add `--tier`."""
    parser.add_argument("--tier", choices=TIERS, default="smoke", help="; ".join(f"{tier.name}: {tier.about}" for tier in TIERS.values()))


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add what a run can be asked: tier, rows, device, seed, and folders that replace the published inputs."""
    add_tier(parser)
    parser.add_argument("--rows", default="all", help="numbers and ranges such as 1,4-5 (default: all)")
    parser.add_argument("--device", help=f"{', '.join(DEVICES)} (default: cpu for smoke, auto for full)")
    parser.add_argument("--seed", type=int, help="seed of head, data order and random weights (default: the rows' own)")
    parser.add_argument("--plain", action="store_true", help="send every batch through the whole network, for audits of the fast way")
    parser.add_argument("--data-dir", "--data_dir", type=Path, help="full tier: folder with train.csv, validation.csv, test.csv")
    parser.add_argument("--weights-dir", "--weights_dir", type=Path, help="full tier: folder with <name>/model.safetensors, used as they are")
    parser.add_argument("--tokenizer-dir", "--tokenizer_dir", type=Path, help="full tier: folder with GPT-2's encoder.json")
    parser.add_argument("--limit-train", "--limit_train", type=int, help="full tier: use only the first training texts")


def request_from(options: argparse.Namespace) -> Request:
    """The request that parsed options describe.  Raises UserError for what cannot run."""
    sources = Sources(data=options.data_dir, weights=options.weights_dir, tokenizer=options.tokenizer_dir, limit_train=options.limit_train)
    return make_request(TIERS[options.tier], select_rows(options.rows), options.device, sources, options.seed, plain=options.plain)


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
    terminal.print(f"{len(request.rows)} rows of the {request.tier.name} tier on {request.device}; results in {folder}", markup=False, soft_wrap=True)
    for position, result in enumerate(run_rows(request, folder), start=1):
        print_progress(terminal, result, position, len(request.rows))
    finish(folder, expectations)
    return check(argparse.Namespace(results=folder, expected=options.expected))


def check(options: argparse.Namespace) -> int:
    """`check`: judge a results folder."""
    results = read_results(options.results)
    verdicts = judge(results, load_expectations(options.expected))
    print_report(make_console(), results, verdicts)
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def record_rows(options: argparse.Namespace) -> int:
    """`record`: make rows the new baselines."""
    record(request_from(options), options.expected, make_console())
    return 0


def show(options: argparse.Namespace) -> int:
    """`show`: print a past result and where it comes from, whatever its verdict."""
    print_environment(make_console(), read_results(options.results))
    check(options)
    return 0


if __name__ == "__main__":
    console()
