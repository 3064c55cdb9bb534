from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.recording.perturb import perturbed, perturbed_tier, random_weights
from bench.request import checked
from bench.rows import ROWS
from bench.run import run_rows_here, start_run
from bench.verdicts.verdict import Verdict
from gptcore.errors import UsageError
from gptcore.experiment import digest_of
from gptcore.inputs import Sources, component_digests
from gptcore.training import finetune

CPU = torch.device("cpu")


@pytest.fixture
def tensors():
    """Weights of every size a number may have, one of them in half precision."""
    generator = torch.Generator().manual_seed(1)
    drawn = {name: torch.randn(40, 50, generator=generator) * 10.0**power for power, name in ((-3, "small"), (0, "usual"), (3, "large"))}
    return drawn | {"half": torch.randn(40, 50, generator=generator).half(), "zeros": torch.zeros(3)}


@pytest.fixture
def stored_tier(toy_tier, tmp_path):
    """Toys whose weights are stored in a file."""

    def gather(experiment, sources):
        path = tmp_path / "toy.safetensors"
        if not path.exists():
            save_file(random_weights(experiment), path)
        return replace(toy_tier.gather(experiment, sources), weights=path)

    return replace(toy_tier, gather=gather)


def experiment_of(tier, row=0, **changes):
    return replace(tier.scale(ROWS[row].experiment), **changes)


# Numbers


@pytest.mark.parametrize("relative", [1e-3, 1e-5])
def test_weights_differ_by_the_stated_relative_amount(tensors, relative):
    moved = perturbed(tensors, relative, seed=1)
    for name in ("small", "usual", "large", "half"):
        shares = moved[name].double() / tensors[name].double() - 1
        assert shares.std().item() == pytest.approx(relative, rel=0.1)
        assert shares.mean().item() == pytest.approx(0, abs=0.1 * relative)


@pytest.mark.parametrize("relative", [1e-7, 1e-6])
def test_the_smallest_perturbations_move_the_last_bits_alone(tensors, relative):
    moved, usual = perturbed(tensors, relative, seed=1)["usual"], tensors["usual"]
    assert (moved != usual).float().mean() > 0.3
    assert ((moved - usual) / usual).abs().max() < 6 * relative


def test_no_perturbation_leaves_every_number_as_it_is(tensors):
    for name, tensor in perturbed(tensors, 0.0, seed=1).items():
        assert torch.equal(tensor, tensors[name].float())


def test_zeros_stay_and_all_becomes_float32(tensors):
    moved = perturbed(tensors, 0.5, seed=1)
    assert torch.equal(moved["zeros"], torch.zeros(3))
    assert {tensor.dtype for tensor in moved.values()} == {torch.float32}
    assert [*moved] == [*tensors]


def test_the_same_seed_moves_alike_and_another_one_otherwise(tensors):
    first, again, other = (perturbed(tensors, 1e-6, seed)["usual"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_callers_random_numbers_stay_as_they_were(tensors, toy_tier):
    before = torch.get_rng_state()
    perturbed(tensors, 1e-6, seed=1)
    random_weights(experiment_of(toy_tier))
    assert torch.equal(torch.get_rng_state(), before)


# Tiers


def test_stored_weights_are_replaced_by_perturbed_ones_and_stay_as_they_are(stored_tier):
    experiment = experiment_of(stored_tier)
    original = stored_tier.gather(experiment, Sources())
    before = original.weights.read_bytes()
    inputs = perturbed_tier(stored_tier, 1e-3, 1).gather(experiment, Sources())
    assert inputs.weights != original.weights
    assert original.weights.read_bytes() == before
    expected = perturbed(load_file(original.weights), 1e-3, 1)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_file(inputs.weights).items())


def test_nothing_else_of_a_tier_changes(stored_tier):
    experiment = experiment_of(stored_tier)
    tier = perturbed_tier(stored_tier, 1e-3, 1)
    assert replace(tier, gather=stored_tier.gather) == stored_tier
    ours, theirs = (component_digests(experiment, one.gather(experiment, Sources())) for one in (tier, stored_tier))
    assert {name for name in ours if ours[name] != theirs[name]} == {"weights"}


def test_random_weights_are_perturbed_too_and_come_from_a_file(toy_tier):
    experiment = experiment_of(toy_tier)
    assert toy_tier.gather(experiment, Sources()).weights is None
    inputs = perturbed_tier(toy_tier, 1e-3, 1).gather(experiment, Sources())
    for name, tensor in random_weights(experiment).items():
        assert torch.allclose(load_file(inputs.weights)[name], tensor, rtol=1e-2)
    assert component_digests(experiment, inputs)["weights"] != digest_of("random")


def test_random_weights_of_another_seed_are_others(toy_tier):
    tier = perturbed_tier(toy_tier, 1e-3, 1)
    one, other = (tier.gather(experiment_of(toy_tier, seed=seed), Sources()).weights for seed in (123, 7))
    assert not torch.equal(load_file(one)["wte.weight"], load_file(other)["wte.weight"])


@pytest.mark.parametrize("row", [0, 4], ids=["last block trains", "all layers train"])
def test_training_from_stored_random_weights_is_training_from_random_weights(toy_tier, row):
    """A file instead of a seed changes nothing but the last bits of the weights: the head and the order of the data are the same."""
    experiment = experiment_of(toy_tier, row)
    usual = finetune(experiment, toy_tier.gather(experiment, Sources()), device=CPU)
    unmoved, moved = (finetune(experiment, perturbed_tier(toy_tier, relative, 1).gather(experiment, Sources()), device=CPU) for relative in (0.0, 1e-6))
    assert unmoved.history == usual.history
    assert unmoved.fingerprint == usual.fingerprint
    assert moved.history != usual.history
    assert moved.history[-1].train_loss == pytest.approx(usual.history[-1].train_loss, abs=1e-4)


# Runs


def test_a_perturbed_run_moves_by_rounding_and_is_not_compared(toy_run, toy_request, tmp_path, verdict_on):
    request = checked(toy_request("1-2", perturbation=1e-6, perturbation_seed=3))
    assert request.chosen == ("weights",)
    assert request.command.endswith("--perturb 1e-06 --perturb-seed 3")
    for result in run_rows_here(request, start_run(request, tmp_path / "moved")):
        usual = toy_run.results.rows[result.row]
        assert result.figures.history != usual.figures.history
        assert result.figures.history[-1].train_loss == pytest.approx(usual.figures.history[-1].train_loss, abs=1e-4)
        assert result.figures.fingerprint.trained_parameters == usual.figures.fingerprint.trained_parameters
        if result.row == 1:
            verdict = verdict_on(result, toy_run.expectations, chosen=request.chosen)
            assert (verdict.verdict, verdict.holds) == (Verdict.NOT_COMPARABLE, True)


def test_without_perturbation_the_tier_is_the_usual_one(toy_request):
    assert checked(toy_request()).tier == toy_request().tier
    assert checked(toy_request()).chosen == ()


@pytest.mark.parametrize("relative", [-1e-6, 1.0, float("nan"), float("inf")])
def test_an_impossible_perturbation_is_refused(toy_request, relative):
    with pytest.raises(UsageError, match=r"--perturb \S+ is not possible"):
        checked(toy_request(perturbation=relative))


def test_an_impossible_seed_of_the_perturbation_is_refused_before_anything_runs(toy_request):
    with pytest.raises(UsageError, match="--perturb-seed"):
        checked(toy_request(perturbation=1e-6, perturbation_seed=2**70))
