import dataclasses

import pytest
import torch

import gptcore.training
from gptcore.batches import Batch
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.learner import Learner, join, plain_learner, stacked_learner
from gptcore.result import Progress
from gptcore.training import build_classifiers, finetune, finetune_seeds, seeds_at_once

CPU = torch.device("cpu")
SEEDS = (123, 5, 6)


def assert_close(ours, theirs, tolerance=1e-5):
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert (one.epoch, one.step) == (other.epoch, other.step)
        assert (one.train_loss, one.validation_loss) == pytest.approx((other.train_loss, other.validation_loss), abs=tolerance)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4, abs=tolerance)
    assert (ours.epoch_accuracies, ours.answers) == (theirs.epoch_accuracies, theirs.answers)
    for split, margins in ours.margins.items():
        assert margins == pytest.approx(theirs.margins[split], abs=1e-4)
    assert ours.fingerprint.trained_parameters == theirs.fingerprint.trained_parameters
    assert ours.fingerprint.first_logits == pytest.approx(theirs.fingerprint.first_logits, abs=tolerance)
    assert ours.fingerprint.weight_norm == pytest.approx(theirs.fingerprint.weight_norm, rel=2e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trainable_layers": "last_layer"},
        {"trainable_layers": "last_layer", "average_embeddings": True},
        {"trainable_layers": "last_two_blocks"},
        {"trainable_layers": "lora", "lora_alpha": 3},
        {"trainable_layers": "lora_alternative", "trainable_token_pos": "flexible"},
        {"trainable_token_pos": "first"},
        {"trainable_token_pos": "flexible", "trainable_layers": "last_two_blocks"},
        {"no_padding": True, "batch_size": 1, "accumulation_steps": 8},
        {"disable_causal_mask": True},
        {"average_embeddings": True},
    ],
    ids=str,
)
def test_seeds_side_by_side_agree_with_one_at_a_time(changes, miniature, inputs_of):
    experiment = miniature(**changes)
    inputs = inputs_of(experiment)
    together = finetune_seeds(experiment, inputs, SEEDS, device=CPU)
    for seed, result in zip(SEEDS, together, strict=True):
        assert_close(result, finetune(dataclasses.replace(experiment, seed=seed), inputs, device=CPU))
    assert together[0].history != together[1].history


def test_seeds_share_random_weights(miniature, inputs_of):
    experiment = miniature(weights="random")
    alone = finetune(experiment, inputs_of(experiment), device=CPU)
    first, second = finetune_seeds(experiment, inputs_of(experiment), (experiment.seed, 5), device=CPU)
    assert_close(first, alone)
    other_weights = finetune(dataclasses.replace(experiment, seed=5), inputs_of(experiment), device=CPU)
    assert second.history[0].train_loss != pytest.approx(other_weights.history[0].train_loss, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "execution"),
    [
        ({"trainable_layers": "all", "weights": "random"}, Execution()),
        ({"no_padding": True, "batch_size": 1, "disable_causal_mask": True, "num_epochs": 1}, Execution()),
        ({"no_padding": True, "batch_size": 1, "average_embeddings": True, "num_epochs": 1}, Execution()),
        ({}, Execution(plain=True)),
    ],
    ids=str,
)
def test_what_cannot_go_side_by_side_runs_one_at_a_time(changes, execution, miniature, inputs_of):
    experiment = miniature(**changes)
    assert seeds_at_once(experiment, execution, CPU) == 1
    inputs = inputs_of(experiment)
    first, second = finetune_seeds(experiment, inputs, (experiment.seed, 5), device=CPU, execution=execution)
    assert first.history == finetune(experiment, inputs, device=CPU, execution=execution).history
    assert second.history != first.history


def test_small_networks_go_side_by_side_on_a_cpu_and_any_on_other_devices(miniature):
    assert seeds_at_once(miniature(), Execution(), CPU) > 1
    assert seeds_at_once(Experiment(), Execution(), CPU) == 1
    assert seeds_at_once(Experiment(), Execution(), torch.device("cuda")) > 1


def test_more_seeds_than_go_side_by_side_are_all_trained(miniature, inputs_of, monkeypatch):
    experiment = miniature(num_epochs=1)
    monkeypatch.setattr(gptcore.training, "SEEDS_AT_ONCE", 2)
    heard = []
    results = finetune_seeds(experiment, inputs_of(experiment), range(123, 128), device=CPU, report=heard.append)
    assert len({result.history for result in results}) == 5
    assert [event for event in heard if event in results[0].history] == list(results[0].history)
    assert len([event for event in heard if not isinstance(event, Progress)]) == len(results[0].history) + len(results[0].epoch_accuracies)


def learner_of(tensors, n_stacked=None):
    return Learner(lambda batches: [], tensors, n_stacked)


@pytest.mark.parametrize("n_stacked", [None, 1])
def test_a_norm_is_taken_over_all_tensors_that_are_there(n_stacked):
    tensors = [torch.tensor([3.0]), None, torch.tensor([[4.0, 0.0], [0.0, 12.0]])]
    assert learner_of([], n_stacked).norms(tensors) == [13.0]


def test_every_stacked_seed_has_a_norm_of_its_own():
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(3, 4, 5, generator=generator), torch.randn(3, generator=generator), torch.randn(3, 2, generator=generator)]
    alone = [learner_of([]).norms([tensor[seed] for tensor in tensors]) for seed in range(3)]
    assert learner_of([], 3).norms(tensors) == pytest.approx([norm for (norm,) in alone])


def test_norms_leave_no_trace_in_the_graph_and_change_nothing():
    weight = torch.ones(2, requires_grad=True)
    assert learner_of([weight]).norms([weight]) == pytest.approx([2**0.5])
    assert (weight.grad, weight.tolist()) == (None, [1.0, 1.0])


@pytest.mark.parametrize("trainable_layers", ["last_layer", "last_block", "last_two_blocks", "lora"])
def test_what_trains_is_counted_for_each_seed(trainable_layers, miniature, inputs_of):
    experiment = miniature(trainable_layers=trainable_layers)
    inputs = inputs_of(experiment)
    width, rank = experiment.model_size.width, experiment.lora_rank
    head, norm, block = 2 * width + 2, 2 * width, 12 * width**2 + 13 * width
    of_block_lora = rank * (4 * 2 * width + 2 * 5 * width)  # query, key, value and output, then the way up and down
    expected = {
        "last_layer": head,
        "last_block": head + norm + block,
        "last_two_blocks": head + norm + 2 * block,
        "lora": head + experiment.model_size.n_layer * of_block_lora + rank * (width + 2),
    }[trainable_layers]
    (model,) = build_classifiers(experiment, inputs, [experiment.seed], CPU)
    assert plain_learner(model, experiment).n_trained == expected
    assert stacked_learner(build_classifiers(experiment, inputs, SEEDS, CPU), experiment, 0, None).n_trained == expected


def test_joined_batches_are_filled_up_on_the_right():
    one = Batch(torch.tensor([[1, 2]]), torch.tensor([1]), torch.tensor([0]), torch.tensor([4]))
    other = Batch(torch.tensor([[3, 4, 5]]), torch.tensor([2]), torch.tensor([1]), torch.tensor([7]))
    joined = join([one, other])
    assert joined.tokens.tolist() == [[1, 2, 0], [3, 4, 5]]
    assert [part.tolist() for part in (joined.position, joined.labels, joined.rows)] == [[1, 2], [0, 1], [4, 7]]


@pytest.mark.slow  # a compiler takes its time
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_what_is_compiled_computes_the_same(miniature, inputs_of):
    experiment = miniature(num_epochs=1)
    plain, compiled = (finetune(experiment, inputs_of(experiment), device=CPU, execution=Execution(compiled=compiled)) for compiled in (False, True))
    assert_close(compiled, plain)
