import os

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

import gptcore.weights
from gptcore.errors import AssetError
from gptcore.experiment import Experiment
from gptcore.freezing import make_classifier
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.weights import PINNED_WEIGHTS, find_pretrained, pretrained_gpt, random_gpt, save_pretrained

TINY = GPTConfig("tiny", width=24, n_layer=2, n_head=4, vocabulary_size=99, context_length=40)
SMALL = GPT2_SIZES["gpt2-small (124M)"]
THEIR_SIZES = {"vocab_size": 99, "n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 4}


@pytest.fixture
def stored(weights_of):
    """The tensors of a well-formed file."""
    return load_file(weights_of(TINY))


@pytest.fixture
def load(tmp_path):
    """Writes tensors to a file and loads that."""

    def write_then_load(tensors):
        save_file(tensors, tmp_path / "model.safetensors")
        return pretrained_gpt(TINY, tmp_path / "model.safetensors", causal=True)

    return write_then_load


@pytest.fixture(scope="module")
def gpt2_small():
    """GPT-2 small at random (SPEC §3), before and after it became a classifier: the values that are pinned."""
    model = random_gpt(SMALL, causal=True, seed=123)
    tensors = {
        "token embedding": model.token_embedding.weight,
        "first query": model.blocks[0].attention.query.weight,
        "last down": model.blocks[11].mlp.down.weight,
    }
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    make_classifier(model, Experiment(weights="random"))
    return {name: tensor.flatten()[:3].tolist() for name, tensor in tensors.items()}, norms, model.head


def test_random_weights_are_the_published_ones(gpt2_small):
    first_values, norms, _ = gpt2_small
    assert first_values["token embedding"] == pytest.approx([0.33737019, -0.17777722, -0.30352759], abs=5e-9)
    assert first_values["first query"] == pytest.approx([0.02662378, 0.00493217, -0.01817749], abs=5e-9)
    assert first_values["last down"] == pytest.approx([-0.01131257, 0.00552715, 0.01113471], abs=5e-9)
    assert len(norms) == 25
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() and norm.eps == 1e-5 for norm in norms)


def test_the_head_is_the_published_one(gpt2_small):
    head = gpt2_small[2]
    assert head.weight.shape == (2, 768)
    assert head.weight.flatten()[:3].tolist() == pytest.approx([-0.01471435, 0.00119528, -0.01792162], abs=5e-9)
    assert head.bias.tolist() == pytest.approx([0.01403477, -0.01820223], abs=5e-9)


def test_another_seed_draws_other_weights(tiny):
    first, again, other = (random_gpt(tiny, causal=True, seed=seed).token_embedding.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@torch.no_grad()
@pytest.mark.parametrize("kind", [GPT2LMHeadModel, GPT2Model])
def test_names_with_and_without_prefix_load(kind, tmp_path):
    torch.manual_seed(1)
    theirs = kind(GPT2Config(**THEIR_SIZES)).eval()
    theirs.save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("transformer.") for name in names) == (kind is GPT2LMHeadModel)
    ours = pretrained_gpt(TINY, tmp_path / "model.safetensors", causal=True)
    tokens = torch.arange(40)[None]
    hidden = theirs(tokens, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(ours(tokens), hidden @ theirs.get_input_embeddings().weight.T, atol=1e-5, rtol=0)


@torch.no_grad()
def test_mask_buffers_and_other_heads_are_skipped(stored, load):
    expected = load(stored).state_dict()
    extra = {"h.0.attn.bias": torch.zeros(1, 1, 40, 40), "h.1.attn.masked_bias": torch.zeros(()), "lm_head.weight": torch.zeros(99, 24)}
    found = load(stored | extra).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_altered_later_changes_no_model(stored, load, tmp_path):
    model = load(stored)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with (tmp_path / "model.safetensors").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(b"\0" * size)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_the_vocabulary_head_takes_no_memory_of_its_own(stored, load):
    model = load(stored)
    assert model.head.weight.data_ptr() == model.token_embedding.weight.data_ptr()


def test_half_precision_is_read_as_float32(stored, load):
    model = load({name: tensor.to(torch.bfloat16) for name, tensor in stored.items()})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.token_embedding.weight, stored["wte.weight"].to(torch.bfloat16).float())


@pytest.mark.parametrize("name", ["wte.weight", "wpe.weight", "h.1.attn.c_attn.bias", "h.0.mlp.c_proj.weight", "ln_f.bias"])
def test_a_missing_tensor_is_named(name, stored, load):
    del stored[name]
    with pytest.raises(AssetError, match=f"lacks the tensor {name}"):
        load(stored)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("wte.weight", (100, 24)),
        ("wpe.weight", (41, 24)),
        ("h.0.attn.c_attn.weight", (24, 24)),
        ("h.0.attn.c_attn.weight", (72, 24)),
        ("h.0.attn.c_attn.weight", (24, 73)),
        ("h.0.attn.c_attn.weight", ()),
        ("h.1.mlp.c_fc.weight", (96, 24)),
        ("h.1.mlp.c_fc.weight", (2, 24, 96)),
        ("ln_f.weight", (25,)),
    ],
)
def test_a_tensor_of_another_shape_is_named(name, shape, stored, load):
    with pytest.raises(AssetError, match=rf"{name} in .* needs"):
        load(stored | {name: torch.zeros(shape)})


def test_weights_of_a_deeper_model_are_refused(weights_of, tiny):
    shallower = GPTConfig("shallow", tiny.width, tiny.n_layer - 1, tiny.n_head, tiny.vocabulary_size, tiny.context_length)
    with pytest.raises(AssetError, match="more than the 2 blocks of shallow"):
        pretrained_gpt(shallower, weights_of(tiny), causal=True)


@pytest.mark.parametrize("damage", [lambda content: b"<html>not found</html>", lambda content: b"", lambda content: content[: len(content) // 2]])
def test_a_file_that_is_no_safetensors_is_refused(damage, weights_of, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(weights_of(TINY).read_bytes()))
    with pytest.raises(AssetError, match="no readable safetensors file"):
        pretrained_gpt(TINY, path, causal=True)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(AssetError, match="no readable safetensors file"):
        pretrained_gpt(TINY, tmp_path / "model.safetensors", causal=True)


@torch.no_grad()
def test_saved_weights_load_here_and_in_transformers(weights_of, tmp_path):
    model = pretrained_gpt(TINY, weights_of(TINY), causal=True)
    save_pretrained(model, tmp_path / "model.safetensors")
    GPT2Config(**THEIR_SIZES).save_pretrained(tmp_path)
    again = pretrained_gpt(TINY, tmp_path / "model.safetensors", causal=True).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path, local_files_only=True).eval()
    tokens = torch.arange(40)[None]
    torch.testing.assert_close(theirs(tokens).logits, model(tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("place", ["gpt2", "openai-community/gpt2", "."])
def test_a_folder_of_weights_is_taken_at_its_word(place, tmp_path):
    file = tmp_path / place / "model.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"whatever")
    assert find_pretrained(SMALL, tmp_path) == file


def test_a_folder_without_the_weights_says_where_they_belong(tmp_path):
    with pytest.raises(AssetError, match=r"holds no weights of gpt2-xl \(1558M\): put them at .*gpt2-xl/model.safetensors"):
        find_pretrained(GPT2_SIZES["gpt2-xl (1558M)"], tmp_path)


def test_without_network_the_remedies_are_named(monkeypatch):
    def offline(*arguments, **keywords):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(gptcore.weights, "hf_hub_download", offline)
    with pytest.raises(AssetError, match=r"openai-community/gpt2 could not be downloaded .*--weights_dir or GPTCORE_WEIGHTS_DIR.*--weights random"):
        find_pretrained(SMALL)


def test_a_download_is_pinned_and_verified(monkeypatch, tmp_path):
    asked = []

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        (tmp_path / name).write_bytes(b"altered")
        return str(tmp_path / name)

    monkeypatch.setattr(gptcore.weights, "hf_hub_download", download)
    with pytest.raises(AssetError, match="expected 248dfc391186"):
        find_pretrained(SMALL)
    assert asked == [("openai-community/gpt2", "model.safetensors", "607a30d783dfa663caf39e06633721c8d4cfcd7e")]


def test_every_published_size_is_pinned():
    assert PINNED_WEIGHTS.keys() == GPT2_SIZES.keys()
    assert all(len(pinned.revision) == 40 and len(pinned.sha256) == 64 for pinned in PINNED_WEIGHTS.values())
