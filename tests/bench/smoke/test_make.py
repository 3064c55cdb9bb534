import pytest
import torch

import bench.smoke.make as make
from bench.smoke.miniatures import MINIATURES, VOCABULARY_SIZE
from bench.smoke.tokenizer import RANKS_FILE, smoke_tokenizer
from gptcore.model import GPT, GPTConfig
from gptcore.weights import pretrained_gpt

TINY = GPTConfig("tiny", width=8, n_layer=2, n_head=2, vocabulary_size=VOCABULARY_SIZE, context_length=16)


@pytest.fixture(scope="module")
def stream():
    return make.pretraining_stream()


def test_stream_ends_every_text_with_end_of_text(stream):
    assert stream[-1] == smoke_tokenizer().pad_token
    assert (stream == smoke_tokenizer().pad_token).sum() == len(make.pretraining_texts())


def test_two_steps_repeat_bit_for_bit(stream):
    first, second = (make.pretrain(TINY, stream, n_steps=2).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_head_stays_tied_and_training_helps(stream):
    model = make.pretrain(TINY, stream, n_steps=100)
    assert model.head.weight is model.token_embedding.weight
    tokens = stream[:170].view(10, 17)
    with torch.no_grad():
        assert make.language_model_loss(model, tokens) < make.language_model_loss(make.initialised_language_model(TINY), tokens) - 0.4


def test_initialisation_is_gpt2s():
    torch.manual_seed(0)
    config = MINIATURES["gpt2-xl (1558M)"]
    model = make.initialised_language_model(config)
    block = model.blocks[0]
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert block.attention.query.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert block.mlp.down.weight.std().item() == pytest.approx(0.02 / (2 * config.n_layer) ** 0.5, rel=0.05)
    assert not block.attention.query.bias.any()
    assert torch.equal(block.mlp_norm.weight, torch.ones(config.width))


def test_schedule_rises_then_falls_to_a_tenth():
    shares = [make.warmup_then_cosine(step, 1000) for step in range(1001)]
    assert max(shares) == pytest.approx(1, abs=0.03)
    assert shares[0] < 0.02
    assert shares[1000] == pytest.approx(0.1)


def test_vocabulary_command_writes_the_committed_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, "RANKS_FILE", tmp_path / "vocabulary.tiktoken")
    assert make.main(["vocabulary"]) == 0
    assert (tmp_path / "vocabulary.tiktoken").read_bytes() == RANKS_FILE.read_bytes()
    assert capsys.readouterr().out == "wrote vocabulary.tiktoken\n"


def test_weights_command_writes_a_loadable_file(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "WEIGHTS_FOLDER", tmp_path / "weights")
    monkeypatch.setattr(make, "MINIATURES", {"tiny": TINY})
    monkeypatch.setattr(make, "N_STEPS", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    assert make.main(["weights", "--only", "tiny"]) == 0
    assert isinstance(pretrained_gpt(TINY, tmp_path / "weights" / "tiny.safetensors", causal=True), GPT)


def test_unknown_miniatures_are_refused(capsys):
    with pytest.raises(SystemExit):
        make.main(["weights", "--only", "miniature-huge"])
    assert "miniature-small" in capsys.readouterr().err
