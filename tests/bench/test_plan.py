from dataclasses import replace

import pytest
import torch

from bench.plan import Plan
from bench.rows import ROWS, select_rows
from bench.run import make_plan, run_rows, start_run
from gptcore.errors import AssetError
from gptcore.execution import Execution
from gptcore.features import FrozenStates


def numbers_of(plan):
    return sorted(sorted(group.needs) for group in plan.groups.values())


def test_rows_of_one_network_and_mask_share(toy_request):
    """All toys are one small network, so only the mask, and what trains, keep rows apart."""
    assert numbers_of(make_plan(toy_request("all"))) == [[1, 2, 3, 4, 6, 7, 8, 13, 14, 15, 16, 18, 19], [17]]


def test_rows_of_other_sizes_weights_or_precision_share_nothing(toy_request, toy_tier):
    request = toy_request("1,6")
    plan = Plan(torch.device("cpu"), Execution())
    (reference,) = select_rows("1")
    inputs = toy_tier.gather(request.experiment_of(reference), request.sources)
    experiment = request.experiment_of(reference)
    wider = replace(experiment, model_size=replace(experiment.model_size, width=12))
    for row, variant in zip(ROWS, (experiment, wider, replace(experiment, seed=5), replace(experiment, precision="bf16")), strict=False):
        plan.add(row, variant, inputs)
    assert numbers_of(plan) == [[1], [2], [3], [4]]


def test_plain_rows_and_rows_with_nothing_frozen_share_nothing(toy_request):
    assert numbers_of(make_plan(toy_request("1-4", execution=Execution(plain=True)))) == []
    assert numbers_of(make_plan(toy_request("5,9-12"))) == []


def test_a_row_whose_inputs_are_missing_does_not_hold_up_the_others(toy_request, toy_tier):
    def gather(experiment, sources):
        if experiment.trainable_token_pos == "first":
            raise AssetError("no weights: fetch them")
        return toy_tier.gather(experiment, sources)

    assert numbers_of(make_plan(replace(toy_request("1-3"), tier=replace(toy_tier, gather=gather)))) == [[1, 3]]


def test_the_states_go_after_the_last_row_that_needs_them(toy_request):
    request = toy_request("1-2")
    plan = make_plan(request)
    rows = [(row, request.experiment_of(row), request.tier.gather(request.experiment_of(row), request.sources)) for row in request.rows]
    first, second = (plan.states_for(*row) for row in rows)
    assert first is second
    (group,) = plan.groups.values()
    plan.done(rows[0][0])
    assert group.states is first
    plan.done(rows[1][0])
    assert group.states is None


@pytest.fixture
def passes(monkeypatch):
    """Counts the passes over frozen parts."""
    counted = []
    forward = FrozenStates._forward
    monkeypatch.setattr(FrozenStates, "_forward", lambda self, one, model: (counted.append(one), forward(self, one, model))[1])
    return counted


def test_together_rows_compute_less_and_find_the_same(toy_request, tmp_path, passes):
    selection = ("1", "2", "3", "4", "14", "15", "16", "18", "19")
    alone = {}
    for numbers in selection:
        request = toy_request(numbers)
        alone |= {result.row: result for result in run_rows(request, start_run(request, tmp_path / numbers))}
    n_alone = len(passes)
    passes.clear()
    request = toy_request(",".join(selection))
    together = {result.row: result for result in run_rows(request, start_run(request, tmp_path / "together"))}
    assert len(passes) * 4 < n_alone
    for number, result in together.items():
        assert result.figures.counts == alone[number].figures.counts
        assert result.figures.history[-1].train_loss == pytest.approx(alone[number].figures.history[-1].train_loss, abs=1e-5)
    assert together[18].figures.history == together[1].figures.history
