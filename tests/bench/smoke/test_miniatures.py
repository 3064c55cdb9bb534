from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch

from bench.smoke.make import language_model_loss, pretraining_stream
from bench.smoke.messages import smoke_dataset
from bench.smoke.miniatures import LEARNING_RATE_FACTOR, MINIATURES, WEIGHTS_FOLDER, miniature, weights_of
from bench.smoke.tokenizer import smoke_tokenizer
from gptcore.errors import AssetError, UsageError
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.training import finetune
from gptcore.weights import pretrained_gpt, random_gpt

SCALED = {"model_size", "learning_rate", "num_epochs", "eval_freq", "lora_rank", "lora_alpha", "context_length"}
OTHER_VALUES = {
    "precision": "bf16",
    "weights": "random",
    "trainable_layers": "all",
    "trainable_token_pos": "flexible",
    "average_embeddings": True,
    "no_padding": True,
    "batch_size": 1,
    "accumulation_steps": 8,
    "disable_causal_mask": True,
    "ignore_index": 50256,
    "eval_iter": 7,
    "weight_decay": 0.3,
    "seed": 5,
}


def test_every_published_size_has_a_growing_miniature():
    assert list(MINIATURES) == list(GPT2_SIZES)
    sizes = [(config.width, config.n_layer) for config in MINIATURES.values()]
    assert all(width < wider and depth < deeper for (width, depth), (wider, deeper) in pairwise(sizes))
    assert MINIATURES["gpt2-small (124M)"].n_layer >= 3  # the last two blocks are not all


def test_all_weights_together_are_small():
    assert {path.name for path in WEIGHTS_FOLDER.iterdir()} == {weights_of(config).name for config in MINIATURES.values()}
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.iterdir()) < 5_000_000


@pytest.mark.parametrize("config", MINIATURES.values(), ids=lambda config: config.name)
@torch.no_grad()
def test_pretrained_weights_know_the_language(config):
    stream = pretraining_stream()
    tokens = torch.stack([stream[begin : begin + config.context_length + 1] for begin in range(0, 2000, 500)])
    pretrained = language_model_loss(pretrained_gpt(config, weights_of(config), causal=True), tokens)
    untrained = language_model_loss(random_gpt(config, causal=True, seed=123), tokens)
    assert pretrained < 1.2
    assert untrained > 5


def test_missing_weights_say_how_to_make_them():
    with pytest.raises(AssetError, match=r"python -m bench\.smoke\.make weights --only unheard-of"):
        weights_of(replace(MINIATURES["gpt2-small (124M)"], name="unheard-of"))


def test_a_model_without_miniature_is_refused():
    with pytest.raises(UsageError, match="tiny has no miniature"):
        miniature(Experiment(model_size=GPTConfig("tiny", width=8, n_layer=2, n_head=2)))


def test_every_setting_is_scaled_or_kept():
    assert SCALED | OTHER_VALUES.keys() == {item.name for item in fields(Experiment)}


@pytest.mark.parametrize("name", sorted(OTHER_VALUES.keys() - {"no_padding"}))
def test_miniature_keeps_what_a_row_changes(name):
    changed = replace(Experiment(), **{name: OTHER_VALUES[name]})
    assert getattr(miniature(changed), name) == OTHER_VALUES[name]
    assert replace(miniature(changed), **{name: getattr(Experiment(), name)}) == miniature(Experiment())


def test_miniature_keeps_no_padding():
    assert miniature(Experiment(no_padding=True, batch_size=1)).no_padding


def test_a_changed_learning_rate_carries_through():
    assert miniature(Experiment(learning_rate=1.1 * 5e-5)).learning_rate == pytest.approx(1.1 * 5e-5 * LEARNING_RATE_FACTOR)


def test_lora_keeps_a_scale_that_matters():
    both = [miniature(Experiment(lora_rank=16, lora_alpha=alpha)) for alpha in (16, 8)]
    assert both[0].lora_rank == both[1].lora_rank > 1
    assert both[0].lora_alpha == 2 * both[1].lora_alpha > 2


@pytest.mark.parametrize(("length", "expected"), [("longest_training_example", "longest_training_example"), ("1024", "120"), ("512", "60"), ("1", "1")])
def test_context_lengths(length, expected):
    assert miniature(Experiment(context_length=length)).context_length == expected


def test_numbers_never_scale_to_nothing():
    scaled = miniature(Experiment(num_epochs=1, eval_freq=1, lora_rank=1, lora_alpha=1))
    assert (scaled.num_epochs, scaled.eval_freq, scaled.lora_rank, scaled.lora_alpha) == (1, 1, 1, 1)


def test_a_miniature_experiment_runs():
    experiment = miniature(Experiment(num_epochs=1))
    inputs = Inputs(smoke_dataset().limit_train(16), smoke_tokenizer(), weights_of(experiment.model_size))
    result = finetune(experiment, inputs, device=torch.device("cpu"))
    assert result.counts["test"].n == len(smoke_dataset().test)
