"""Runs rows in order and puts each on disk the moment it ends.  The command line and pytest both go through here."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from bench.calibration import calibrate
from bench.checkpoints import remove_checkpoints
from bench.environment import describe_environment
from bench.folders import default_folder
from bench.parts import parts_of, unfinished
from bench.plan import Plan, make_plan
from bench.request import Request
from bench.results import SCHEMA, ResultsError, RowResult, RunInfo, create_folder, readable_row, write_row, write_texts
from bench.rows import Row
from gptcore.errors import UserError
from gptcore.execution import Execution, set_threads, within
from gptcore.experiment import Experiment, settings_of
from gptcore.features import FrozenStates
from gptcore.inputs import Inputs, component_digests
from gptcore.memory import memory_at_rest, watch_memory
from gptcore.out_of_memory import check_memory, is_out_of_memory, out_of_memory, smaller_budget
from gptcore.result import Progress, Report
from gptcore.sharing import own_states
from gptcore.training import finetune_seeds, seeds_at_once

# Data and the report need these; under pytest a row's report comes before the next row, whose memory they would be counted to.
LOADED_LATE = ("pandas", "rich.live", "rich.table", "scipy.optimize")
REMEDY = "end other programs, leave the row out with --rows, or run it with --memory-budget 0, with fewer --seeds or on another --device"


def start_run(request: Request, folder: Path | None) -> Path:
    """Set the number of threads and make the results folder, by default `results/<tier>-<time>`, with its `run.json`.

    Returns the folder; raises ResultsError where it is taken.
    """
    info = describe_run(request)
    usual = default_folder(request.tier.name)
    # Two runs may start in one second, and the clock may have been set back.
    others = [usual.with_name(f"{usual.name}-{number}") for number in range(2, 100)]
    for name in [folder] if folder else [usual, *others]:
        try:
            create_folder(name, info)
        except ResultsError:
            if folder or not name.exists() or name == others[-1]:
                raise
        else:
            break
    return name


def describe_run(request: Request) -> RunInfo:
    """What a run is asked and where it would run, with the pace of the machine; sets the number of threads."""
    set_threads(request.threads, request.tier.threads)
    return RunInfo(
        schema_version=SCHEMA,
        tier=request.tier.name,
        precision=request.precision,
        plain=request.execution.plain,
        timing_only=request.timing_only,
        rows=tuple(row.number for row in request.rows),
        chosen=request.chosen,
        command=request.command,
        environment=describe_environment(request.device, request.suite.folder),
        calibration_seconds=calibrate(),
    )


def run_rows_here(request: Request, folder: Path, report: Callable[[Row], Report] = lambda row: lambda event: None) -> Iterator[RowResult]:
    """Run every row that the folder does not hold yet, writing each one's file before the next begins; yields every row's result."""
    plan = plan_of(request)
    for row in request.rows:
        yield run_row(row, request, folder, plan, report(row))


def plan_of(request: Request) -> Plan:
    """What the rows of a request share, and what the program holds before the first of them."""
    for library in LOADED_LATE:
        import_module(library)
    experiments = {row.number: request.experiment_of(row) for row in request.rows}
    at_rest = memory_at_rest(request.device)
    return make_plan(experiments, lambda experiment: request.tier.gather(experiment, request.sources), request.device, request.execution, at_rest)


def run_row(row: Row, request: Request, folder: Path, plan: Plan, report: Report = lambda event: None) -> RowResult:
    """Run one row and write its file, or take what the folder holds of it.  A row that fails is a result too, with its error instead of figures.

    What cannot even read its inputs leaves a file with figures as it is.
    """
    known = written = readable_row(folder, row.number)
    n_seeds = known.n_seeds if known else 0
    for result in compute_row(row, request, known, folder, plan, report, lambda inputs: write_texts(folder, inputs.dataset.test.texts)):
        if result is not written and result.may_replace(known):
            write_row(folder, result)
            written = result
        if result.error is None or result.n_seeds > n_seeds:  # only now is there nothing to go on with
            remove_checkpoints(folder, row.number)
            n_seeds = result.n_seeds
    return result


def compute_row(
    row: Row,
    request: Request,
    known: RowResult | None,
    folder: Path | None,
    plan: Plan,
    report: Report = lambda event: None,
    hear: Callable[[Inputs], object] = lambda inputs: None,
) -> Iterator[RowResult]:
    """The row with more and more of its figures, at last with all of them, or with the error that came in their place; `known` alone if it has them.

    known: what an earlier run has of it, whatever that depended on.  folder: for checkpoints.  hear: told the inputs before anything trains on them.
    """
    experiment = request.experiment_of(row)
    result = RowResult(row.number, row.name, experiment.seed, settings_of(experiment), {}, None, None)
    try:
        check_memory(experiment, request.device, REMEDY)
        inputs: Inputs = request.tier.gather(experiment, request.sources)
        result = replace(result, digests=component_digests(experiment, inputs))
        hear(inputs)
        if known and known.depends_on_the_same_as(result):
            if is_whole(known, request):
                plan.done(row)
                yield known
                return
            result = replace(known, error=None)
        for so_far in train_within_memory(result, row, inputs, request, folder, plan, report):
            result = so_far
            yield result
    except UserError as problem:
        result = replace(result, error=str(problem))
    except Exception as problem:  # noqa: BLE001 - whatever breaks one row must not lose the others; the traceback is kept with the row
        said = (
            str(out_of_memory(experiment, request.device, REMEDY))
            if is_out_of_memory(problem)
            else f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"
        )
        result = replace(result, error=said)
    plan.done(row)
    yield result


def train_within_memory(result: RowResult, row: Row, inputs: Inputs, request: Request, folder: Path | None, plan: Plan, report: Report) -> Iterator[RowResult]:
    """As `train_seeds`; where memory runs out, it goes on with less of it for states of the frozen part.  Raises OutOfMemoryError where that is not enough."""
    experiment, device, execution = request.experiment_of(row), request.device, request.execution_of(row, folder)
    budget, held = None, plan.bytes_in_memory
    while True:
        try:
            peak = watch_memory(device, plan.memory_at_rest)
            own = None if (shared := plan.states_for(row)) else own_states(experiment, inputs, device=device, execution=within(execution, budget))
            held = plan.bytes_in_memory + (own.bytes_in_memory if own else 0)
            for so_far in train_seeds(result, row, inputs, request, execution, shared or own, peak, report):
                result = so_far
                yield result
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            own = shared = None
        else:
            return
        budget = smaller_budget(budget, held, experiment, device, REMEDY)
        plan.shrink(budget)


def train_seeds(
    result: RowResult,
    row: Row,
    inputs: Inputs,
    request: Request,
    execution: Execution,
    states: FrozenStates | None,
    peak: Callable[[], int | None],
    report: Report,
) -> Iterator[RowResult]:
    """The row with the figures of more and more seeds: its own first, then as many at once as train side by side.

    Until the last one is there, the row's error says which are missing.  peak: read when its own seed is done, as further ones may train side by side.
    """
    experiment, device = request.experiment_of(row), request.device
    parts = parts_asked(experiment, request)
    for seeds in parts:
        known = set(result.others) | ({result.seed} if result.figures else set())
        if set(seeds) <= known:
            continue
        if result.seed not in seeds:
            report(Progress("further seeds", len(known), request.n_seeds))
        heard = report if result.seed in seeds else lambda event: None
        found = dict(zip(seeds, finetune_seeds(experiment, inputs, seeds, device=device, execution=execution, states=states, report=heard), strict=True))
        missing = [seed for part in parts for seed in part if seed not in known | found.keys()]
        result = replace(
            result,
            figures=found.pop(result.seed, result.figures),
            others=result.others | found,
            peak_memory=peak() if result.seed in seeds else result.peak_memory,
            error=unfinished(missing) if missing else None,
        )
        yield result


def is_whole(result: RowResult, request: Request) -> bool:
    """Whether nothing of a row is missing."""
    return result.figures is not None and result.error is None and set(result.others) == set(range(result.seed + 1, result.seed + request.n_seeds))


def parts_asked(experiment: Experiment, request: Request) -> list[tuple[int, ...]]:
    """A row's seeds in the order they train, by who trains together; of a part that the request chose those alone."""
    parts = parts_of(experiment.seed, request.n_seeds, seeds_at_once(experiment, request.execution, request.device))
    return parts if request.part is None else [parts[request.part]]
