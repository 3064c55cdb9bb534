from hypothesis import given
from hypothesis import strategies as st

from bench.smoke.messages import smoke_dataset
from bench.smoke.miniatures import VOCABULARY_SIZE
from bench.smoke.tokenizer import N_MERGES, smoke_tokenizer


@given(st.text())
def test_every_text_survives_the_round_trip(text):
    tokenizer = smoke_tokenizer()
    tokens = tokenizer.encode(text)
    assert tokenizer.encoding.decode(tokens) == text
    assert tokenizer.pad_token not in tokens


def test_unknown_characters_fall_back_to_bytes():
    assert smoke_tokenizer().encode("☃") == list("☃".encode())


def test_end_of_text_is_the_last_token():
    tokenizer = smoke_tokenizer()
    assert tokenizer.vocabulary_size == 256 + N_MERGES + 1 == VOCABULARY_SIZE
    assert tokenizer.pad_token == VOCABULARY_SIZE - 1


def test_common_words_are_single_tokens():
    assert len(smoke_tokenizer().encode(" call your prize")) == 3


def test_the_texts_know_their_vocabulary():
    """Nothing in the data set is so strange that it takes as many tokens as characters."""
    tokens = [smoke_tokenizer().encode(text) for text in smoke_dataset().test.texts]
    assert sum(map(len, tokens)) < sum(map(len, smoke_dataset().test.texts)) / 3.5
