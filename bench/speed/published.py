"""What experiments need on the published texts, told without them."""

from collections.abc import Iterator

import torch

from bench.speed.arithmetic import needed_flops
from gptcore.batches import EncodedSplit, needed_tokens, read_position
from gptcore.experiment import MODEL_CONTEXT_LENGTH, Experiment

# Of the published data; where others are named they are close enough for an estimate.
LONGEST_TEXT, MEAN_TEXT = 120, 31  # tokens
N_TRAIN, N_VALIDATION = 1045, 149


def longest_of(experiment: Experiment) -> int:
    """Tokens of the longest text an experiment reads, at most."""
    context = experiment.model_size.context_length
    if experiment.context_length.isdecimal():
        return min(int(experiment.context_length), context)
    return context if experiment.context_length == MODEL_CONTEXT_LENGTH else min(LONGEST_TEXT, context)


def published_flops(experiment: Experiment) -> float:
    """About as many operations as `needed_flops` counts, with every text of the mean length."""
    length = longest_of(experiment)
    text = min(MEAN_TEXT, length)
    padded = text if experiment.no_padding else length
    needed = needed_tokens(read_position(text, padded, experiment), padded, experiment)
    numbers = iter(range(N_TRAIN + N_VALIDATION))
    return needed_flops(experiment, {"train": _split(N_TRAIN, needed, numbers), "validation": _split(N_VALIDATION, needed, numbers)})


def _split(n_texts: int, length: int, numbers: Iterator[int]) -> EncodedSplit:
    """Texts of one length, each another one."""
    counted = torch.tensor([next(numbers) for _ in range(n_texts)])
    ends = torch.full((n_texts,), length - 1)
    return EncodedSplit((torch.zeros(length, dtype=torch.int64),) * n_texts, ends, torch.zeros_like(ends), counted)
