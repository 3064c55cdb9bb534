"""From texts to token batches: truncate, pad, load in the published random order.  (SPEC §2 and §5)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gptcore.dataset import Dataset, SplitName
from gptcore.errors import UsageError
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH, Experiment
from gptcore.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """tokens: (B, T) int64; position: (B,) int64, where the class is read; labels: (B,) int64."""

    tokens: Tensor
    position: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(self.tokens.to(device), self.position.to(device), self.labels.to(device))


@dataclass(frozen=True)
class EncodedSplit:
    """A split as rows of tokens, padded to one length or (no padding) each at its own, and the position (N,) each one's class is read from."""

    rows: tuple[Tensor, ...]
    positions: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples at `indices` as one batch; their rows must have one length."""
        chosen = list(indices)
        return Batch(torch.stack([self.rows[index] for index in chosen]), self.positions[chosen], self.labels[chosen])


def encode_dataset(dataset: Dataset, experiment: Experiment, tokenizer: Tokenizer) -> dict[SplitName, EncodedSplit]:
    """The three splits as the experiment reads them: all padded and cut to the same length, or none at all.

    Raises UsageError where a text is longer than the model's context and the settings do not cut it.
    """
    encoded = {name: [tokenizer.encode(text) for text in split.texts] for name, split in dataset.splits.items()}
    length = None if experiment.no_padding else padded_length(encoded["train"], experiment)
    longest = max(map(len, (tokens for rows in encoded.values() for tokens in rows)))
    limit = experiment.model_size.context_length
    if length is None and longest > limit:
        raise UsageError(f"--no_padding cuts nothing, and one text has {longest} tokens: {experiment.model_size.name} reads {limit}; shorten the text")
    return {name: encode_split(encoded[name], split.labels, length, tokenizer.pad_token, experiment) for name, split in dataset.splits.items()}


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


def encode_split(encoded: Sequence[list[int]], labels: Sequence[int], length: int | None, pad_token: int, experiment: Experiment) -> EncodedSplit:
    """Cut to `length` and pad on the right to exactly that; with None leave every row at its own length."""
    cut = [tokens[:length] for tokens in encoded]
    padded = [tokens + [pad_token] * ((length or 0) - len(tokens)) for tokens in cut]
    return EncodedSplit(
        rows=tuple(torch.tensor(tokens) for tokens in padded),
        positions=torch.tensor([read_position(len(tokens), len(row), experiment) for tokens, row in zip(cut, padded, strict=True)]),
        labels=torch.tensor(labels),
    )


def read_position(n_tokens: int, n_padded: int, experiment: Experiment) -> int:
    """The position the class is read from, of a row with `n_tokens` tokens of text and `n_padded` in all.  Mean pooling reads up to the last."""
    if experiment.average_embeddings:
        return n_padded - 1
    return {"first": 0, "last": n_padded - 1, "flexible": n_tokens - 1}[experiment.trainable_token_pos]


def load(split: EncodedSplit, batch_size: int, *, training: bool) -> DataLoader[Batch]:
    """Batches of a split; the training loader shuffles and drops the last partial batch.

    Each pass, shuffled or not, draws from torch's global CPU generator as the published loaders do.
    """
    indices = cast(TorchDataset[Batch], range(len(split)))
    return DataLoader(indices, batch_size=batch_size, shuffle=training, drop_last=training, num_workers=0, collate_fn=split.batch)
