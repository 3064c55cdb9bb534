import pytest
import torch

from gptcore.classifier import TEXTS_AT_ONCE
from gptcore.dataset import SPLITS
from gptcore.errors import DataError, UsageError
from gptcore.training import finetune, finetune_classifier

CPU = torch.device("cpu")


@pytest.fixture
def trained(miniature, inputs_of):
    """Makes the result and the classifier of an experiment with these settings."""

    def make(**settings):
        experiment = miniature(**settings)
        return finetune_classifier(experiment, inputs_of(experiment), device=CPU)

    return make


def test_a_classifier_says_of_every_text_what_the_training_counted(row, trained, dataset):
    result, classifier = trained(**row[1])
    for split in SPLITS:
        texts, labels = dataset.splits[split].texts, dataset.splits[split].labels
        answers = list(classifier.classify(texts))
        if split != "train":  # which is shuffled, and without its last partial batch
            margins = [answer.logits[label] - answer.logits[1 - label] for answer, label in zip(answers, labels, strict=True)]
            assert margins == pytest.approx(result.margins[split], abs=2e-5)
            assert sum(answer.label == label for answer, label in zip(answers, labels, strict=True)) == result.counts[split].right


def test_the_figures_are_those_of_a_training_that_hands_nothing_out(trained, miniature, inputs_of):
    experiment = miniature()
    alone = finetune(experiment, inputs_of(experiment), device=CPU)
    result, _ = trained()
    assert result.attestation == alone.attestation
    assert (result.history, result.counts, result.margins) == (alone.history, alone.counts, alone.margins)


def test_an_answer_says_label_name_and_probability(trained):
    _, classifier = trained()
    (answer,) = classifier.classify(["abcab"])
    first, second = (torch.tensor(answer.logits, dtype=torch.float64)).softmax(dim=0).tolist()
    assert answer.label == int(second > first)
    assert answer.name == str(answer.label)
    assert answer.probability == pytest.approx(second)


def test_a_stream_of_texts_is_answered_in_order(trained):
    _, classifier = trained()
    texts = [f"{'abcd' if number % 2 else 'hijk'} {number}" for number in range(2 * TEXTS_AT_ONCE + 3)]
    answers = [answer.logits for answer in classifier.classify(iter(texts))]
    torch.testing.assert_close(torch.tensor(answers), classifier.logits(texts))
    assert len(answers) == len(texts)
    assert classifier.logits([]).shape == (0, 2)


def test_what_the_training_would_cut_is_cut(trained):
    _, classifier = trained(trainable_token_pos="flexible")
    assert classifier.length is not None
    text = "ab" * classifier.length
    torch.testing.assert_close(classifier.logits([text]), classifier.logits([text[: classifier.length]]))


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused_by_its_number(text, trained):
    _, classifier = trained()
    with pytest.raises(DataError, match="text 34 is empty"):
        list(classifier.classify([*["abc"] * 33, text]))


def test_a_text_longer_than_the_context_is_refused_where_nothing_is_cut(trained):
    _, classifier = trained(no_padding=True, batch_size=1)
    with pytest.raises(UsageError, match=r"one text has 41 tokens: .* reads 40; shorten the text"):
        classifier.logits(["a" * 41])
