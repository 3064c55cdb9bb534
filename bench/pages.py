"""The commands that write pages, `report` and `history`: what they are of, and where they go."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.findings.claims import judge_findings
from bench.findings.evidence import from_results
from bench.folders import latest_folder
from bench.history import read_history
from bench.options import judging_flags
from bench.past import judged
from bench.report.history import show_history
from bench.report.terminal import make_console
from bench.results import read_results
from bench.suite import PUBLISHED, Suite
from gptcore.errors import UsageError


def report_page(options: argparse.Namespace) -> int:
    """`report`: a past result as a page, whatever its verdict."""
    with page_makers():
        from bench.report.page.write import write_report
    folder = options.results or latest_folder()
    results, expectations, verdicts = judged(folder, options)
    base = (str(options.against), read_results(options.against)) if options.against else None
    out = options.out or folder / "report.html"
    findings = judge_findings(from_results(results)) if options.suite is PUBLISHED else ()
    plots, command, judging = plots_folder(options, out), options.suite.command, judging_flags(options)
    print(write_report(results, verdicts, findings, expectations, folder, out, base=base, plots_folder=plots, judging=judging, command=command))
    return 0


def history(options: argparse.Namespace) -> int:
    """`history`: many results folders in order of time."""
    if options.plots and not options.out:
        raise UsageError("--plots saves the plots of a page: name the page with --out")
    suite: Suite = options.suite
    found = read_history(options.folder, suite.expectations(options.expected), suite.folder)
    show_history(make_console(), found, options.format)
    if options.out:
        with page_makers():
            from bench.report.page.write import write_history
        write_history(found, str(options.folder), options.out, plots_folder=plots_folder(options, options.out))
        print(options.out, file=sys.stderr, flush=True)
    return 0


def plots_folder(options: argparse.Namespace, page: Path) -> Path | None:
    """Where plots go: to the named folder, or to one beside the page, or nowhere."""
    return page.with_name(f"{page.stem}-plots") if options.plots is True else options.plots


@contextmanager
def page_makers() -> Iterator[None]:
    """What is imported here makes pages.  Raises UsageError where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"pages need {error.name}, which is not installed: in this project's checkout, python -m pip install --editable '.[report]'"
        ) from error
