from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import gptcore.features
from bench.plan import make_plan
from bench.rows import ROWS
from bench.run import plan_of, run_rows_here, start_run
from gptcore.errors import AssetError
from gptcore.execution import Execution
from gptcore.features import FrozenStates
from gptcore.inputs import Sources
from gptcore.training import finetune

CPU = torch.device("cpu")


def members_of(plan):
    return sorted(sorted(group.members) for group in plan.groups)


def test_rows_of_one_network_and_mask_share(toy_request):
    """All toys are one small network, so only the mask, and what trains, keep rows apart; row 17 is alone without a mask."""
    assert members_of(plan_of(toy_request("all"))) == [[1, 2, 3, 4, 6, 7, 8, 13, 14, 15, 16, 18, 19]]


@pytest.mark.parametrize("changes", [{"model_size": "wider"}, {"seed": 5}, {"precision": "bf16"}, {"disable_causal_mask": True}], ids=str)
def test_rows_of_other_sizes_weights_masks_or_precision_share_nothing(changes, toy_request):
    experiment = toy_request().experiment_of(ROWS[0])
    if "model_size" in changes:
        changes = {"model_size": replace(experiment.model_size, width=12)}
    experiments = {1: experiment, 2: replace(experiment, **changes), 3: experiment, 4: replace(experiment, **changes)}
    assert members_of(make_plan(experiments, None, CPU, Execution())) == [[1, 3], [2, 4]]


def test_the_seed_keeps_only_random_weights_apart(toy_request):
    experiment = replace(toy_request().experiment_of(ROWS[0]), weights="pretrained")
    assert members_of(make_plan({1: experiment, 2: replace(experiment, seed=5)}, None, CPU, Execution())) == [[1, 2]]


def test_plain_rows_and_rows_with_nothing_frozen_share_nothing(toy_request):
    assert members_of(plan_of(toy_request("1-4", execution=Execution(plain=True)))) == []
    assert members_of(plan_of(toy_request("5,9-12"))) == []


def test_nothing_is_gathered_before_a_row_that_shares_asks(toy_request, toy_tier):
    gathered = []

    def gather(experiment, sources):
        gathered.append(experiment)
        return toy_tier.gather(experiment, sources)

    plan = plan_of(replace(toy_request("1-2,5"), tier=replace(toy_tier, gather=gather)))
    assert plan.states_for(ROWS[4]) is None
    assert gathered == []
    assert plan.states_for(ROWS[0])
    assert gathered


def test_a_row_whose_inputs_are_missing_does_not_hold_up_the_others(toy_request, toy_tier):
    def gather(experiment, sources):
        if experiment.trainable_token_pos == "first":
            raise AssetError("no weights: fetch them")
        return toy_tier.gather(experiment, sources)

    plan = plan_of(replace(toy_request("1-3"), tier=replace(toy_tier, gather=gather)))
    first, second, third = (plan.states_for(row) for row in ROWS[:3])
    assert first is third is not None
    assert second is None


def test_the_states_go_after_the_last_row_that_needs_them(toy_request):
    request = toy_request("1-2")
    plan = plan_of(request)
    first, second = (plan.states_for(row) for row in request.rows)
    assert first is second is not None
    plan.done(request.rows[0])
    assert plan.groups[0].states is first
    plan.done(request.rows[1])
    assert plan.groups[0].states is None


def test_a_row_too_long_for_memory_is_left_to_itself(toy_request):
    everything = plan_of(toy_request("1-2,13")).states_for(ROWS[0])
    without_13 = plan_of(toy_request("1-2")).states_for(ROWS[0])
    plan = plan_of(toy_request("1-2,13", execution=Execution(memory_budget=everything.bytes - 1)))
    assert plan.states_for(ROWS[0]).bytes == without_13.bytes < everything.bytes
    assert plan.states_for(ROWS[12]) is None
    on_disk = plan_of(toy_request("1-2,13", execution=Execution(memory_budget=0))).states_for(ROWS[12])
    assert (on_disk.place, on_disk.bytes) == ("disk", everything.bytes)


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
        alone |= {result.row: result for result in run_rows_here(request, start_run(request, tmp_path / numbers))}
    n_alone = len(passes)
    passes.clear()
    request = toy_request(",".join(selection))
    together = {result.row: result for result in run_rows_here(request, start_run(request, tmp_path / "together"))}
    assert len(passes) * 4 < n_alone
    for number, result in together.items():
        assert result.figures.counts == alone[number].figures.counts
        assert result.figures.history[-1].train_loss == pytest.approx(alone[number].figures.history[-1].train_loss, abs=1e-5)
    assert together[18].figures.history == together[1].figures.history


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    variants=st.lists(
        st.fixed_dictionaries(
            {
                "trainable_layers": st.sampled_from(("last_layer", "last_block", "last_two_blocks")),
                "reading": st.sampled_from(({}, {"trainable_token_pos": "first"}, {"trainable_token_pos": "flexible"}, {"average_embeddings": True})),
                "context_length": st.sampled_from(("longest_training_example", "model_context_length", "5")),
                "eval_iter": st.integers(1, 3),
            }
        ),
        min_size=2,
        max_size=3,
    ),
    tokens=st.sampled_from((16, 64, 2048)),
)
def test_any_experiments_that_share_find_what_they_find_alone_and_in_plain(variants, tokens, toy_request, toy_tier, monkeypatch):
    monkeypatch.setattr(gptcore.features, "TOKENS_PER_PASS", tokens)
    reference = toy_request().experiment_of(ROWS[0])
    inputs = toy_tier.gather(reference, Sources())
    experiments = {row.number: replace(reference, **variant.pop("reading"), **variant) for row, variant in zip(ROWS, variants, strict=False)}
    plan = make_plan(experiments, lambda experiment: inputs, CPU, Execution())
    for row, experiment in zip(ROWS, experiments.values(), strict=False):
        shared = finetune(experiment, inputs, device=CPU, states=plan.states_for(row))
        for other in (finetune(experiment, inputs, device=CPU), finetune(experiment, inputs, device=CPU, execution=Execution(plain=True))):
            assert shared.counts == other.counts
            for ours, theirs in zip(shared.history, other.history, strict=True):
                assert (ours.train_loss, ours.validation_loss) == pytest.approx((theirs.train_loss, theirs.validation_loss), abs=1e-5)
