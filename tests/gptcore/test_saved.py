import json
from dataclasses import replace

import pytest
import tiktoken
import torch

from gptcore.errors import AssetError, UsageError
from gptcore.experiment import digest_of
from gptcore.saved import DESCRIPTION, FILES, RANKS, WEIGHTS, load_classifier, save_classifier
from gptcore.tokenizer import Tokenizer
from gptcore.training import finetune_classifier

CPU = torch.device("cpu")
TEXTS = ("abcabc", "jkl", "naïve 🙂", "<|endoftext|>", "a" * 60)


@pytest.fixture
def classifier(miniature, inputs_of, dataset):
    experiment = miniature(num_epochs=1)
    return finetune_classifier(experiment, inputs_of(experiment, dataset=replace(dataset, classes=("ham", "Späm"))), device=CPU)[1]


@pytest.fixture
def saved(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "saved")
    return tmp_path / "saved"


def test_what_comes_back_gives_the_same_bits(row, miniature, inputs_of, tmp_path):
    experiment = miniature(num_epochs=1, **row[1])
    texts = [text[:30] for text in TEXTS]
    _, classifier = finetune_classifier(experiment, inputs_of(experiment), device=CPU)
    save_classifier(classifier, tmp_path / "saved")
    state = torch.get_rng_state()
    loaded = load_classifier(tmp_path / "saved")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(loaded.logits(texts), classifier.logits(texts))
    assert (loaded.experiment, loaded.length, loaded.classes, loaded.digests) == (experiment, classifier.length, classifier.classes, classifier.digests)
    assert loaded.tokenizer.digest == classifier.tokenizer.digest


def test_saving_what_was_loaded_gives_the_same_files(saved, tmp_path):
    save_classifier(load_classifier(saved), tmp_path / "again")
    assert {path.name for path in saved.iterdir()} == set(FILES)
    assert all((saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in FILES)


def test_an_earlier_classifier_is_replaced_only_where_that_is_said(classifier, saved):
    with pytest.raises(UsageError, match="not empty: name a new folder, or add --overwrite"):
        save_classifier(classifier, saved)
    save_classifier(replace(classifier, classes=("no", "yes")), saved, overwrite=True)
    assert load_classifier(saved).classes == ("no", "yes")


def test_a_tokenizer_that_splits_otherwise_is_refused(classifier, tmp_path):
    encoding = tiktoken.Encoding("words", pat_str=r"\S+|\s+", mergeable_ranks=classifier.tokenizer.ranks, special_tokens={"<|endoftext|>": 256})
    with pytest.raises(UsageError, match="words does not split texts as GPT-2 does"):
        save_classifier(replace(classifier, tokenizer=Tokenizer(encoding, "0" * 64)), tmp_path / "saved")
    assert list(tmp_path.glob("saved*")) == []


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed_in_every_file(name, saved):
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(AssetError, match=r"damaged or altered|cannot be read"):
        load_classifier(saved)


@pytest.mark.parametrize("name", [WEIGHTS, RANKS])
def test_a_missing_file_is_named(name, saved):
    (saved / name).unlink()
    with pytest.raises(AssetError, match=f"{name} is missing"):
        load_classifier(saved)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "of another program"),
        (b'{"schema_version": "1"}', "of another program"),
        (b'{"schema_version": 2}', "schema version 2 and this program reads up to 1"),
    ],
)
def test_another_description_is_refused(content, said, saved):
    (saved / DESCRIPTION).write_bytes(content)
    with pytest.raises(AssetError, match=said):
        load_classifier(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {}},
        {"settings": {"model": {"name": "x"}}},
        {"tokenizer": 1},
        {"length": "long"},
        {"classes": ["one"]},
        {"files": {}},
        {"files": {"../model.safetensors": "0" * 64}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_description_that_describes_no_classifier_is_refused(changes, saved):
    content = json.loads((saved / DESCRIPTION).read_text()) | changes
    del content["sha256"]
    (saved / DESCRIPTION).write_text(json.dumps({"sha256": digest_of(content)} | content))
    with pytest.raises(AssetError, match=r"lacks what a classifier needs|holds no classifier that fits"):
        load_classifier(saved)


def test_weights_of_another_size_are_refused(saved):
    content = json.loads((saved / DESCRIPTION).read_text())
    del content["sha256"]
    content["settings"]["model"]["width"] = 32
    (saved / DESCRIPTION).write_text(json.dumps({"sha256": digest_of(content)} | content))
    with pytest.raises(AssetError, match="holds no classifier that fits its own description"):
        load_classifier(saved)


def test_a_place_without_a_classifier_is_told(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(AssetError, match=r"holds no classifier\.json"):
            load_classifier(place)
