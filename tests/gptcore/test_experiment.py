import dataclasses
import json
import math

import pytest

from gptcore.errors import UsageError
from gptcore.experiment import Experiment, digest_of, settings_of
from gptcore.model import GPT2_SIZES, GPTConfig

ONE_BLOCK = GPTConfig("one block", width=8, n_layer=1, n_head=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "pre-trained"}, "--weights pre-trained is unknown: choose one of pretrained, random"),
        ({"trainable_layers": "block"}, "--trainable_layers block is unknown"),
        ({"trainable_token_pos": "middle"}, "--trainable_token_pos middle is unknown"),
        ({"lora_rank": 0}, "--lora_rank 0 is not possible: give a whole number from 1 to 9223372036854775807"),
        ({"lora_alpha": 0}, "--lora_alpha 0"),
        ({"num_epochs": 0}, "--num_epochs 0"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"accumulation_steps": -1}, "--accumulation_steps -1"),
        ({"eval_freq": 0}, "--eval_freq 0"),
        ({"eval_iter": 0}, "--eval_iter 0"),
        ({"learning_rate": -1e-9}, "--learning_rate -1e-09"),
        ({"learning_rate": math.nan}, "--learning_rate nan"),
        ({"weight_decay": math.inf}, "--weight_decay inf"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**63}, "--seed 9223372036854775808"),
        ({"ignore_index": -(2**63)}, "--ignore_index -9223372036854775808"),
        ({"eval_iter": 2**63}, "--eval_iter 9223372036854775808"),
        ({"context_length": "0"}, "--context_length 0 is not possible: .* a number from 1 to 1024"),
        ({"context_length": "1025"}, "--context_length 1025"),
        ({"context_length": "-5"}, "--context_length -5"),
        ({"context_length": "²"}, "--context_length ²"),
        ({"context_length": "longest"}, "--context_length longest"),
        ({"no_padding": True}, "--batch_size 8 cannot go with --no_padding"),
        ({"average_embeddings": True, "trainable_token_pos": "flexible"}, "leave one of the two out"),
        ({"model_size": ONE_BLOCK, "trainable_layers": "last_two_blocks"}, "needs two blocks: one block has 1"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Experiment(**settings)


@pytest.mark.parametrize("context_length", ["longest_training_example", "model_context_length", "1", "1024"])
def test_possible_context_lengths_are_accepted(context_length):
    assert Experiment(context_length=context_length).context_length == context_length


def test_settings_are_json_with_the_model_by_name_and_by_size():
    settings = settings_of(Experiment())
    assert json.loads(json.dumps(settings)) == settings
    assert settings["model_size"] == "gpt2-small (124M)"
    assert settings["model"]["width"] == 768
    assert set(settings) == {field.name for field in dataclasses.fields(Experiment)} | {"model"}


def test_the_digest_changes_with_every_field():
    others = {
        "model_size": GPT2_SIZES["gpt2-medium (355M)"],
        "weights": "random",
        "trainable_layers": "all",
        "trainable_token_pos": "first",
        "average_embeddings": True,
        "context_length": "120",
        "precision": "bf16",
        "no_padding": True,
        "disable_causal_mask": True,
    }
    numbers = {field.name: field.default + 1 for field in dataclasses.fields(Experiment) if field.name not in others}
    experiments = [Experiment(), *(Experiment(**{name: value, "batch_size": 1 if name == "no_padding" else 8}) for name, value in others.items())]
    experiments += [Experiment(**{name: value}) for name, value in numbers.items()]
    assert len({digest_of(settings_of(experiment)) for experiment in experiments}) == 1 + len(dataclasses.fields(Experiment))


def test_the_digest_tells_models_of_one_name_apart():
    wider = dataclasses.replace(ONE_BLOCK, width=16)
    assert digest_of(settings_of(Experiment(model_size=ONE_BLOCK))) != digest_of(settings_of(Experiment(model_size=wider)))


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nothing_with_a_value_that_is_not_finite_has_a_digest(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"loss": [value]})
