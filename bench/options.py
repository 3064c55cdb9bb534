"""What can be asked: the options of a run, once for the command line and for pytest, and the parser of all commands."""

import argparse
from collections.abc import Callable
from typing import Any, get_args

import torch

from bench.comparison.bisect import Criterion
from bench.executors.choice import EXECUTORS, Executor
from bench.folders import RESULTS
from bench.report.summary import COMMENT_LIMIT
from bench.report.text import FORMATS
from bench.request import CHECKPOINT_SECONDS, Request, checked
from bench.rows import select_rows
from bench.suite import PUBLISHED, Suite
from bench.verdicts.verdict import Strictness
from gptcore.command_line import file_argument, path_argument
from gptcore.device import DEVICES, pick_device
from gptcore.errors import UsageError
from gptcore.execution import add_execution_flags, execution_from
from gptcore.experiment import PRECISIONS
from gptcore.inputs import Sources

AddOption = Callable[..., Any]
DRIFTED = "a row whose computation changed without its accuracy provably moving"
SPEED_ROWS = "1-5,11,16"
RERUN_FLAGS = {"device": str, "seed": int, "seeds": int, "threads": int}


def suite_of(options: argparse.Namespace) -> Suite:
    """The suite whose parser made the options; the published one where another parser did, as pytest's."""
    suite: Suite = getattr(options, "suite", PUBLISHED)
    return suite


def add_tier(add: AddOption, suite: Suite = PUBLISHED) -> None:
    """Add `--tier`."""
    names = list(suite.tiers)
    about = "; ".join(f"{tier.name}: {tier.about}" for tier in suite.tiers.values())
    add("--tier", choices=names, default=names[0], help=f"{about} (default: %(default)s)")


def add_expected(add: AddOption, suite: Suite = PUBLISHED) -> None:
    """Add `--expected`."""
    add("--expected", type=path_argument, default=suite.expected, help=f"file of expectations (default: the checkout's {suite.expected.name})")


def add_out(add: AddOption) -> None:
    """Add `--out`."""
    add("--out", type=path_argument, help="new folder for the results (default: results/<tier>-<time>)")


def add_resume(add: AddOption) -> None:
    """Add `--resume`."""
    add(
        "--resume",
        type=path_argument,
        metavar="FOLDER",
        help="go on with the run in a results folder: rows it holds stay, long rows go on from their last checkpoint",
    )


def add_output(add: AddOption) -> None:
    """Add `--quiet` and `--json`."""
    add("--quiet", action="store_true", help="print only what failed and the closing line")
    add("--json", action="store_true", help="print one JSON object on standard output and nothing else there (keys: bench/report/judged.py)")


def add_executor(add: AddOption) -> None:
    """Add what `executor_from` reads: where rows run.  Also beside `--resume`, since no figure depends on it."""
    add("--executor", choices=list(EXECUTORS), help=f"where rows run: {'; '.join(f'{name}: {about}' for name, about in EXECUTORS.items())} (default: local)")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="rows that run at once, each in a process of its own (default: local: 1, with several GPUs one on each; else as many as find room)",
    )
    add("--address", help="of a running Ray cluster, such as 10.0.0.1:6379, or auto on one of its machines (default: start one here)")
    add("--jobs", metavar="KEY=VALUE,...", help="what to ask of Slurm for each job, such as partition=gpu,time=240")


def executor_from(options: argparse.Namespace) -> Executor | None:
    """Where rows are asked to run, None where nothing was said.  Raises UsageError for what cannot be."""
    asked = Executor(options.executor or Executor.name, options.workers, options.address, options.jobs)
    return None if asked == Executor() and options.executor is None else asked


def add_format(add: AddOption) -> None:
    """Add `--format`."""
    add("--format", choices=FORMATS, default="text", help="how to print (default: text)")


def add_plots(add: AddOption) -> None:
    """Add `--plots`, True without a folder."""
    add("--plots", type=path_argument, nargs="?", const=True, metavar="DIR", help="save plots as SVG and PNG, too (default: a folder beside the page)")


def add_rerun(add: AddOption) -> None:
    """Add what revisions of the code can be run with: they may be older than other options."""
    add_tier(add)
    for flag, kind in RERUN_FLAGS.items():
        add(f"--{flag}", type=kind, help=f"of `bench run`: {flag} (default: as there)")


def rerun_arguments(options: argparse.Namespace) -> list[str]:
    """Parsed options of `add_rerun` as arguments of `bench run`."""
    given = {flag: getattr(options, flag) for flag in RERUN_FLAGS}
    return ["--tier", options.tier, *(word for flag, value in given.items() if value is not None for word in (f"--{flag}", str(value)))]


def add_strictness(add: AddOption) -> None:
    """Add `--strict` and `--lenient`."""
    add("--strict", action="store_true", help=f"{DRIFTED} fails, on any machine")
    add_lenient(add)


def add_lenient(add: AddOption) -> None:
    """Add `--lenient` alone: pytest has a `--strict` of its own."""
    add("--lenient", action="store_true", help=f"{DRIFTED} only warns")


def strictness_from(options: argparse.Namespace) -> Strictness:
    """Whether a drifted row fails.  Raises UsageError where both were asked for."""
    if options.strict and options.lenient:
        raise UsageError("--strict and --lenient contradict each other: leave one of the two out")
    return Strictness.STRICT if options.strict else Strictness.LENIENT if options.lenient else Strictness.USUAL


def judging_flags(options: argparse.Namespace) -> tuple[str, ...]:
    """The flags that had results judged in another way than the usual: strictness, and the file of expectations."""
    strictness = strictness_from(options)
    chosen = () if strictness is Strictness.USUAL else (f"--{strictness}",)
    return chosen if options.expected == suite_of(options).expected else (*chosen, "--expected", str(options.expected))


def add_request(add: AddOption, suite: Suite = PUBLISHED) -> None:
    """Add tier, rows, device, seed, way of computing, and folders that replace the published inputs."""
    add_tier(add, suite)
    add("--rows", help="numbers and ranges such as 1,4-5 (default: all)")
    add("--device", help=f"{', '.join(DEVICES)} (default: cpu for smoke, auto for full)")
    add("--seed", type=int, help="seed of head, data order and random weights (default: the rows' own)")
    add("--precision", choices=PRECISIONS, default="fp32", help="arithmetic of matrix products; each has its own baselines, tf32 needs CUDA (default: fp32)")
    add("--seeds", type=int, metavar="N", help="fine-tune with N seeds of head and data order, from the row's own upwards (default: 1)")
    add("--timing-only", action="store_true", help="random weights in every row, judged on time alone: measures a machine before it has weights")
    add("--perturb", type=float, default=0.0, metavar="RELATIVE", help="multiply initial weights by 1 + RELATIVE * e, e normal: what other rounding does")
    add("--perturb-seed", "--perturb_seed", type=int, default=1, metavar="N", help="seed of --perturb (default: 1)")
    add_execution_flags(add)
    add(
        "--checkpoint-every",
        "--checkpoint_every",
        type=float,
        default=CHECKPOINT_SECONDS,
        metavar="SECONDS",
        help=f"how often rows with nothing frozen, the long ones, leave what a run needs to go on with them (default: {CHECKPOINT_SECONDS:g})",
    )
    add("--data-dir", "--data_dir", type=path_argument, help="full tier: folder with train.csv, validation.csv, test.csv")
    add("--weights-dir", "--weights_dir", type=path_argument, help="full tier: folder with <name>/model.safetensors, used as they are")
    add("--tokenizer-dir", "--tokenizer_dir", type=path_argument, help="full tier: folder with GPT-2's encoder.json")
    add("--limit-train", "--limit_train", type=int, help="full tier: use only the first training texts")


def request_from(options: argparse.Namespace, n_seeds: int = 1) -> Request:
    """The request that parsed options describe, with so many seeds unless they say.  Raises UserError for what cannot run."""
    return checked(unchecked(options, pick_device(device_name(options)), n_seeds))


def device_name(options: argparse.Namespace) -> str:
    """The device that was asked for, else the tier's."""
    return suite_of(options).tiers[options.tier].default_device if options.device is None else options.device


def unchecked(options: argparse.Namespace, device: torch.device, n_seeds: int = 1) -> Request:
    """The request on a device, whether or not it can run.  Raises UsageError for options that are none."""
    suite = suite_of(options)
    return Request(
        tier=suite.tiers[options.tier],
        rows=select_rows(options.rows, suite.rows),
        device=device,
        sources=sources_from(options),
        seed=options.seed,
        precision=options.precision,
        n_seeds=n_seeds if options.seeds is None else options.seeds,
        timing_only=options.timing_only,
        perturbation=options.perturb,
        perturbation_seed=options.perturb_seed,
        threads=options.threads,
        execution=execution_from(options),
        checkpoint_every=options.checkpoint_every,
        suite=suite,
    )


def sources_from(options: argparse.Namespace) -> Sources:
    """The folders that replace the published inputs."""
    return Sources(data=options.data_dir, weights=options.weights_dir, tokenizer=options.tokenizer_dir, limit_train=options.limit_train)


def add_speed(commands: Any) -> None:
    """Add the command `speed`."""
    timing = commands.add_parser("speed", help="time rows plain and fast, in turn, at GPT-2's size with random weights", allow_abbrev=False)
    timing.add_argument("--rows", default=SPEED_ROWS, help=f"numbers and ranges (default: {SPEED_ROWS})")
    timing.add_argument(
        "--limit-train", "--limit_train", type=int, default=16, help="training texts; more take longer and come closer to the whole (default: 16)"
    )
    timing.add_argument("--device", default="cpu", help=f"{', '.join(DEVICES)} (default: cpu)")
    timing.add_argument("--threads", type=int, metavar="N", help="threads of the CPU (default: the cores this process may use)")
    timing.add_argument("--out", type=file_argument, help="new file for the table in Markdown (default: results/speed-<time>.md)")


def add_report(commands: Any) -> argparse.ArgumentParser:
    """Add the command `report`.  Returns its parser."""
    reporting: argparse.ArgumentParser = commands.add_parser("report", help="write a past result as a page for a browser", allow_abbrev=False)
    reporting.add_argument("results", type=path_argument, nargs="?", help=f"a results folder (default: the latest below {RESULTS})")
    reporting.add_argument("--against", type=path_argument, metavar="BASE", help="another results folder to compare with")
    reporting.add_argument("--out", type=file_argument, metavar="FILE", help="file for the page (default: report.html in the results folder)")
    add_plots(reporting.add_argument)
    return reporting


def add_history(commands: Any) -> argparse.ArgumentParser:
    """Add the command `history`.  Returns its parser."""
    looking_back: argparse.ArgumentParser = commands.add_parser(
        "history", help="accuracy and duration over many results folders, and where they changed", allow_abbrev=False
    )
    looking_back.add_argument("folder", type=path_argument, metavar="DIR", help="folder with results folders below it")
    looking_back.add_argument("--out", type=file_argument, metavar="FILE", help="file for a page with plots")
    add_plots(looking_back.add_argument)
    add_format(looking_back.add_argument)
    return looking_back


def make_parser(suite: Suite = PUBLISHED) -> argparse.ArgumentParser:
    """The parser of all commands that a suite has."""
    about = f"{len(suite.rows)} fine-tuning experiments as regression checks."
    parser = argparse.ArgumentParser(prog=suite.command, description=about, allow_abbrev=False)
    parser.set_defaults(suite=suite)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print the rows and their settings", allow_abbrev=False)
    add_tier(listing.add_argument, suite)
    running = commands.add_parser("run", help="run rows and judge them", allow_abbrev=False)
    add_request(running.add_argument, suite)
    add_out(running.add_argument)
    add_resume(running.add_argument)
    add_executor(running.add_argument)
    checking = commands.add_parser("check", help="judge a results folder without running anything", allow_abbrev=False)
    checking.add_argument("results", type=path_argument)
    verifying = commands.add_parser("verify", help="run rows of a results folder again and say whether every bit is the same", allow_abbrev=False)
    verifying.add_argument("results", type=path_argument)
    verifying.add_argument("--rows", help="numbers and ranges such as 1,4-5 (default: all that the folder holds)")
    verifying.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    recording = commands.add_parser("record", help="run rows twice, with other seeds and under other rounding, as the new baselines", allow_abbrev=False)
    add_request(recording.add_argument, suite)
    recording.add_argument("--repeats", action=argparse.BooleanOptionalAction, help="measure the spread of rounding (default: in the smoke tier)")
    add_out(recording.add_argument)
    showing = commands.add_parser("show", help="print a past result", allow_abbrev=False)
    showing.add_argument("results", type=path_argument)
    summing = commands.add_parser("summary", help="write what a pull request shows of a past result, as Markdown", allow_abbrev=False)
    summing.add_argument("results", type=path_argument)
    summing.add_argument("--against", type=path_argument, metavar="BASE", help="another results folder to compare with")
    summing.add_argument("--limit", type=int, metavar="BYTES", default=COMMENT_LIMIT, help=f"the longest it may be (default: {COMMENT_LIMIT}, a comment's)")
    summing.add_argument("--out", type=file_argument, metavar="FILE", help="file to write (default: print it)")
    reporting, looking_back = add_report(commands), add_history(commands)
    caching = commands.add_parser("cache", help="list or clear the frozen states that --keep-states left on disk", allow_abbrev=False)
    caching.add_argument("action", choices=("list", "clear"))
    for command in (running, checking, recording, showing, summing, reporting, looking_back):
        add_expected(command.add_argument, suite)
    for command in (running, checking, showing, summing, reporting):
        add_strictness(command.add_argument)
    for command in (running, checking, showing):
        add_output(command.add_argument)
    if suite is PUBLISHED:
        add_commands_of_the_published(commands)
    return parser


def add_commands_of_the_published(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that are about the published rows, or about this repository."""
    examining = commands.add_parser(
        "doctor", help="look at this machine before an hour is spent: can it run what `run` with the same options would?", allow_abbrev=False
    )
    add_request(examining.add_argument)
    add_out(examining.add_argument)
    add_executor(examining.add_argument)
    examining.add_argument("--json", action="store_true", help="print one JSON object and nothing else (keys: bench/report/doctor.py)")
    fetching = commands.add_parser(
        "fetch",
        help="bring every file that `run` with the same options would download, so that it needs no network (default: the full tier's)",
        allow_abbrev=False,
    )
    add_request(fetching.add_argument)
    fetching.set_defaults(tier="full")
    fetching.add_argument("--quiet", action="store_true", help="print only what is missing")
    fetching.add_argument("--json", action="store_true", help="print one JSON object on standard output (keys: bench/report/fetching.py)")
    add_speed(commands)
    finding = commands.add_parser("findings", help="judge the publication's twelve findings", allow_abbrev=False)
    finding.add_argument("results", type=path_argument, nargs="?", help="a results folder (default: the published figures, then every recorded baseline)")
    add_format(finding.add_argument)
    comparing = commands.add_parser("compare", help="compare two results folders, or two git revisions that run in turn", allow_abbrev=False)
    for side in ("base", "head"):
        comparing.add_argument(side, metavar=side.upper(), help="a results folder, or a git revision")
    comparing.add_argument("--repeats", type=int, default=3, metavar="N", help="of each revision, for durations and memory (default: 3)")
    comparing.add_argument("--all", action="store_true", help="show figures that did not move, too")
    comparing.add_argument("--fail-on-cost", action="store_true", help="a row that is slower, or holds more memory, fails")
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
    measuring.add_argument("--judge-again", action="store_true", help="run nothing: judge the runs that an earlier measurement left in --out once more")
    measuring.add_argument("--only", metavar="TEXT", help="only defects with this in their name or module")
    add_out(measuring.add_argument)
    for command in (examining, finding, measuring):
        add_expected(command.add_argument)
