"""The closed form against torch's own counter, which sees every matrix product that is really computed."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.rows import ROWS
from bench.speed.arithmetic import TextCost, needed_flops
from gptcore.batches import EncodedSplit
from gptcore.experiment import Experiment
from gptcore.freezing import make_classifier
from gptcore.lora import LoRALinear
from gptcore.model import GPT, Block, GPTConfig
from gptcore.one_query import block_at

TINY = GPTConfig("tiny", width=12, n_layer=3, n_head=3, vocabulary_size=11, context_length=16)
N_TEXTS, T = 4, 7
EVERY_WAY = ("last_layer", "last_block", "last_two_blocks", "all", "lora")
POOLED = {"average_embeddings": True}
NO_MASK = {"disable_causal_mask": True}


def tiny_experiment(trainable_layers="last_block", **settings):
    return Experiment(model_size=TINY, trainable_layers=trainable_layers, lora_rank=2, **settings)


def counted(compute):
    """What torch counts; its plain attention computes whole squares, seen by the mask or not."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        compute()
    return counter.get_total_flops()


def unseen(tokens, *, backward=False):
    """Scores and mixing above the diagonal that torch computes for a causal block, forward or forward and backward."""
    return 2 * TINY.width * tokens * (tokens - 1) * (3 if backward else 1)


def hidden_states(tokens=T, **settings):
    return torch.randn(N_TEXTS, tokens, TINY.width, **settings)


def classifier(experiment):
    """A GPT ready to train, but for the LayerNorm on frozen states: torch takes a longer way to its gradient than the answer needs."""
    model = GPT(TINY, causal=not experiment.disable_causal_mask)
    make_classifier(model, experiment)
    depth = TextCost(experiment, backward=True).frozen_depth
    if experiment.trainable_layers != "all" and depth < TINY.n_layer:
        model.blocks[depth].attention_norm.requires_grad_(False)
    return model


def logits_of(model, experiment, hidden, first_block):
    """The blocks from `first_block` on and the head, the last block at one position."""
    if first_block == TINY.n_layer:
        return model.head(hidden[:, -1])
    *middle, last = model.blocks[first_block:]
    for block in middle:
        hidden = block(hidden)
    if experiment.average_embeddings:
        return model.head(model.final_norm(last(hidden)).mean(dim=1))
    return model.head(model.final_norm(block_at(torch.full((len(hidden),), hidden.shape[1] - 1), hidden, last)))


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "no mask"])
@pytest.mark.parametrize("tokens", [1, T])
def test_whole_block(causal, tokens):
    experiment = tiny_experiment("all", disable_causal_mask=not causal)
    block = Block(TINY, causal)
    forward = counted(lambda: block(hidden_states(tokens)))
    step = counted(lambda: block(hidden_states(tokens, requires_grad=True)).sum().backward())
    for found, backward in ((forward, False), (step, True)):
        expected = TextCost(experiment, backward=backward).block_everywhere(tokens, on_frozen=False)
        assert found == N_TEXTS * (expected + causal * unseen(tokens, backward=backward))


@pytest.mark.parametrize("on_frozen", [True, False], ids=["on frozen states", "on trainable states"])
def test_one_position(on_frozen):
    block = Block(TINY, causal=True)
    block.attention_norm.requires_grad_(not on_frozen)
    position = torch.full((N_TEXTS,), T - 1)
    forward = counted(lambda: block_at(position, hidden_states(), block))
    step = counted(lambda: block_at(position, hidden_states(requires_grad=not on_frozen), block).sum().backward())
    for found, backward in ((forward, False), (step, True)):
        assert found == N_TEXTS * TextCost(tiny_experiment(), backward=backward).block_at_one_position(T, on_frozen=on_frozen)


@pytest.mark.parametrize("on_frozen", [True, False], ids=["on frozen states", "on trainable states"])
def test_adapter(on_frozen):
    layer = LoRALinear(torch.nn.Linear(12, 48).requires_grad_(False), rank=2, alpha=2)
    forward = counted(lambda: layer(hidden_states()))
    step = counted(lambda: layer(hidden_states(requires_grad=not on_frozen)).sum().backward())
    for found, backward in ((forward, False), (step, True)):
        assert found == N_TEXTS * T * TextCost(tiny_experiment("lora"), backward=backward).linear(12, 48, on_frozen=on_frozen)


@pytest.mark.parametrize("settings", [{}, POOLED, NO_MASK], ids=str)
@pytest.mark.parametrize("way", EVERY_WAY)
def test_step_and_evaluation_of_each_way_to_train(way, settings):
    experiment = tiny_experiment(way, **settings)
    model = classifier(experiment)
    depth = TextCost(experiment, backward=True).frozen_depth
    hidden = model.embed(torch.zeros(N_TEXTS, T, dtype=torch.int64)) if way == "all" else hidden_states()
    forward = counted(lambda: logits_of(model, experiment, hidden, depth))
    step = counted(lambda: logits_of(model, experiment, hidden, depth).sum().backward())
    n_whole = max(TINY.n_layer - depth - (not experiment.average_embeddings), 0)
    for found, backward in ((forward, False), (step, True)):
        one = TextCost(experiment, backward=backward)
        above_diagonal = 0 if experiment.disable_causal_mask else n_whole * unseen(T, backward=backward)
        assert found == N_TEXTS * (one.trainable_part(T) + above_diagonal) + one.merging()


@pytest.mark.parametrize("settings", [{}, POOLED], ids=str)
@pytest.mark.parametrize("way", ["last_layer", "last_block", "last_two_blocks"])
def test_frozen_part(way, settings):
    experiment = tiny_experiment(way, **settings)
    one = TextCost(experiment, backward=False)
    model = classifier(experiment)

    def compute():
        hidden = hidden_states()
        for number in range(one.frozen_depth):
            one_position = number == TINY.n_layer - 1 and not experiment.average_embeddings
            hidden = block_at(torch.full((N_TEXTS,), T - 1), hidden, model.blocks[number])[:, None] if one_position else model.blocks[number](hidden)

    n_whole = one.frozen_depth - (way == "last_layer" and not experiment.average_embeddings)
    assert counted(compute) == N_TEXTS * (one.frozen_part(T) + n_whole * unseen(T))


@pytest.mark.parametrize("way", [lambda block, hidden: block(hidden), lambda block, hidden: block_at(torch.tensor([6, 2, 0, 3]), hidden, block)])
def test_the_gradient_of_a_layer_norm_follows_from_those_of_the_weights_behind_it(way):
    torch.manual_seed(1)
    block = Block(TINY, causal=True).double()
    norm = block.attention_norm
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    way(block, hidden_states(dtype=torch.float64)).square().sum().backward()
    of_scale = of_shift = torch.zeros(TINY.width, dtype=torch.float64)
    for linear in (block.attention.query, block.attention.key, block.attention.value):
        of_bias = torch.zeros(TINY.width, dtype=torch.float64) if linear.bias.grad is None else linear.bias.grad
        of_scale = of_scale + (linear.weight * (linear.weight.grad - torch.outer(of_bias, norm.bias))).sum(dim=0) / norm.weight
        of_shift = of_shift + of_bias @ linear.weight
    torch.testing.assert_close((of_scale, of_shift), (norm.weight.grad, norm.bias.grad), atol=1e-8, rtol=1e-8)


def splits_of(train, validation, distinct=True):
    """Splits of rows with these lengths; unless `distinct`, all of one length are the same row."""
    numbers = list(range(len(train) + len(validation))) if distinct else [*train, *validation]
    return {
        name: EncodedSplit(tuple(torch.zeros(length, dtype=torch.int64) for length in lengths), *torch.zeros(2, len(lengths)).long(), torch.tensor(chosen))
        for name, lengths, chosen in (("train", train, numbers[: len(train)]), ("validation", validation, numbers[len(train) :]))
    }


def test_whole_training_counted_pass_by_pass():
    experiment = tiny_experiment("lora", batch_size=2, num_epochs=3, eval_freq=3, eval_iter=2)
    forward, step = (TextCost(experiment, backward=backward) for backward in (False, True))
    evaluation = 8 * forward.trainable_part(5) + 4 * forward.merging()  # two batches of two, of both splits
    steps = 9 * (2 * step.trainable_part(5) + step.merging())  # three an epoch: the seventh text is dropped
    assert needed_flops(experiment, splits_of([5] * 7, [5] * 9)) == steps + (3 + 3) * evaluation  # at steps 0, 3, 6 and after each epoch


def test_short_splits_are_evaluated_whole():
    experiment = tiny_experiment("lora", batch_size=2, num_epochs=1, eval_freq=50, eval_iter=5)
    forward, step = (TextCost(experiment, backward=backward) for backward in (False, True))
    evaluation = 2 * forward.trainable_part(5) + 3 * forward.trainable_part(4) + 3 * forward.merging()  # one batch of train, two of validation
    assert needed_flops(experiment, splits_of([5] * 3, [4] * 3)) == 2 * step.trainable_part(5) + step.merging() + 2 * evaluation


def test_batches_of_different_lengths_count_as_their_mean():
    experiment = tiny_experiment(batch_size=2, num_epochs=1, eval_iter=1)
    forward, step = (TextCost(experiment, backward=backward) for backward in (False, True))
    lengths, validation = [2, 3, 7], [4, 4, 9]
    expected = sum(map(forward.frozen_part, [*lengths, 4, 4]))
    expected += 2 / 3 * sum(map(step.trainable_part, lengths))
    expected += 2 * (2 / 3 * sum(map(forward.trainable_part, lengths)) + 2 * forward.trainable_part(4))  # at step 0 and after the epoch
    assert needed_flops(experiment, splits_of(lengths, validation)) == pytest.approx(expected, rel=1e-12)


def test_a_distinct_row_passes_the_frozen_blocks_once():
    experiment = tiny_experiment(batch_size=2, num_epochs=1, eval_iter=1)
    apart, shared = (needed_flops(experiment, splits_of([5, 5, 6], [5, 5, 8], distinct=distinct)) for distinct in (True, False))
    assert apart - shared == pytest.approx(3 * TextCost(experiment, backward=False).frozen_part(5))


ENCODED = splits_of([12] * 40, [12] * 10)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_more_work_costs_more(way):
    experiment = Experiment(trainable_layers=way)
    deeper = replace(experiment, model_size=replace(experiment.model_size, n_layer=13))
    usual = needed_flops(experiment, ENCODED)
    assert usual < needed_flops(replace(experiment, num_epochs=6), ENCODED)
    assert usual < needed_flops(experiment, splits_of([13] * 40, [13] * 10))
    assert usual < needed_flops(experiment, splits_of([12] * 48, [12] * 10))
    assert usual < needed_flops(replace(experiment, eval_freq=1), ENCODED)
    assert usual < needed_flops(deeper, ENCODED)


def test_what_trains_more_costs_more():
    costs = [needed_flops(Experiment(trainable_layers=way), ENCODED) for way in ("last_layer", "last_block", "last_two_blocks", "all")]
    assert costs == sorted(set(costs))


def test_rows_of_the_table():
    needed = {row.number: needed_flops(row.experiment, ENCODED) for row in ROWS}
    assert needed[18] == needed[1]
    assert needed[10] == needed[5]
    assert needed[1] < needed[17]
    assert needed[1] < needed[19]
    assert needed[1] < needed[6] < needed[7] < needed[8] < needed[9]
    assert needed[11] < needed[5]  # no gradients of the weights


def test_both_ways_to_compute_lora_need_the_same():
    lora, merged = (Experiment(trainable_layers=way) for way in ("lora", "lora_alternative"))
    assert needed_flops(lora, ENCODED) == needed_flops(merged, ENCODED)
