import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from gptcore.batches import Batch
from gptcore.errors import UsageError
from gptcore.experiment import Experiment
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.readout import read_out
from gptcore.weights import pretrained_gpt, random_gpt

TINY = GPTConfig("tiny", width=24, n_layer=3, n_head=4, vocabulary_size=99, context_length=40)
WIDE = GPTConfig("two blocks of gpt2-small", width=768, n_layer=2, n_head=12, vocabulary_size=500, context_length=64)
both_sizes = pytest.mark.parametrize("config", [TINY, WIDE], ids=lambda config: config.name)


def theirs(config, kind, **changes):
    """The transformers model of this size with random weights, biases and LayerNorms."""
    torch.manual_seed(1)
    sizes = GPT2Config(
        vocab_size=config.vocabulary_size, n_positions=config.context_length, n_embd=config.width, n_layer=config.n_layer, n_head=config.n_head, **changes
    )
    model = kind(sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def random_tokens(config, batch, length):
    return torch.randint(config.vocabulary_size - 1, (batch, length), generator=torch.Generator().manual_seed(2))


@both_sizes
@torch.no_grad()
def test_gpt2_matches_transformers(config, tmp_path):
    expected = theirs(config, GPT2LMHeadModel)
    expected.save_pretrained(tmp_path)
    ours = pretrained_gpt(config, tmp_path / "model.safetensors", causal=True)
    tokens = random_tokens(config, 3, config.context_length)
    torch.testing.assert_close(ours(tokens), expected(tokens).logits, atol=1e-4, rtol=0)


@both_sizes
@torch.no_grad()
def test_the_flexible_position_matches_sequence_classification(config, tmp_path):
    pad = config.vocabulary_size - 1
    expected = theirs(config, GPT2ForSequenceClassification, num_labels=2, pad_token_id=pad)
    expected.save_pretrained(tmp_path)
    ours = pretrained_gpt(config, tmp_path / "model.safetensors", causal=True)
    ours.head = torch.nn.Linear(config.width, 2, bias=False)
    ours.head.weight.copy_(load_file(tmp_path / "model.safetensors")["score.weight"])
    tokens, lengths = random_tokens(config, 4, 30), torch.tensor([30, 1, 17, 29])
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = pad
    batch = Batch(tokens, lengths - 1, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    logits = read_out(ours(tokens), batch, Experiment(trainable_token_pos="flexible"))
    torch.testing.assert_close(logits, expected(tokens).logits, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("first_changed", [1, 7, 19])
def test_padding_is_never_seen_by_earlier_tokens(first_changed, tiny):
    model = random_gpt(tiny, causal=True, seed=4)
    tokens = random_tokens(tiny, 2, 20)
    padded = tokens.clone()
    padded[:, first_changed:] = tiny.vocabulary_size - 1
    before, after = model(tokens), model(padded)
    torch.testing.assert_close(after[:, :first_changed], before[:, :first_changed])
    assert not torch.isclose(after[:, first_changed:], before[:, first_changed:]).all(dim=-1).any()


@torch.no_grad()
def test_without_the_mask_every_token_sees_every_other(tiny):
    model = random_gpt(tiny, causal=False, seed=4)
    tokens = random_tokens(tiny, 2, 20)
    changed = tokens.clone()
    changed[:, -1] = tiny.vocabulary_size - 1
    assert not torch.isclose(model(tokens), model(changed)).all(dim=-1).any()


@torch.no_grad()
def test_the_batch_does_not_mix_texts(tiny):
    model = random_gpt(tiny, causal=False, seed=4)
    tokens = random_tokens(tiny, 3, 12)
    alone = torch.cat([model(row[None]) for row in tokens])
    torch.testing.assert_close(model(tokens), alone)


def test_the_four_sizes_are_the_published_ones():
    sizes = {name: (config.width, config.n_layer, config.n_head, config.vocabulary_size, config.context_length) for name, config in GPT2_SIZES.items()}
    assert sizes == {
        "gpt2-small (124M)": (768, 12, 12, 50257, 1024),
        "gpt2-medium (355M)": (1024, 24, 16, 50257, 1024),
        "gpt2-large (774M)": (1280, 36, 20, 50257, 1024),
        "gpt2-xl (1558M)": (1600, 48, 25, 50257, 1024),
    }


def test_heads_must_divide_the_width():
    with pytest.raises(UsageError, match="width 10 of odd is not a multiple of its 3 heads"):
        GPTConfig("odd", width=10, n_layer=1, n_head=3)


@pytest.mark.parametrize("name", ["width", "n_layer", "n_head", "vocabulary_size", "context_length"])
@pytest.mark.parametrize("size", [0, -2])
def test_a_size_below_one_is_refused(name, size):
    with pytest.raises(UsageError, match=rf"{name} {size} of none is too small: give at least 1"):
        GPTConfig("none", **{"width": 8, "n_layer": 1, "n_head": 2} | {name: size})
