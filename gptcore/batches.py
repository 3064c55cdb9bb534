"""From texts to token batches: truncate, pad, choose the position that is read.  (SPEC §2 and §5)"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gptcore.dataset import Dataset, SplitName
from gptcore.errors import UsageError
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH, Experiment
from gptcore.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """tokens: (B, T) int64; position: (B,) int64, where the class is read; labels: (B,) int64; rows: (B,) int64, numbers of the distinct rows, on the CPU."""

    tokens: Tensor
    position: Tensor
    labels: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; the numbers of its rows stay where they are looked up."""
        return Batch(self.tokens.to(device), self.position.to(device), self.labels.to(device), self.rows)

    def only(self, chosen: Tensor) -> "Batch":
        """The examples where `chosen`, (B,) bool, on the CPU, holds."""
        there = chosen.to(self.tokens.device)
        return Batch(self.tokens[there], self.position[there], self.labels[there], self.rows[chosen])


@dataclass(frozen=True)
class EncodedSplit:
    """A split as rows of tokens, the position (N,) each one's class is read from, the labels (N,), and numbers (N,): equal rows of any split share one."""

    rows: tuple[Tensor, ...]
    positions: Tensor
    labels: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples at `indices` as one batch, filled up on the right where their rows differ in length."""
        chosen = list(indices)
        tokens = pad_sequence([self.rows[index] for index in chosen], batch_first=True)  # (B, T)
        return Batch(tokens, self.positions[chosen], self.labels[chosen], self.numbers[chosen])


def encode_dataset(dataset: Dataset, experiment: Experiment, tokenizer: Tokenizer, *, needed_only: bool = False) -> dict[SplitName, EncodedSplit]:
    """The three splits as the experiment reads them: all padded and cut to the same length, or none at all.

    With `needed_only` every row ends with the last token its class depends on.
    Raises UsageError where a text is longer than the model's context and the settings do not cut it.
    """
    encoded = {name: [tokenizer.encode(text) for text in split.texts] for name, split in dataset.splits.items()}
    length = row_length(encoded["train"], experiment)
    numbering: dict[tuple[int, ...], int] = {}
    splits: dict[SplitName, EncodedSplit] = {}
    for name, split in dataset.splits.items():
        padded, positions = encode_rows(encoded[name], length, experiment, tokenizer.pad_token)
        if needed_only:
            padded = [row[: needed_tokens(position, len(row), experiment)] for position, row in zip(positions, padded, strict=True)]
        splits[name] = EncodedSplit(
            rows=tuple(torch.tensor(row) for row in padded),
            positions=torch.tensor(positions),
            labels=torch.tensor(split.labels),
            numbers=torch.tensor([numbering.setdefault(tuple(row), len(numbering)) for row in padded]),
        )
    return splits


def encode_rows(encoded: Sequence[Sequence[int]], length: int | None, experiment: Experiment, pad_token: int) -> tuple[list[list[int]], list[int]]:
    """Texts, as tokens, cut and padded to `length` (None: neither), and the position each one's class is read from.

    Raises UsageError where a text is longer than the model's context and nothing cuts it.
    """
    longest, limit = max(map(len, encoded)), experiment.model_size.context_length
    if length is None and longest > limit:
        raise UsageError(f"--no_padding cuts nothing, and one text has {longest} tokens: {experiment.model_size.name} reads {limit}; shorten the text")
    cut = [list(tokens[:length]) for tokens in encoded]
    padded = [tokens + [pad_token] * ((length or 0) - len(tokens)) for tokens in cut]
    return padded, [read_position(len(tokens), len(row), experiment) for tokens, row in zip(cut, padded, strict=True)]


def row_length(train_rows: Sequence[Sequence[int]], experiment: Experiment) -> int | None:
    """The length, in tokens, of every row; None where each text keeps its own."""
    return None if experiment.no_padding else padded_length(train_rows, experiment)


def padded_length(train_rows: Sequence[Sequence[int]], experiment: Experiment) -> int:
    """The length, in tokens, that every text is padded and cut to."""
    limit = experiment.model_size.context_length
    match experiment.context_length:
        case "longest_training_example":
            longest = max(map(len, train_rows))
            if longest > limit:
                raise UsageError(
                    f"--context_length {LONGEST_TRAINING_EXAMPLE} is {longest} tokens here: {experiment.model_size.name} reads {limit}; "
                    f"use --context_length {MODEL_CONTEXT_LENGTH}"
                )
            return longest
        case "model_context_length":
            return limit
        case number:
            return int(number)


def read_position(n_tokens: int, n_padded: int, experiment: Experiment) -> int:
    """The position the class is read from, of a row with `n_tokens` tokens of text and `n_padded` in all.  Mean pooling reads up to the last."""
    if experiment.average_embeddings:
        return n_padded - 1
    return {"first": 0, "last": n_padded - 1, "flexible": n_tokens - 1}[experiment.trainable_token_pos]


def needed_tokens(position: int, n_padded: int, experiment: Experiment) -> int:
    """How many of a row's tokens the class read from `position` depends on: with a causal mask none behind it."""
    return n_padded if experiment.disable_causal_mask or experiment.average_embeddings else position + 1
