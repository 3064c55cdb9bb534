"""The estimate against the count over texts of many lengths."""

import random

import pytest

from bench.rows import ROWS
from bench.speed.arithmetic import needed_flops
from bench.speed.published import LONGEST_TEXT, MEAN_TEXT, N_TRAIN, N_VALIDATION, published_flops
from gptcore.batches import encode_dataset
from gptcore.dataset import Dataset, Split
from gptcore.tokenizer import make_tokenizer


@pytest.fixture(scope="module")
def like_the_published():
    """A dataset whose texts, a byte a token, have about the published lengths; and its tokenizer."""
    draw = random.Random(1)

    def split(n):
        lengths = [LONGEST_TEXT] + [min(1 + round(draw.expovariate(1 / (MEAN_TEXT - 1))), LONGEST_TEXT) for _ in range(n - 1)]
        return Split(tuple("".join(draw.choices("abcdefgh", k=length)) for length in lengths), (0,) * n)

    return Dataset(split(N_TRAIN), split(N_VALIDATION), split(10)), make_tokenizer("bytes", {bytes([byte]): byte for byte in range(256)})


@pytest.mark.parametrize("row", [row for row in ROWS if row.number != 2], ids=lambda row: f"row {row.number}")
def test_close_to_the_count_over_texts(row, like_the_published):
    dataset, tokenizer = like_the_published
    counted = needed_flops(row.experiment, encode_dataset(dataset, row.experiment, tokenizer, needed_only=True))
    assert published_flops(row.experiment) == pytest.approx(counted, rel=0.15)
