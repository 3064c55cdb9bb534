"""What was asked: whether `run` would take it at all."""

from collections.abc import Iterator
from dataclasses import replace

from bench.doctor.finding import Finding, State, Visit
from bench.executors.check import check_executor, runs_here
from bench.executors.choice import EXECUTORS
from bench.request import checked
from bench.results import check_new
from bench.tiers import embedded_inputs
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, Sources


def request_is_possible(visit: Visit) -> Iterator[Finding]:
    """options: whether `run` takes them."""
    checked(replace(visit.request, tier=replace(visit.request.tier, gather=without_downloads)))
    yield Finding("options", State.OK, "`run` takes them")


def rows_can_run_there(visit: Visit) -> Iterator[Finding]:
    """executor: whether rows can run where they are asked to, if that is elsewhere than in one process here."""
    check_executor(visit.request)
    if not runs_here(visit.request):
        executor = visit.request.executor
        how_many = "" if executor.workers is None else f", {executor.workers} at once"
        others = "" if executor.name == "local" else "; what else stands here is of this machine, and must hold of the others as well"
        yield Finding("executor", State.OK, f"rows can run {EXECUTORS[executor.name]}{how_many}{others}")


def without_downloads(experiment: Experiment, sources: Sources) -> Inputs:
    """Inputs that are always at hand: whether the published ones are other looks tell."""
    inputs = embedded_inputs(experiment, sources)
    return replace(inputs, dataset=inputs.dataset.limit_train(sources.limit_train))


def results_are_new(visit: Visit) -> Iterator[Finding]:
    """results: whether they would overwrite others."""
    check_new(visit.folder)
    yield Finding("results", State.OK, f"nothing stands in the place of {visit.folder}")
