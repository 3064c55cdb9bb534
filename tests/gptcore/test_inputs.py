import dataclasses
import hashlib

import pytest

import gptcore.inputs
from gptcore.dataset import SPLITS
from gptcore.errors import AssetError
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs, Sources, component_digests, gather_inputs


@pytest.fixture
def named_tokenizer(monkeypatch, byte_tokenizer):
    """Stands in for GPT-2's vocabulary, which not every machine has; keeps the folders that were named."""
    folders = []
    monkeypatch.setattr(gptcore.inputs, "gpt2_tokenizer", lambda folder: (folders.append(folder), byte_tokenizer)[1])
    return folders


@pytest.fixture
def folder(tmp_path):
    """Folder with a data set of two texts a split, and with weights."""
    for name in SPLITS:
        (tmp_path / f"{name}.csv").write_text(f"Label,Text\n0,{name}\n1,more {name}\n")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_named_sources_replace_the_published_ones(folder, named_tokenizer):
    inputs = gather_inputs(Experiment(), Sources(data=folder, weights=folder, tokenizer=folder, limit_train=1))
    assert inputs.dataset.train.texts == ("train",)
    assert inputs.dataset.test.texts == ("test", "more test")
    assert inputs.weights == folder / "model.safetensors"
    assert named_tokenizer == [folder]


def test_random_weights_need_no_file(folder, named_tokenizer):
    assert gather_inputs(Experiment(weights="random"), Sources(data=folder)).weights is None


def test_missing_weights_are_an_asset_error(folder, named_tokenizer, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match="holds no weights"):
        gather_inputs(Experiment(), Sources(data=folder, weights=folder))


def test_without_sources_the_published_inputs_are_read(real_data):
    inputs = gather_inputs(Experiment(weights="random"), Sources())
    assert [len(split) for split in inputs.dataset.splits.values()] == [1045, 149, 300]
    assert inputs.tokenizer.vocabulary_size == 50257


def test_each_component_has_a_digest_of_its_own(folder, named_tokenizer, dataset):
    inputs = gather_inputs(Experiment(), Sources(data=folder, weights=folder))
    before = component_digests(Experiment(), inputs)
    assert before["weights"] == hashlib.sha256(b"weights").hexdigest()
    assert before["data"] == inputs.dataset.digest
    changed = {
        "settings": component_digests(Experiment(seed=1), inputs),
        "data": component_digests(Experiment(), dataclasses.replace(inputs, dataset=dataset)),
        "weights": component_digests(Experiment(), Inputs(inputs.dataset, inputs.tokenizer, None)),
    }
    for name, after in changed.items():
        assert {key for key in before if before[key] != after[key]} == {name}


def test_the_environment_names_weights_where_no_flag_does(monkeypatch, tmp_path):
    assert Sources().with_environment() == Sources()
    monkeypatch.setenv("GPTCORE_WEIGHTS_DIR", str(tmp_path))
    assert Sources(limit_train=3).with_environment() == Sources(weights=tmp_path, limit_train=3)
    assert Sources(weights=tmp_path / "mine").with_environment().weights == tmp_path / "mine"
