"""Where memory runs out: how that is known, what an experiment needs at least, and what is tried before giving up."""

import errno
import sys

import torch
from safetensors import SafetensorError

from gptcore.errors import UserError
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH, Experiment
from gptcore.freezing import frozen_blocks, make_classifier
from gptcore.memory import free_memory, in_words, release_memory, total_memory
from gptcore.model import GPT

# How torch's allocators, the libraries below it, C++ and the operating system say it.
REFUSALS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "alloc_failed")

KEPT_BY_ADAMW = 2  # numbers for every one that trains, besides its gradient
# Widths per token that a block keeps for its gradients: both norms' inputs and outputs, query, key, value, context, the MLP's four before and after GELU.
KEPT_BY_A_BLOCK = 16


class OutOfMemoryError(UserError):
    """More memory was needed than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whoever says so: Python, torch on any device, a library below, or the operating system."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | OSError | SafetensorError) and any(words in str(error).lower() for words in REFUSALS)


def smaller_budget(budget: int | None, held: int, experiment: Experiment, device: torch.device, remedy: str) -> int:
    """After memory ran out: bytes that states of the frozen part may take in the next attempt, half of what they held, then none.  Says so on standard error.

    To be called when the error is gone, since its traceback holds the frames, and so the tensors, of the failed attempt; what they held is released here.
    budget: of the failed attempt, None for the usual one.  held: bytes that its states had in memory.
    Raises OutOfMemoryError, which ends with `remedy`, where they had none.
    """
    release_memory(device)
    if not held or budget == 0:
        raise out_of_memory(experiment, device, remedy, "" if budget is None else ", with the states of the frozen part on disk, too")
    smaller = held // 2 if budget is None else 0
    place = f"at most {in_words(smaller)} of them there, or all on disk" if smaller else "all on disk"
    print(f"memory ran out with {in_words(held)} of frozen states in it: trying again with {place}", file=sys.stderr, flush=True)
    return smaller


def out_of_memory(experiment: Experiment, device: torch.device, remedy: str, tried: str = "") -> OutOfMemoryError:
    """The error that says that memory ran out, what the experiment needs at least, what there is, and what to do.  tried: how else it was, a clause."""
    return OutOfMemoryError(f"memory ran out{tried}: {shortage(experiment, device)}; {remedy}")


def check_memory(experiment: Experiment, device: torch.device, remedy: str) -> None:
    """Raise OutOfMemoryError, which ends with `remedy`, where the device cannot hold the experiment whatever else is freed.

    Worth asking first: Linux grants more memory than there is, and kills who uses it.
    """
    if needed_memory(experiment) > (total_memory(device) or float("inf")):
        raise OutOfMemoryError(f"there is too little memory: {shortage(experiment, device)}; {remedy}")


def shortage(experiment: Experiment, device: torch.device) -> str:
    """What an experiment needs beside what there is, as a clause."""
    total = total_memory(device)
    there = f", and {device} has {in_words(total)} in all, {in_words(free_memory(device))} of them free" if total else ""
    trains = experiment.trainable_layers.replace("_", " ")
    return f"{experiment.model_size.name} with {trains} training needs at least {in_words(needed_memory(experiment))}{there}"


def needed_memory(experiment: Experiment, longest: int = 1) -> int:
    """Bytes that an experiment holds at least while it trains, beside the program itself: to refuse what cannot run, not to predict a peak.

    Weights, AdamW's two moments of what trains, and its gradients or what one batch keeps for them, whichever is more: as the one grows the other goes.
    Left out is what differs between ways of computing: frozen states, which may go to disk, what a kernel borrows, seeds side by side.
    longest: tokens of the longest training text, where the experiment pads to those or not at all.
    """
    config = experiment.model_size
    with torch.device("meta"), torch.random.fork_rng(devices=()):  # no numbers, and no random state used up
        model = GPT(config)
        make_classifier(model, experiment)
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    n_trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    lengths = {LONGEST_TRAINING_EXAMPLE: longest, MODEL_CONTEXT_LENGTH: config.context_length}
    n_tokens = longest if experiment.no_padding else lengths.get(experiment.context_length) or int(experiment.context_length)
    # The last block works at one position unless all are averaged, and then keeps little but its input; where the head alone trains, none keeps anything.
    n_whole = config.n_layer - frozen_blocks(experiment) - (not experiment.average_embeddings or experiment.trainable_layers == "last_layer")
    n_kept = experiment.batch_size * min(n_tokens, config.context_length) * config.width * (1 + KEPT_BY_A_BLOCK * n_whole)
    of_kept = torch.bfloat16.itemsize if experiment.precision == "bf16" else torch.float32.itemsize
    gradients, batch = torch.float32.itemsize * n_trained, of_kept * n_kept
    growing = gradients + batch if experiment.accumulation_steps > 1 else max(gradients, batch)
    return torch.float32.itemsize * (n_weights + KEPT_BY_ADAMW * n_trained) + growing
