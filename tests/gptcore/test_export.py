import json
import re
from dataclasses import replace

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from gptcore.errors import UsageError
from gptcore.export import CARD, CONFIG, WEIGHTS, export_classifier, export_parts, folded_bias, why_not_alone
from gptcore.training import finetune_classifier

# Transformers before 5.20 asks tokenizers in a way that those deprecate; what comes of it is held against ours all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in 0.9.0. BPE.__init__:DeprecationWarning")

CPU = torch.device("cpu")
TEXTS = ["abcabc", "jkl", "a", "naïve 🙂", "<|endoftext|>", "  two\n lines ", "ab" * 18]
logging.disable_progress_bar()


@pytest.fixture
def classifier_of(miniature, inputs_of, dataset):
    """Makes the classifier of an experiment with these settings."""

    def make(**settings):
        experiment = miniature(num_epochs=1, **settings)
        return finetune_classifier(experiment, inputs_of(experiment, dataset=replace(dataset, classes=("ham", "Späm"))), device=CPU)[1]

    return make


def logits_as_the_card_says(folder, texts):
    """What the Python in an export's README.md gives."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text(encoding="utf-8"), flags=re.DOTALL)
    if "padding=True" in code:
        parts = [run_code(code, folder, [text]) for text in texts]  # texts of one length need no padding
        return torch.cat(parts)
    return run_code(code, folder, texts)


def run_code(code, folder, texts):
    names = {"folder": str(folder), "texts": texts}
    exec(code, names)
    return names["logits"]


def test_transformers_computes_the_same_logits(row, classifier_of, tmp_path):
    if "disable_causal_mask" in row[1] and Version(transformers.__version__) < Version("5.23"):
        pytest.skip("this version of transformers may not know `is_causal`")
    classifier = classifier_of(**row[1])
    export = export_parts if why_not_alone(classifier.experiment) else export_classifier
    export(classifier, tmp_path / "out")
    torch.testing.assert_close(logits_as_the_card_says(tmp_path / "out", TEXTS), classifier.logits(TEXTS), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"trainable_token_pos": "first"}, {"trainable_token_pos": "flexible"}, {"trainable_layers": "lora"}], ids=str)
def test_the_parts_compute_the_same_logits_too(settings, classifier_of, tmp_path):
    classifier = classifier_of(**settings)
    export_parts(classifier, tmp_path / "out")
    torch.testing.assert_close(logits_as_the_card_says(tmp_path / "out", TEXTS), classifier.logits(TEXTS), atol=2e-5, rtol=1e-5)


def test_texts_of_several_lengths_may_be_padded_where_the_last_real_token_is_read(classifier_of, tmp_path):
    classifier = classifier_of(no_padding=True, batch_size=1)
    export_classifier(classifier, tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / CARD).read_text(encoding="utf-8"), flags=re.DOTALL)
    torch.testing.assert_close(run_code(code, tmp_path / "out", TEXTS), classifier.logits(TEXTS), atol=2e-5, rtol=1e-5)


def test_transformers_splits_texts_as_we_do(classifier_of, tmp_path):
    classifier = classifier_of()
    export_classifier(classifier, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == [classifier.tokenizer.encode(text) for text in TEXTS]


def test_the_classes_have_their_names(classifier_of, tmp_path):
    export_classifier(classifier_of(), tmp_path / "out")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.id2label, config.label2id) == ({0: "ham", 1: "Späm"}, {"ham": 0, "Späm": 1})
    assert "0 is ham, 1 is Späm" in (tmp_path / "out" / CARD).read_text(encoding="utf-8")


@pytest.mark.parametrize("settings", [{"average_embeddings": True}, {"disable_causal_mask": True}], ids=str)
def test_what_transformers_cannot_do_alone_is_refused(settings, classifier_of, tmp_path):
    with pytest.raises(UsageError, match=r"GPT2ForSequenceClassification cannot .*: add --parts"):
        export_classifier(classifier_of(**settings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bias_that_no_shift_gives_is_refused():
    weight = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert folded_bias(weight, torch.tensor([1.0, 2.0])) == pytest.approx([0.2, 0.4])
    with pytest.raises(UsageError, match="its two rows are parallel: add --parts"):
        folded_bias(weight, torch.tensor([1.0, -1.0]))


def test_an_export_is_replaced_only_where_that_is_said(classifier_of, tmp_path):
    classifier = classifier_of()
    export_classifier(classifier, tmp_path / "out")
    before = (tmp_path / "out" / WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="add --overwrite"):
        export_parts(classifier, tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == before
    export_parts(classifier, tmp_path / "out", overwrite=True)
    assert json.loads((tmp_path / "out" / CONFIG).read_text(encoding="utf-8"))["architectures"] == ["GPT2Model"]
