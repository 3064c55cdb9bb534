"""A results folder is a run: asking again what it was asked, and going on with it."""

import argparse
import io
import shlex
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from bench.environment import describe_environment, differences
from bench.executors.check import check_executor
from bench.executors.choice import Executor
from bench.options import add_request, executor_from, make_parser, request_from, suite_of
from bench.request import Request
from bench.results import RUN_FILE, ResultsError, RunInfo, read_info
from bench.run import start_run
from bench.suite import PUBLISHED, Suite
from gptcore.errors import UsageError
from gptcore.execution import set_threads


def begin(options: argparse.Namespace) -> tuple[Request, Path]:
    """What to run and where: a new run in a new folder, or with `--resume` the one that a folder holds.  Raises UserError for what cannot be."""
    executor = executor_from(options)
    if options.resume is None:
        request = placed(request_from(options), executor)
        return request, start_run(request, options.out)
    refuse_other_options(options)
    request = resume(options.resume, suite_of(options))
    if executor is None:
        tell_of_a_cluster(options.resume, suite_of(options))
    return placed(request, executor), options.resume


def placed(request: Request, executor: Executor | None) -> Request:
    """The request, to be run where that was said.  Raises UserError where it cannot be."""
    request = replace(request, executor=executor or request.executor)
    check_executor(request)
    return request


def refuse_other_options(options: argparse.Namespace) -> None:
    """Raise UsageError where something is asked beside `--resume` that a folder's run has been asked already."""
    blank = argparse.ArgumentParser()
    add_request(blank.add_argument, suite_of(options))
    usual = vars(blank.parse_args([])) | {"out": None}
    known = {"tier": read_info(options.resume).tier}  # which a nox session always says
    if also := [name for name, value in usual.items() if getattr(options, name) not in (value, known.get(name, value))]:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in also)
        raise UsageError(f"--resume goes on with what {options.resume} was asked, and {flags} asks for something else: leave that out, or start a new run")


def resume(folder: Path, suite: Suite = PUBLISHED) -> Request:
    """The request of a folder's run, ready to go on.

    Raises ResultsError for a folder without a run, or one that was begun by other code, other versions or on another machine.
    """
    info = read_info(folder)
    request = request_of(info, folder, suite)
    set_threads(request.threads, request.tier.threads)
    if changes := differences(info.environment, describe_environment(request.device, suite.folder)):
        raise ResultsError(
            f"{folder} cannot be continued here, {'; '.join(changes)}: rows of one table must come from the same code, versions and machine; "
            "go back to those, or start a new run"
        )
    return request


def request_of(info: RunInfo, folder: Path, suite: Suite = PUBLISHED) -> Request:
    """What a folder's run was asked.  Raises ResultsError where its command is none of this version, UserError where it cannot run here."""
    suite.check_own(info, folder)
    options = options_of(info, folder, suite)
    options.address = options.jobs = None  # whoever can write to a folder could say them: they are asked for by the person alone
    request = request_from(options)
    asked = (request.tier.name, request.precision, request.execution.plain, request.timing_only)
    if asked != (info.tier, info.precision, info.plain, info.timing_only):
        raise ResultsError(f"{folder / RUN_FILE} is of another run than its command, `{info.command}`, asks for: put the right one back, or start a new run")
    return replace(request, executor=executor_from(options) or request.executor)


def options_of(info: RunInfo, folder: Path, suite: Suite) -> argparse.Namespace:
    """The options of a folder's run.  Raises ResultsError where its command is none of this version."""
    try:
        words = shlex.split(info.command)[1 + len(suite.program) :]
        with redirect_stderr(io.StringIO()):
            return make_parser(suite).parse_args(["run", *words[1:], "--rows", ",".join(map(str, info.rows))])
    except (SystemExit, ValueError) as error:  # the latter for a quote without its end
        raise ResultsError(f"{folder} was asked `{info.command}`, which this version does not know: use the version that began it") from error


def tell_of_a_cluster(folder: Path, suite: Suite) -> None:
    """Say where a folder's run was told a cluster's address, or what to ask of Slurm, without which it goes on."""
    options = options_of(read_info(folder), folder, suite)
    for flag in [f"--{name}" for name in ("address", "jobs") if options.executor and getattr(options, name)]:
        print(f"{flag} of {folder} is not asked for again: say it beside --resume and --executor {options.executor}", file=sys.stderr, flush=True)
