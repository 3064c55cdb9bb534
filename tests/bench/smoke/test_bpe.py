import pytest

from bench.smoke.bpe import merge, train_ranks
from bench.smoke.messages import pretraining_texts
from bench.smoke.tokenizer import N_MERGES, RANKS_FILE
from gptcore.tokenizer import format_ranks


def test_ranks_file_is_what_the_command_makes():
    assert RANKS_FILE.read_text(encoding="ascii") == format_ranks(train_ranks(pretraining_texts(), N_MERGES))


def test_merges_by_frequency_then_greatest_pair():
    assert list(train_ranks(["abab abab", "cd", "cd"], 3))[256:] == [b"ab", b"cd", b"abab"]


def test_training_stops_where_no_pair_occurs_twice():
    assert len(train_ranks(["abc"], 10)) == 256


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [([b"a", b"b", b"a", b"b"], [b"ab", b"ab"]), ([b"a", b"a", b"b"], [b"a", b"ab"]), ([b"b", b"a"], [b"b", b"a"]), ([], [])],
)
def test_merge(pieces, expected):
    assert merge(pieces, (b"a", b"b")) == expected


def test_overlapping_pairs_merge_from_the_left():
    assert merge([b"a", b"a", b"a"], (b"a", b"a")) == [b"aa", b"a"]
