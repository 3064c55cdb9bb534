from collections import Counter

import pytest

from bench.smoke.messages import DATASET_SEED, N_TEST, N_TRAIN, N_VALIDATION, NOISE, Draws, fill, labelled_messages, pretraining_texts, smoke_dataset
from bench.smoke.phrases import ASIDES, ENDINGS, HAM, OPENINGS, SLOTS, SPAM
from bench.smoke.tokenizer import smoke_tokenizer

# When the texts are changed on purpose: print smoke_dataset().digest, put it here, remake vocabulary and weights (`python -m bench.smoke.make`) and record
# the smoke tier's expectations again.
DIGEST = "542ec1f2517bcdffe7f1b751199e7a0ad73769902350905fbcb91d57ff9b2661"


@pytest.fixture(scope="module")
def messages():
    draws, seen = Draws(1), set()
    return labelled_messages(draws, 4000, seen)


def test_dataset_is_the_pinned_one():
    assert smoke_dataset().digest == DIGEST


def test_draws_are_pinned():
    draws = Draws(DATASET_SEED)
    assert [draws.below(10) for _ in range(10)] == [9, 9, 0, 0, 8, 7, 6, 3, 6, 6]
    assert Draws(1).shuffled("abcdef") == ["b", "c", "f", "d", "e", "a"]


def test_shuffling_keeps_every_item():
    assert sorted(Draws(3).shuffled(range(100))) == list(range(100))


def test_sizes_and_balance():
    for split, n in zip(smoke_dataset().splits.values(), (N_TRAIN, N_VALIDATION, N_TEST), strict=True):
        assert len(split) == n
        assert sum(split.labels) == n / 2


def test_the_last_accumulated_batches_are_fewer_than_the_others():
    assert N_TRAIN % 8 != 0


def test_share_of_wrong_labels(messages):
    wrong = sum(message.label != message.is_spam for message in messages)
    assert wrong == NOISE * len(messages)
    assert sum(message.label for message in messages) == len(messages) / 2


def test_no_text_occurs_twice_anywhere():
    texts = [text for split in smoke_dataset().splits.values() for text in split.texts] + list(pretraining_texts())
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("phrases", "at_start"), [(OPENINGS, True), (ENDINGS, False)])
def test_openings_and_endings_say_nothing_of_the_label(messages, phrases, at_start):
    """The three words at either end occur as often in ham as in spam, up to chance."""
    counts = Counter()
    for message in messages:
        words = message.text.lower().removesuffix(" x").split()
        counts[words[0] if at_start else words[-1].strip(".!"), message.is_spam] += 1
    for word, n in Counter({word: counts[word, False] + counts[word, True] for word, _ in counts}).items():
        assert abs(counts[word, True] - n / 2) < 4 * (n / 4) ** 0.5 + 1


def test_most_of_a_message_is_of_its_kind(messages):
    """Counting clauses by the beginning of their templates, spam has more of spam's than of ham's, and some has both."""

    def n_clauses(text, themes):
        return sum(template.split("{")[0][:20] in text.lower() for theme in themes for template in theme if len(template.split("{")[0]) > 10)

    spam = [message.text for message in messages if message.is_spam]
    assert sum(n_clauses(text, SPAM) > n_clauses(text, HAM) for text in spam) > 0.75 * len(spam)
    assert any(n_clauses(text, SPAM) and n_clauses(text, HAM) for text in spam)


def test_both_kinds_share_their_loaded_words():
    def words(themes):
        return {word for theme in themes for clause in theme for word in clause.split()}

    assert {"won", "prize", "free", "call", "text", "account", "{money}", "{thing}", "{code}", "{number}"} <= words(SPAM) & words(HAM)


def test_every_slot_is_known():
    for clause in (*OPENINGS, *ENDINGS, *ASIDES, *(clause for theme in SPAM + HAM for clause in theme)):
        assert "{" not in fill(Draws(0), clause)
    assert all(len(set(words)) == len(words) for words in SLOTS.values())


def test_lengths_spread():
    lengths = sorted(len(smoke_tokenizer().encode(text)) for text in smoke_dataset().train.texts)
    assert lengths[0] < 20
    assert 25 < lengths[len(lengths) // 2] < 40
    assert 40 < lengths[-1] < 60
