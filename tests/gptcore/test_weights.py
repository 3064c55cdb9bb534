import json
import os
import struct
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from gptcore.errors import AssetError
from gptcore.experiment import Experiment
from gptcore.freezing import make_classifier
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.weights import find_pretrained, pretrained_gpt, random_gpt, save_pretrained

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


def with_header(header, data=b"", length=None):
    """A safetensors file with this header, JSON or raw bytes, which says it has `length` bytes."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


HEADERS = {
    "2**60 bytes of header": with_header({"wte.weight": entry()}, bytes(8), length=2**60),
    "2**64 - 1 bytes of header": with_header({"wte.weight": entry()}, bytes(8), length=2**64 - 1),
    "no JSON": with_header(b"{" * 64),
    "no UTF-8": with_header(b'{"\xff\xfe": 1}'),
    "deep": with_header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a list": with_header([]),
    "overlapping": with_header({"wte.weight": entry(), "wpe.weight": entry(begin=4, end=12)}, bytes(12)),
    "a gap": with_header({"wte.weight": entry(), "wpe.weight": entry(begin=12, end=20)}, bytes(20)),
    "beyond the end": with_header({"wte.weight": entry(begin=0, end=2**40)}, bytes(8)),
    "backwards": with_header({"wte.weight": entry(begin=8, end=0)}, bytes(8)),
    "negative": with_header({"wte.weight": entry(begin=-8, end=0)}, bytes(8)),
    "another length than its shape": with_header({"wte.weight": entry(shape=(3,))}, bytes(8)),
    "a shape that overflows": with_header({"wte.weight": entry(shape=(2**40, 2**40))}, bytes(8)),
    "an unknown dtype": with_header({"wte.weight": entry(dtype="Q99")}, bytes(8)),
    "no dtype": with_header({"wte.weight": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "NaN in JSON": with_header(b'{"wte.weight": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', bytes(8)),
    "trailing bytes": with_header({"wte.weight": entry()}, bytes(800)),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_makes_no_sense_is_refused(header, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HEADERS[header])
    with pytest.raises(AssetError, match=r"model\.safetensors is no readable safetensors file \(.*\): delete it and fetch it again"):
        pretrained_gpt(TINY, path, causal=True)


@pytest.mark.parametrize(
    "header",
    [with_header({}), with_header({"__metadata__": {"a": "b"}}), with_header({"wte.weight": entry(), "__metadata__": {"a": "b"}}, bytes(8))],
)
def test_a_header_without_the_tensors_is_refused(header, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(header)
    with pytest.raises(AssetError, match=r"lacks the tensor|needs"):
        pretrained_gpt(TINY, path, causal=True)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_damage_to_a_header_is_more_than_a_sentence(data, weights_of, tmp_path):
    path, content = tmp_path / "model.safetensors", bytearray(weights_of(TINY).read_bytes())
    last = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(AssetError):
        pretrained_gpt(TINY, path, causal=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["wte.weight", "h.1.attn.c_attn.weight", "ln_f.bias"])
def test_numbers_that_are_none_are_refused(bad, name, stored, load):
    stored[name].view(-1)[-1] = bad
    with pytest.raises(AssetError, match=f"{name} in .* holds NaN or infinite numbers"):
        load(stored)


def test_numbers_too_large_for_float32_are_refused(stored, load):
    with pytest.raises(AssetError, match=r"ln_f\.bias in .* holds NaN or infinite numbers"):
        load(stored | {"ln_f.bias": torch.full((24,), 1e300, dtype=torch.float64)})


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_whole_numbers_are_no_weights(dtype, stored, load):
    with pytest.raises(AssetError, match=rf"ln_f\.bias in .* holds {str(dtype)[6:]}, no fractional numbers"):
        load(stored | {"ln_f.bias": torch.zeros(24, dtype=dtype)})


def test_complex_numbers_are_no_weights(stored, tmp_path):
    """Written as whole numbers of the same size, since older releases of safetensors neither write complex ones nor read them."""
    path = tmp_path / "model.safetensors"
    save_file(stored | {"ln_f.bias": torch.zeros(24, dtype=torch.int64)}, path)
    path.write_bytes(path.read_bytes().replace(b'"I64"', b'"C64"', 1))
    with pytest.raises(AssetError, match=r"ln_f\.bias in .* holds complex64, no fractional numbers|is no readable safetensors file"):
        pretrained_gpt(TINY, path, causal=True)


def test_a_tensor_under_both_its_names_is_refused(stored, load):
    with pytest.raises(AssetError, match=r"holds a tensor twice, with and without the prefix transformer\."):
        load(stored | {"transformer.ln_f.bias": torch.zeros(24)})


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_folder_that_cannot_be_is_a_sentence(name, tmp_path):
    with pytest.raises(AssetError, match=r"cannot be read \(.+\): check the path"):
        find_pretrained(SMALL, tmp_path / name)


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
