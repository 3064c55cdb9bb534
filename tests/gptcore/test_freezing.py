import pytest
import torch

from gptcore.experiment import Experiment
from gptcore.freezing import frozen_blocks, make_classifier
from gptcore.weights import random_gpt

HEAD = {"head.weight", "head.bias"}
FINAL_NORM = {"final_norm.weight", "final_norm.bias"}
LINEARS = {"attention.query", "attention.key", "attention.value", "attention.output", "mlp.up", "mlp.down"}
EMBEDDINGS = {"token_embedding.weight", "position_embedding.weight"}


def block(index):
    return {f"blocks.{index}.{module}.{kind}" for module in LINEARS | {"attention_norm", "mlp_norm"} for kind in ("weight", "bias")}


LORA = {f"blocks.{index}.{module}.{matrix}" for index in range(3) for module in LINEARS for matrix in "AB"} | {
    "head.A",
    "head.B",
    "head.linear.weight",
    "head.linear.bias",
}

TRAINABLE = {
    "last_layer": HEAD,
    "last_block": HEAD | FINAL_NORM | block(2),
    "last_two_blocks": HEAD | FINAL_NORM | block(2) | block(1),
    "all": HEAD | FINAL_NORM | EMBEDDINGS | block(0) | block(1) | block(2),
    "lora": LORA,
    "lora_alternative": LORA,
}


@pytest.mark.parametrize("trainable_layers", TRAINABLE)
def test_exactly_the_named_parameters_train(trainable_layers, tiny):
    model = random_gpt(tiny, causal=True, seed=1)
    make_classifier(model, Experiment(model_size=tiny, trainable_layers=trainable_layers))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == TRAINABLE[trainable_layers]


@pytest.mark.parametrize("trainable_layers", TRAINABLE)
def test_the_head_depends_on_the_seed_alone(trainable_layers, tiny):
    torch.rand(9)
    model = random_gpt(tiny, causal=True, seed=1)
    make_classifier(model, Experiment(model_size=tiny, trainable_layers=trainable_layers, seed=6))
    torch.manual_seed(6)
    expected = torch.nn.Linear(tiny.width, 2)
    head = model.head.linear if trainable_layers.startswith("lora") else model.head
    assert torch.equal(head.weight, expected.weight)
    assert torch.equal(head.bias, expected.bias)


@pytest.mark.parametrize("trainable_layers", TRAINABLE)
def test_the_frozen_blocks_are_those_below_all_that_trains(trainable_layers, tiny):
    experiment = Experiment(model_size=tiny, trainable_layers=trainable_layers)
    depth = frozen_blocks(experiment)
    names = TRAINABLE[trainable_layers]
    below = EMBEDDINGS.union(*(block(index) for index in range(depth))) if depth else set()
    assert not names & below
    is_last = depth == tiny.n_layer - 1
    assert is_last or names & (block(depth) | LORA)
