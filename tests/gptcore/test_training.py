import dataclasses
import math
import time

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import gptcore.loop
import gptcore.training
from gptcore.checkpoint import Checkpoints
from gptcore.dataset import Dataset, Split
from gptcore.errors import TrainingError, UsageError
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.features import FrozenStates
from gptcore.result import Progress
from gptcore.sharing import need_of, share_states
from gptcore.tokenizer import make_tokenizer
from gptcore.training import finetune

CPU = torch.device("cpu")


@pytest.fixture(scope="session", params=[Execution(), Execution(plain=True)], ids=["fast", "plain"])
def agrees_with_reference(reference, inputs_of, request):
    """Checks that `finetune` and the independent implementation see the same losses step by step and the same counts."""

    def check(experiment):
        inputs = inputs_of(experiment)
        result = finetune(experiment, inputs, device=CPU, execution=request.param)
        with torch.random.fork_rng():
            history, epoch_accuracies, counts, first_logits, weight_norm = reference.finetune(experiment, inputs.dataset, inputs.weights)
        assert [(evaluation.epoch, evaluation.step) for evaluation in result.history] == [entry[:2] for entry in history]
        losses = [(evaluation.train_loss, evaluation.validation_loss) for evaluation in result.history]
        torch.testing.assert_close(torch.tensor(losses), torch.tensor([entry[2:4] for entry in history]), atol=1e-5, rtol=0)
        assert [(epoch.train_accuracy, epoch.validation_accuracy) for epoch in result.epoch_accuracies] == epoch_accuracies
        assert [(count.right, count.n) for count in result.counts.values()] == counts
        norms = [evaluation.gradient_norm for evaluation in result.history]
        torch.testing.assert_close(torch.tensor(norms), torch.tensor([entry[4] for entry in history]), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(torch.tensor(result.fingerprint.first_logits), torch.tensor(first_logits), atol=1e-5, rtol=0)
        # AdamW makes whole steps of rounding where a gradient is zero, as that of the biases of keys is.
        assert result.fingerprint.weight_norm == pytest.approx(weight_norm, rel=2e-4)

    return check


def test_every_row_trains_like_the_reference(row, miniature, agrees_with_reference):
    agrees_with_reference(miniature(**row[1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"trainable_layers": "lora_alternative", "lora_alpha": 3},
        {"trainable_layers": "lora", "weights": "random"},
        {"context_length": "7", "trainable_token_pos": "flexible"},
        {"context_length": "7", "average_embeddings": True},
        {"accumulation_steps": 3},
        {"accumulation_steps": 100},
        {"eval_freq": 1, "eval_iter": 1},
        {"eval_freq": 7, "eval_iter": 100, "num_epochs": 3},
        {"batch_size": 45},
        {"weight_decay": 5.0, "trainable_layers": "all"},
        {"seed": 0, "weights": "random", "trainable_layers": "all"},
        {"seed": 2**63 - 1},
    ],
    ids=str,
)
def test_other_settings_train_like_the_reference(changes, miniature, agrees_with_reference):
    agrees_with_reference(miniature(**changes))


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_gradients_have_the_references_scale(accumulation_steps, miniature, agrees_with_reference, monkeypatch):
    """AdamW hardly notices the scale of a gradient; plain gradient descent, in both implementations, does."""
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda parameters, lr, weight_decay, fused=False: torch.optim.SGD(parameters, lr=20 * lr, weight_decay=weight_decay)
    )
    agrees_with_reference(miniature(accumulation_steps=accumulation_steps))


any_settings = st.fixed_dictionaries(
    {
        "weights": st.sampled_from(["pretrained", "random"]),
        "trainable_layers": st.sampled_from(["last_layer", "last_block", "last_two_blocks", "all", "lora", "lora_alternative"]),
        "context_length": st.sampled_from(["longest_training_example", "model_context_length", "1", "12"]),
        "disable_causal_mask": st.booleans(),
        "num_epochs": st.integers(1, 3),
        "accumulation_steps": st.integers(1, 4),
        "eval_freq": st.integers(2, 9),
        "eval_iter": st.integers(1, 6),
        "weight_decay": st.sampled_from([0.0, 0.1, 1.0]),
        "seed": st.integers(0, 2**63 - 1),
    }
)
any_position = st.one_of(st.fixed_dictionaries({"trainable_token_pos": st.sampled_from(["first", "last", "flexible"])}), st.just({"average_embeddings": True}))
any_batches = st.one_of(st.fixed_dictionaries({"batch_size": st.integers(4, 20)}), st.just({"no_padding": True, "batch_size": 1}))


@settings(max_examples=8, phases=[Phase.generate])  # shrinking would train for minutes
@given(any_settings, any_position, any_batches)
def test_any_settings_train_like_the_reference(miniature, agrees_with_reference, changes, position, batches):
    agrees_with_reference(miniature(**changes, **position, **batches))


def test_row_18_equals_row_1_bit_for_bit(miniature, inputs_of):
    row_1, row_18 = miniature(), miniature(ignore_index=50256)
    results = [finetune(experiment, inputs_of(experiment), device=CPU) for experiment in (row_1, row_18)]
    assert results[0].history == results[1].history
    assert results[0].counts == results[1].counts


def test_ignored_labels_reach_the_loss(miniature, inputs_of):
    """With label 1 ignored every loss is that of class 0 alone, which training drives towards 0."""
    experiment = miniature(ignore_index=1, num_epochs=20, learning_rate=0.02, eval_freq=99, eval_iter=1)
    result = finetune(experiment, inputs_of(experiment), device=CPU)
    zeros = inputs_of(experiment).dataset.test.labels.count(0)
    assert result.counts["test"].right == zeros


@pytest.mark.parametrize("changes", [{"trainable_layers": "all"}, {"weights": "random", "trainable_layers": "lora"}], ids=str)
def test_a_second_run_repeats_the_first_bit_for_bit(changes, miniature, inputs_of):
    experiment = miniature(**changes)
    first = finetune(experiment, inputs_of(experiment), device=CPU)
    torch.rand(5)
    second = finetune(experiment, inputs_of(experiment), device=CPU)
    assert (first.history, first.epoch_accuracies, first.counts) == (second.history, second.epoch_accuracies, second.counts)


@pytest.mark.parametrize("learning_rate", [1e-3, 1e30], ids=["success", "failure"])
@pytest.mark.parametrize(("deterministic", "warn_only"), [(False, False), (True, True), (True, False)])
def test_the_callers_random_state_and_switches_are_restored(deterministic, warn_only, learning_rate, miniature, inputs_of):
    experiment = miniature(learning_rate=learning_rate, num_epochs=1)
    before = torch.get_rng_state()
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    try:
        finetune(experiment, inputs_of(experiment), device=CPU)
    except TrainingError:
        assert learning_rate == 1e30
    finally:
        after = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        torch.use_deterministic_algorithms(False)
    assert after == (deterministic, warn_only)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_report_hears_every_event_in_order(miniature, inputs_of):
    experiment = miniature(eval_freq=4)
    everything = []
    result = finetune(experiment, inputs_of(experiment), device=CPU, report=everything.append)
    heard = [event for event in everything if not isinstance(event, Progress)]
    assert [(type(event).__name__, event.epoch) for event in heard] == [
        ("Evaluation", 1),  # step 0
        ("Evaluation", 1),  # step 4
        ("EpochAccuracy", 1),
        ("Evaluation", 2),  # step 8
        ("EpochAccuracy", 2),
    ]
    assert [*result.history, *result.epoch_accuracies] == [heard[0], heard[1], heard[3], heard[2], heard[4]]


def test_the_report_hears_how_far_each_part_has_come(miniature, inputs_of):
    experiment = miniature()
    heard = []
    finetune(experiment, inputs_of(experiment), device=CPU, report=heard.append)
    progress = [event for event in heard if isinstance(event, Progress)]
    steps, passes, counts = ([event for event in progress if event.phase == phase] for phase in ("training", "frozen pass", "final counts"))
    assert [event.done for event in steps] == [*range(1, steps[0].of + 1)]
    assert passes[0].done == 0
    assert passes[-1].done == passes[-1].of
    assert [event.done for event in passes] == sorted(event.done for event in passes)
    assert [(event.done, event.of) for event in counts] == [(0, 3), (1, 3), (2, 3)]
    assert heard.index(counts[0]) > heard.index(steps[-1])


def test_the_clock_covers_training_and_its_evaluations_only(monkeypatch, miniature, inputs_of):
    clock = [0.0]

    def taking(seconds, function):
        def wrapped(*arguments, **keywords):
            clock[0] += seconds
            return function(*arguments, **keywords)

        return wrapped

    experiment = miniature(num_epochs=1, eval_freq=99)
    inputs = inputs_of(experiment)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(gptcore.training, "encode_dataset", taking(10_000, gptcore.training.encode_dataset))
    monkeypatch.setattr(gptcore.training, "build_classifiers", taking(10_000, gptcore.training.build_classifiers))
    monkeypatch.setattr(gptcore.loop, "losses_of", taking(1, gptcore.loop.losses_of))
    for module in (gptcore.loop, gptcore.training):  # the one measures after an epoch, the other at the end
        monkeypatch.setattr(module, "grade", taking(100, module.grade))
    result = finetune(experiment, inputs, device=CPU)
    # 5 batches, 3 + 2 batches of one evaluation (validation has two), one measurement of both splits after the epoch
    assert result.train_seconds == 5 + 3 + 2 + 2 * 100


def test_the_clock_does_not_cover_what_a_checkpoint_needs_to_be_known_by(monkeypatch, miniature, inputs_of, tmp_path):
    """Digests of weights: of GPT-2 xl some gigabytes are read for them."""
    clock = [0.0]
    digests = gptcore.training.component_digests

    def slow(*arguments):
        clock[0] += 1000
        return digests(*arguments)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(gptcore.training, "component_digests", slow)
    experiment = miniature(trainable_layers="all", num_epochs=1)
    execution = Execution(checkpoints=Checkpoints(tmp_path, every=1e9))
    result = finetune(experiment, inputs_of(experiment), device=CPU, execution=execution)
    assert (clock[0], result.train_seconds) == (1000, 0)


def test_the_clock_charges_a_row_for_passes_that_another_paid_for(monkeypatch, miniature, inputs_of):
    """Every pass over the frozen part takes 100 seconds, everything else none."""
    clock = [0.0]
    forward = FrozenStates._forward

    def slow(self, one, model):
        clock[0] += 100
        return forward(self, one, model)

    monkeypatch.setattr(FrozenStates, "_forward", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    experiments = [miniature(), miniature(trainable_layers="last_two_blocks")]  # one frozen block of two that are computed
    inputs = inputs_of(experiments[0])
    alone = [finetune(experiment, inputs, device=CPU) for experiment in experiments]
    states = share_states([need_of(experiment, inputs) for experiment in experiments], experiments[0], inputs, device=CPU, execution=Execution())
    first, second = (finetune(experiment, inputs, device=CPU, states=states) for experiment in experiments)
    n_passes = alone[0].real_seconds
    assert n_passes >= 100
    assert [result.train_seconds for result in alone] == [result.real_seconds for result in alone] == [n_passes] * 2
    assert (first.real_seconds, second.real_seconds) == (n_passes, 0)
    assert (first.train_seconds, second.train_seconds) == (n_passes, n_passes / 2)
    assert first.frozen.bytes == second.frozen.bytes > alone[0].frozen.bytes
    for ours, theirs in zip((first, second), alone, strict=True):
        assert ours.counts == theirs.counts
        assert ours.history[-1].train_loss == pytest.approx(theirs.history[-1].train_loss, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"learning_rate": 1e30}, "epoch 1, step 0"), ({"ignore_index": 0, "batch_size": 1, "no_padding": True}, "epoch 1, step")],
    ids=["weights blow up", "every label ignored"],
)
def test_a_loss_that_is_not_finite_stops_the_training(changes, place, miniature, inputs_of):
    experiment = miniature(**changes)
    with pytest.raises(TrainingError, match=rf"(nan|inf) at {place}"):
        finetune(experiment, inputs_of(experiment), device=CPU)


def test_weights_that_are_not_finite_stop_the_training(miniature, inputs_of, monkeypatch):
    experiment = miniature(weights="random")
    real = gptcore.training.random_gpt

    def broken(*arguments, **keywords):
        model = real(*arguments, **keywords)
        model.final_norm.weight.data.fill_(math.nan)
        return model

    monkeypatch.setattr(gptcore.training, "random_gpt", broken)
    with pytest.raises(TrainingError, match="nan at epoch 1, step 0"):
        finetune(experiment, inputs_of(experiment), device=CPU)


def test_a_batch_larger_than_the_training_split_is_refused(miniature, inputs_of):
    experiment = miniature(batch_size=46)
    with pytest.raises(UsageError, match="--batch_size 46 is more than the 45 training texts"):
        finetune(experiment, inputs_of(experiment), device=CPU)


def test_a_tokenizer_larger_than_the_model_is_refused(miniature, inputs_of, byte_tokenizer):
    experiment = miniature()
    larger = make_tokenizer("larger", {bytes([byte]): byte for byte in range(256)} | {b"ab": 256})
    with pytest.raises(UsageError, match=r"the tokenizer has 258 tokens and .* knows 257"):
        finetune(experiment, inputs_of(experiment, tokenizer=larger), device=CPU)


def test_the_real_defaults_are_the_published_ones():
    default = Experiment()
    assert (default.learning_rate, default.weight_decay, default.batch_size, default.num_epochs) == (5e-5, 0.1, 8, 5)
    assert (default.eval_freq, default.eval_iter, default.seed, default.accumulation_steps) == (50, 5, 123, 1)


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
def test_bf16_rounds_the_products_and_nothing_else(plain, miniature, inputs_of):
    experiment = miniature(trainable_layers="all", learning_rate=1e-3)
    full, short = (
        finetune(chosen, inputs_of(chosen), device=torch.device("cpu"), execution=Execution(plain=plain)).history
        for chosen in (experiment, dataclasses.replace(experiment, precision="bf16"))
    )
    assert abs(full[0].train_loss - full[-1].train_loss) > 0.02, "weights that stay as they were would go unnoticed"
    for ours, theirs in zip(short, full, strict=True):
        assert ours.train_loss != theirs.train_loss
        assert ours.train_loss == pytest.approx(theirs.train_loss, abs=0.01)


def test_training_separates_two_plain_classes(miniature, inputs_of):
    """The figures mean something: a text of a's and a text of b's are told apart."""
    texts, labels = ("aaaa", "bbbb") * 12, (0, 1) * 12
    split = Split(texts, labels)
    experiment = miniature(num_epochs=10)
    result = finetune(experiment, inputs_of(experiment, dataset=Dataset(split, split, split)), device=CPU)
    assert result.counts["test"].accuracy == 1
    assert result.history[-1].train_loss < result.history[0].train_loss / 2


def test_a_row_that_trains_a_block_others_keep_frozen_leaves_them_its_untouched_states(miniature, inputs_of):
    """A pass may go through blocks that the row which first asks for it trains; what it leaves to others must come from before."""
    shallow, deep = miniature(trainable_layers="last_two_blocks", learning_rate=0.1), miniature(context_length="model_context_length")
    inputs = inputs_of(deep)
    states = share_states([need_of(one, inputs) for one in (shallow, deep)], shallow, inputs, device=CPU, execution=Execution())
    finetune(shallow, inputs, device=CPU, states=states)
    shared, alone = finetune(deep, inputs, device=CPU, states=states), finetune(deep, inputs, device=CPU)
    losses = [torch.tensor([one.train_loss for one in result.history]) for result in (shared, alone)]
    torch.testing.assert_close(*losses, atol=1e-6, rtol=0)
    assert shared.counts == alone.counts
