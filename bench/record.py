"""Recording what we expect: two runs that agree, from a clean tree, become the new baselines."""

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.expectations import ExpectationError, load_expectations, refuse_failed, refuse_unrepeatable, save_expectations, with_baselines
from bench.report.terminal import print_progress
from bench.results import Results, ResultsError, read_results
from bench.run import Request, run_rows, start_run


def record(request: Request, path: Path, folder: Path, console: Console) -> None:
    """Run the request twice and write its figures to the expectations at `path`; every other baseline stays as it is.  Both runs stay in `folder`.

    A row's duration is the shorter of the two: other work on the machine only ever adds.

    Raises ExpectationError, leaving the file untouched, for a dirty tree, a row without figures, or two runs that differ.
    """
    expectations = load_expectations(path)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise ExpectationError(f"{path} may not be written to: change its permissions, or name another file with --expected")
    if request.timing_only:
        raise ExpectationError("--timing-only makes no figures that could be a baseline: record without it")
    if request.chosen:
        raise ExpectationError("own data, weights, tokenizer or seed cannot become a baseline: record without them")
    if request.execution.plain or request.execution.compiled:
        raise ExpectationError("--plain and --compile take other times than the usual way, which is what is recorded: record without them")
    first, second = (_run_once(request, folder / name, console) for name in ("first", "second"))
    refuse_unrepeatable(first.rows, second.rows)
    save_expectations(path, with_baselines(expectations, with_shorter_durations(first, second)))
    console.print(f"recorded {len(first.rows)} rows in {path}; both runs are in {folder}", markup=False, soft_wrap=True)


def with_shorter_durations(first: Results, second: Results) -> Results:
    """The first run's results, each row with its shorter duration of the two.  Raises ResultsError for a row without figures."""
    rows = dict(first.rows)
    for number, result in rows.items():
        figures, again = result.figures, second.rows[number].figures
        if figures is None or again is None:
            raise ResultsError(f"row {number} has no figures: run it again")
        rows[number] = replace(result, figures=replace(figures, train_seconds=min(figures.train_seconds, again.train_seconds)))
    return Results(first.info, rows)


def _run_once(request: Request, folder: Path, console: Console) -> Results:
    start_run(request, folder)
    environment = read_results(folder).info.environment
    if environment.git_dirty or not environment.git_commit:
        raise ExpectationError("the working tree is not a clean git checkout: commit or stash your changes, then record, so that the commit names the code")
    for position, result in enumerate(run_rows(request, folder), start=1):
        print_progress(console, result, position, len(request.rows))
        refuse_failed(result)
    return read_results(folder)
