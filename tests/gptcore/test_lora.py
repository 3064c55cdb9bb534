import math

import pytest
import torch
from torch import nn

from gptcore.experiment import Experiment
from gptcore.freezing import make_classifier
from gptcore.lora import LoRALinear, MergedLoRALinear, add_lora
from gptcore.weights import random_gpt

IN, OUT, RANK, ALPHA = 6, 4, 3, 5


@pytest.fixture
def hidden():
    return torch.randn(2, 7, IN, generator=torch.Generator().manual_seed(3))


def adapter(kind, *, trained=True):
    torch.manual_seed(8)
    made = kind(nn.Linear(IN, OUT), RANK, ALPHA)
    if trained:
        nn.init.normal_(made.B)
    return made


@torch.no_grad()
@pytest.mark.parametrize("kind", [LoRALinear, MergedLoRALinear])
def test_a_fresh_adapter_changes_nothing(kind, hidden):
    fresh = adapter(kind, trained=False)
    assert fresh.A.abs().sum() > 0
    torch.testing.assert_close(fresh(hidden), fresh.linear(hidden))


@torch.no_grad()
@pytest.mark.parametrize("kind", [LoRALinear, MergedLoRALinear])
def test_the_product_is_scaled_by_alpha_alone(kind, hidden):
    trained = adapter(kind)
    expected = hidden @ trained.linear.weight.T + trained.linear.bias + ALPHA * torch.einsum("bti,ir,ro->bto", hidden, trained.A, trained.B)
    torch.testing.assert_close(trained(hidden), expected)


def test_merged_gradients_equal_unmerged_ones(hidden):
    plain, merged = adapter(LoRALinear), adapter(MergedLoRALinear)
    for layer in (plain, merged):
        layer(hidden).square().sum().backward()
    torch.testing.assert_close(merged.A.grad, plain.A.grad)
    torch.testing.assert_close(merged.B.grad, plain.B.grad)


def test_a_linear_without_bias_is_adapted_too(hidden):
    outputs = [kind(nn.Linear(IN, OUT, bias=False), RANK, ALPHA)(hidden).shape for kind in (LoRALinear, MergedLoRALinear)]
    assert outputs == [(2, 7, OUT)] * 2


@pytest.mark.parametrize("merged", [False, True])
def test_every_linear_and_nothing_else_is_wrapped(merged, tiny):
    model = random_gpt(tiny, causal=True, seed=1)
    add_lora(model, RANK, ALPHA, merged=merged)
    wrapped = [name for name, module in model.named_modules() if type(module) is (MergedLoRALinear if merged else LoRALinear)]
    inside = ("attention.query", "attention.key", "attention.value", "attention.output", "mlp.up", "mlp.down")
    assert wrapped == [f"blocks.{index}.{name}" for index in range(3) for name in inside] + ["head"]


@pytest.mark.parametrize("trainable_layers", ["lora", "lora_alternative"])
def test_the_matrices_are_drawn_in_module_order_right_after_the_head(trainable_layers, tiny):
    model = random_gpt(tiny, causal=True, seed=1)
    make_classifier(model, Experiment(model_size=tiny, trainable_layers=trainable_layers, lora_rank=RANK, seed=77))

    torch.manual_seed(77)
    head = nn.Linear(tiny.width, 2)
    bound = math.sqrt(6 / ((1 + 5) * RANK))  # kaiming-uniform with a=sqrt(5); torch counts an (in, R) matrix's second dimension as its inputs

    def draw(n_inputs):
        return torch.empty(n_inputs, RANK).uniform_(-bound, bound)

    for block in model.blocks:
        for layer in (block.attention.query, block.attention.key, block.attention.value, block.attention.output, block.mlp.up):
            torch.testing.assert_close(layer.A.detach(), draw(tiny.width))
        torch.testing.assert_close(block.mlp.down.A.detach(), draw(4 * tiny.width))
    assert torch.equal(model.head.linear.weight, head.weight)
    torch.testing.assert_close(model.head.A.detach(), draw(tiny.width))
    assert all((parameter == 0).all() for name, parameter in model.named_parameters() if name.endswith(".B"))
