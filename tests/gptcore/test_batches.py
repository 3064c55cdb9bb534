import pytest

from gptcore.batches import encode_dataset
from gptcore.dataset import Dataset, Split
from gptcore.errors import UsageError

TRAIN = Split(("abc", "a", "abcdef"), (0, 1, 1))
LONGER = Split(("abcdefgh",), (1,))
PAD = 256


@pytest.fixture
def encode(miniature, byte_tokenizer):
    """Encodes a data set whose validation text is longer than its training texts."""
    return lambda dataset=Dataset(TRAIN, LONGER, TRAIN), **settings: encode_dataset(dataset, miniature(**settings), byte_tokenizer)  # noqa: B008


@pytest.mark.parametrize(("context_length", "length"), [("longest_training_example", 6), ("model_context_length", 40), ("2", 2), ("9", 9)])
def test_every_text_is_cut_and_padded_on_the_right_to_one_length(context_length, length, encode):
    splits = encode(context_length=context_length)
    for name, texts in {"train": TRAIN.texts, "validation": LONGER.texts, "test": TRAIN.texts}.items():
        assert [row.tolist() for row in splits[name].rows] == [(list(text.encode()) + [PAD] * length)[:length] for text in texts]


def test_without_padding_every_text_keeps_its_length(encode):
    splits = encode(no_padding=True, batch_size=1)
    assert [row.tolist() for row in splits["train"].rows] == [list(text.encode()) for text in TRAIN.texts]
    assert [len(row) for row in splits["validation"].rows] == [8]


def test_a_batch_holds_tokens_last_positions_and_labels(encode):
    batch = encode()["train"].batch([2, 0])
    assert batch.tokens.tolist() == [list(b"abcdef"), [*b"abc", PAD, PAD, PAD]]
    assert batch.position.tolist() == [5, 5]
    assert batch.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("settings", "positions"),
    [
        ({"trainable_token_pos": "first"}, [0, 0, 0]),
        ({"trainable_token_pos": "last"}, [5, 5, 5]),
        ({"trainable_token_pos": "flexible"}, [2, 0, 5]),
        ({"trainable_token_pos": "flexible", "context_length": "2"}, [1, 0, 1]),
        ({"trainable_token_pos": "last", "no_padding": True, "batch_size": 1}, [2, 0, 5]),
        ({"average_embeddings": True, "trainable_token_pos": "first"}, [5, 5, 5]),
    ],
    ids=str,
)
def test_the_class_is_read_from_the_chosen_position(settings, positions, encode):
    assert encode(**settings)["train"].positions.tolist() == positions


def test_a_training_text_longer_than_the_model_reads_is_refused(encode):
    long = Split(("x" * 41,), (0,))
    with pytest.raises(UsageError, match=r"longest_training_example is 41 tokens here: .* reads 40; use --context_length model_context_length"):
        encode(Dataset(long, TRAIN, TRAIN))
    assert [len(row) for row in encode(Dataset(TRAIN, long, TRAIN))["validation"].rows] == [6]
    assert [len(row) for row in encode(Dataset(long, TRAIN, TRAIN), context_length="model_context_length")["train"].rows] == [40]


@pytest.mark.parametrize("place", ["train", "validation", "test"])
def test_without_padding_any_text_longer_than_the_model_reads_is_refused(place, encode):
    splits = {"train": TRAIN, "validation": TRAIN, "test": TRAIN} | {place: Split(("x" * 41,), (0,))}
    with pytest.raises(UsageError, match="--no_padding cuts nothing, and one text has 41 tokens"):
        encode(Dataset(**splits), no_padding=True, batch_size=1)
