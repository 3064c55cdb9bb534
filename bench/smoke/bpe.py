"""Byte pair encoding, learnt.  (Sennrich et al. 2016)  Only the command that makes the vocabulary needs it."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import regex

from gptcore.tokenizer import GPT2_PATTERN

Pair = tuple[bytes, bytes]


def train_ranks(texts: Iterable[str], n_merges: int) -> dict[bytes, int]:
    """Token bytes to rank: the 256 bytes first, then the merges in the order they were learnt.

    Every step merges the most frequent pair of neighbours, of equally frequent ones the greatest, until no pair occurs twice.
    """
    n_occurrences = Counter(word.encode() for text in texts for word in regex.findall(GPT2_PATTERN, text))
    pieces = {word: [bytes([byte]) for byte in word] for word in n_occurrences}
    pair_counts: Counter[Pair] = Counter()
    words_with: defaultdict[Pair, set[bytes]] = defaultdict(set)

    def count_pairs(word: bytes, sign: int) -> None:
        for pair in pairwise(pieces[word]):
            pair_counts[pair] += sign * n_occurrences[word]
            words_with[pair].add(word)

    for word in pieces:
        count_pairs(word, 1)
    ranks = {bytes([byte]): byte for byte in range(256)}
    while len(ranks) < 256 + n_merges:
        count, best = max(((count, pair) for pair, count in pair_counts.items()), default=(0, (b"", b"")))
        if count < 2:
            break
        # Two pairs may spell the same token; the second one then merges without a rank of its own.
        ranks.setdefault(b"".join(best), len(ranks))
        for word in words_with.pop(best):
            count_pairs(word, -1)
            pieces[word] = merge(pieces[word], best)
            count_pairs(word, 1)
        del pair_counts[best]
    return ranks


def merge(pieces: list[bytes], pair: Pair) -> list[bytes]:
    """The pieces with every occurrence of the pair, from the left, made one."""
    merged: list[bytes] = []
    position = 0
    while position < len(pieces):
        length = 2 if tuple(pieces[position : position + 2]) == pair else 1
        merged.append(b"".join(pieces[position : position + length]))
        position += length
    return merged
