"""The commands: `python -m bench list | run | check | fetch | doctor | verify | record | show | summary | report | history | findings | ...`."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bench.cache import clear_cache, print_cache
from bench.comparison.bisect import bisect as find_first_bad
from bench.comparison.compare import compare_folders, exit_code
from bench.comparison.revisions import compare_revisions, is_results_folder
from bench.doctor.examination import device_or_finding, examination
from bench.executors.choice import Executor
from bench.executors.running import run_rows
from bench.expectations import load_expectations
from bench.fetching import bring_all, wanted
from bench.findings.claims import judge_findings
from bench.findings.evidence import evidence_of, recorded_evidence
from bench.finishing import finish
from bench.folders import default_folder
from bench.invariants import check_invariants
from bench.options import device_name, executor_from, judging_flags, make_parser, request_from, rerun_arguments, strictness_from, unchecked
from bench.pages import history, report_page
from bench.past import judged
from bench.progress import watch
from bench.recording.record import record
from bench.report.comparison import show_bisection, show_comparison
from bench.report.doctor import examination_object, print_examination
from bench.report.fetching import brought_object, closing, displaying_downloads
from bench.report.findings import show_findings
from bench.report.judged import judged_object
from bench.report.live import displaying
from bench.report.sensitivity import report_sensitivity
from bench.report.summary import Against, check_limit, render_summary
from bench.report.terminal import make_console, page_line, print_environment, print_report, print_rows
from bench.report.text import as_json, say
from bench.report.verification import verification_line, verification_summary
from bench.results import Results, in_use, read_info, read_results
from bench.resuming import begin
from bench.rows import select_rows
from bench.sensitivity.measure import measure_sensitivity
from bench.speed.timing import time_rows
from bench.stopping import Stopped, code_of, name_of, resumable, stoppable, terminable
from bench.suite import PUBLISHED, Suite
from bench.verdicts.judge import holds, judge_row
from bench.verdicts.verdict import RowVerdict
from bench.verification import prepare, verify
from bench.wording import counted
from gptcore.command_line import guarded
from gptcore.device import pick_device
from gptcore.errors import UsageError
from gptcore.execution import set_threads
from gptcore.files import write_text_atomically
from gptcore.state_cache import StateCache
from gptcore.state_cache import default_folder as default_states_folder


def main(arguments: Sequence[str] | None = None, suite: Suite | Callable[[], Suite] = PUBLISHED) -> int:
    """Run one command on a suite, or on the one that a function makes.

    Returns 0 where every row holds, 1 where one does not, 2 for what the person can mend, 130 when interrupted and 143 when terminated,
    141 where nobody reads the output any more.
    """
    try:
        with terminable():
            return guarded(lambda: obey(make_parser(suite if isinstance(suite, Suite) else suite()).parse_args(arguments)))
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt as stop:
        print(f"{name_of(stop)}: finished rows stay in the results folder", file=sys.stderr)
        return code_of(stop)


def obey(options: argparse.Namespace) -> int:
    """Run the command that was parsed.  Returns its exit code."""
    return COMMANDS[options.command](options)


def console() -> None:
    """Entry point of the `bench` script."""
    sys.exit(main())


def list_rows(options: argparse.Namespace) -> int:
    """`list`: print the table of rows."""
    print_rows(make_console(), options.suite.tiers[options.tier], options.suite.rows)
    return 0


def run(options: argparse.Namespace) -> int:
    """`run`: run rows, show them as they end, then judge."""
    suite: Suite = options.suite
    expectations = suite.expectations(options.expected)
    strictness = strictness_from(options)
    terminal = make_console(stderr=options.json, quiet=options.quiet)
    request, folder = begin(options)
    with resumable(folder, suite.command), in_use(folder):
        info = read_info(folder)
        where = f"{request.device}, threads: {info.environment.threads}"
        say(
            terminal,
            f"{counted(len(request.rows), 'row')} of the {request.tier.name} tier on {where}; {'continuing' if options.resume else 'results in'} {folder}",
        )
        rows = {row.number: row for row in request.rows}
        with displaying(terminal, watch(request.rows, request.experiment_of, info, expectations)) as display:
            for result in run_rows(request, folder, display.begin):
                display.end(result, judge_row(rows[result.row], result, info, expectations, strictness))
            display.pass_to("checking invariants")
            check_invariants(request, folder)
        code = report(folder, finish(folder, expectations, strictness, suite.rows), options)
        say(terminal, page_line(folder, suite.command, judging_flags(options)))
        return code


def check(options: argparse.Namespace) -> int:
    """`check`: judge a results folder."""
    results, _, verdicts = judged(options.results, options)
    return report(options.results, (results, verdicts), options)


def report(folder: Path, ended: tuple[Results, list[RowVerdict]], options: argparse.Namespace) -> int:
    """Print results with their verdicts as asked.  Returns the exit code they deserve."""
    results, verdicts = ended
    if options.json:
        print(as_json(judged_object(folder, results, verdicts)))
    else:
        print_report(make_console(), results, verdicts, quiet=options.quiet)
    return 0 if holds(results, verdicts) else 1


def verify_rows(options: argparse.Namespace) -> int:
    """`verify`: rows of a folder once more, bit by bit.  Returns 1 where one is not identical."""
    terminal = make_console()
    rerun = prepare(options.results, select_rows(options.rows, options.suite.rows) if options.rows is not None else None, options.suite)
    verified = []
    for row in verify(rerun):
        verified.append(row)
        if not options.json:
            say(terminal, f"[{len(verified)}/{len(rerun.rows)}] {verification_line(row)}")
    if options.json:
        print(as_json({"rows": [asdict(row) | {"identical": row.identical} for row in verified], "changes": rerun.changes}))
    else:
        say(terminal, verification_summary(verified, rerun.changes), "bold")
    return 0 if all(row.identical for row in verified) else 1


def doctor(options: argparse.Namespace) -> int:
    """`doctor`: whether this machine can run what is asked.  Returns 1 where it cannot run all of it."""
    device, known = device_or_finding(device_name(options))
    request = replace(unchecked(options, device), executor=executor_from(options) or Executor())
    examined = examination(request, load_expectations(options.expected), options.out, known)
    if options.json:
        print(as_json(examination_object(examined)))
    else:
        print_examination(make_console(), examined)
    return 1 if examined.stopped else 0


def fetch(options: argparse.Namespace) -> int:
    """`fetch`: bring what rows read.  Raises UsageError where something is missing in the end."""
    request = unchecked(options, torch.device("cpu"))
    terminal = make_console(stderr=options.json, quiet=options.quiet)
    hint = "what has arrived stays, and the same command goes on from there"
    with stoppable(hint), displaying_downloads(terminal, make_console(stderr=True)) as display:
        brought = []
        for thing in bring_all(wanted(request), display.watch):
            brought.append(thing)
            display.done(thing)
    if options.json:
        print(as_json(brought_object(brought)))
    said = closing(brought, request.tier.name)
    if any(thing.state == "missing" for thing in brought):
        raise UsageError(said)
    say(terminal, said, "bold")
    return 0


def record_rows(options: argparse.Namespace) -> int:
    """`record`: make rows the new baselines."""
    tier = options.suite.tiers[options.tier]
    request = request_from(options, tier.recorded_seeds)
    repeats = tier.records_repeats if options.repeats is None else options.repeats
    record(request, options.expected, options.out or default_folder(f"record-{tier.name}"), make_console(), repeats=repeats)
    return 0


def speed(options: argparse.Namespace) -> int:
    """`speed`: time rows plain and fast, and write the table."""
    path = options.out or default_folder("speed").with_suffix(".md")
    words = ["--rows", options.rows, "--limit-train", str(options.limit_train), "--device", options.device]
    words += ["--threads", str(options.threads)] if options.threads else []
    command = f"python -m bench speed {shlex.join(words)}"
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
        rows = None if options.rows == "all" else [row.number for row in select_rows(options.rows)]
        comparisons = compare_folders(Path(base), Path(head), rows)
    else:
        arguments = [*rerun_arguments(options), "--rows", options.rows]
        comparisons = compare_revisions(base, head, arguments, options.out or default_folder("compare"), repeats=options.repeats, echo=tell)
    show_comparison(make_console(), comparisons, base, head, options.format, everything=options.all, judge_costs=options.fail_on_cost)
    return exit_code(comparisons, judge_costs=options.fail_on_cost)


def bisect(options: argparse.Namespace) -> int:
    """`bisect`: the first commit that moved a row.  Returns 1 where several are left."""
    arguments, out = rerun_arguments(options), options.out or default_folder("bisect")
    found = find_first_bad(options.good, options.bad, options.row, arguments, out, criterion=options.criterion, echo=tell)
    show_bisection(make_console(), found, options.format)
    return 0 if found.is_decided else 1


def sensitivity(options: argparse.Namespace) -> int:
    """`sensitivity`: clean runs and deliberate defects, for real.  Returns 1 where one of the former is flagged, or one of the latter is missed."""
    if options.judge_again and not options.out:
        raise UsageError("--judge-again needs the folder of an earlier measurement: name it with --out")
    out = options.out or default_folder("sensitivity")
    found = measure_sensitivity(load_expectations(options.expected), out, tell, only=options.only, again=options.judge_again)
    report_sensitivity(make_console(), found, out)
    return 0 if found.holds else 1


def tell(line: str) -> None:
    """Say something that is not the answer."""
    print(line, file=sys.stderr, flush=True)


def show(options: argparse.Namespace) -> int:
    """`show`: print a past result and where it comes from, whatever its verdict."""
    if not (options.json or options.quiet):
        print_environment(make_console(), read_results(options.results))
    check(options)
    return 0


def summary(options: argparse.Namespace) -> int:
    """`summary`: write what a pull request shows of a past result, whatever its verdict."""
    limit, base = check_limit(options.limit), options.against
    results, _, verdicts = judged(options.results, options)
    against = Against(str(base), str(options.results), compare_folders(base, options.results)) if base else None
    text = render_summary(results, verdicts, limit, against)
    if options.out is None:
        make_console().out(text, highlight=False, end="")
        return 0
    try:
        write_text_atomically(options.out, text)
    except OSError as error:
        raise UsageError(f"{options.out} cannot be written ({error.strerror}): name another file with --out") from error
    return 0


COMMANDS = {
    "list": list_rows,
    "run": run,
    "check": check,
    "verify": verify_rows,
    "fetch": fetch,
    "doctor": doctor,
    "record": record_rows,
    "show": show,
    "summary": summary,
    "report": report_page,
    "history": history,
    "findings": findings,
    "compare": compare,
    "bisect": bisect,
    "sensitivity": sensitivity,
    "speed": speed,
    "cache": cache,
}

if __name__ == "__main__":
    console()
