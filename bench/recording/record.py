"""Recording what we expect: two runs that agree, from a clean tree, with the spread of rounding and of seeds, become the new baselines."""

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.expectations import ExpectationError, save_expectations
from bench.invariants import check_invariants
from bench.recording.baselines import Recording, RowRepeats, refuse_failed, refuse_unrepeatable, timing_of, with_recording
from bench.recording.repeats import conditions_for, measure_repeats, time_apart
from bench.report.terminal import print_progress
from bench.report.text import say
from bench.request import Request
from bench.results import Results, read_results
from bench.run import run_rows_here, start_run
from bench.wording import counted
from gptcore.files import place_of


def record(request: Request, path: Path, folder: Path, console: Console, *, repeats: bool) -> None:
    """Run the request, run it again with one seed, and with `repeats` under every condition that moves rounding alone, and for its costs in processes of
    its own; write baselines to `path`.

    Every other baseline stays as it is, but for its duration's band, which pools the timings of all; all runs stay in `folder`.
    Raises ExpectationError, leaving the file untouched, for a dirty tree, a row without figures, or two runs that differ.
    """
    expectations = request.suite.expectations(path)
    if not (os.access(path if path.exists() else path.parent, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise ExpectationError(f"{path} may not be written to: change its permissions, or name another file with --expected")
    if request.timing_only:
        raise ExpectationError("--timing-only makes no figures that could be a baseline: record without it")
    if request.chosen:
        raise ExpectationError(f"own {' and '.join(request.chosen)} cannot become a baseline: record without --seed, --perturb and folders of your own")
    if request.execution.plain or request.execution.compiled:
        raise ExpectationError("--plain and --compile take other times than the usual way, which is what is recorded: record without them")
    first = _run_once(request, folder / "first", console)
    second = _run_once(replace(request, n_seeds=1), folder / "second", console)
    refuse_unrepeatable(first.rows, second.rows)
    timed = [first, second]
    moved: RowRepeats = {}
    if repeats:
        conditions = conditions_for(request.device.type)
        flags = [*request.selection, "--expected", str(path.resolve())]
        program = (request.suite.folder, request.suite.program)
        timed = time_apart(flags, first, folder, lambda line: say(console, line), program)
        say(console, f"repeating under {counted(len(conditions), 'condition')} that {'changes' if len(conditions) == 1 else 'change'} rounding alone")
        moved = measure_repeats(flags, first, conditions, folder, lambda line: say(console, line), program)
    timings = {number: tuple(timing_of(run.info, run.rows[number]) for run in timed) for number in first.rows}
    save_expectations(place_of(path), with_recording(expectations, Recording(first, timings, moved)))
    say(
        console,
        f"recorded {counted(len(first.rows), 'row')} in {path}: seeds {request.n_seeds}, repeats {len(next(iter(moved.values()), ()))}; "
        f"all runs are in {folder}",
    )


def _run_once(request: Request, folder: Path, console: Console) -> Results:
    start_run(request, folder)
    environment = read_results(folder).info.environment
    if environment.git_dirty or not environment.git_commit:
        raise ExpectationError("the working tree is not a clean git checkout: commit or stash your changes, then record, so that the commit names the code")
    for position, result in enumerate(run_rows_here(request, folder), start=1):
        print_progress(console, result, position, len(request.rows))
        refuse_failed(result)
    check_invariants(request, folder)
    results = read_results(folder)
    for invariant in results.invariants or ():
        if not invariant.holds:
            raise ExpectationError(f"{invariant.name}: that does not hold ({invariant.explanation}), so nothing is recorded; mend it first")
    return results
