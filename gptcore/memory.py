"""Memory: how much there is, what an experiment needs at least, what a computation held at most, and what to do where it runs out."""

import ctypes
import errno
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError

from gptcore.errors import UserError
from gptcore.experiment import LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH, Experiment
from gptcore.freezing import frozen_blocks, make_classifier
from gptcore.model import GPT

MEMORY = Path("/proc/meminfo")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container on Linux, bytes
OWN_STATUS = Path("/proc/self/status")
OWN_PEAK_RESET = Path("/proc/self/clear_refs")

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


def release_memory(device: torch.device) -> None:
    """Give back what nothing uses any more: objects in cycles, torch's reserve on the device, and freed pages that glibc holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


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


def in_words(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


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


def total_memory(device: torch.device) -> int | None:
    """Bytes that the device has in all, for a CPU with the swap space and within the container's limit; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    known = [sum(meminfo("MemTotal", "SwapTotal"))] if MEMORY.exists() else []
    if not known and hasattr(os, "sysconf"):
        with suppress(ValueError, OSError):
            known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return min(known + container_limit(), default=None)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; 4 GiB where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch holds in reserve is free, too
        return torch.cuda.mem_get_info(device)[0]
    free = meminfo("MemAvailable") if MEMORY.exists() else [4 * 2**30]
    for limit in container_limit():
        free.append(max(0, limit - int(MEMORY_LIMIT.with_name("memory.current").read_text(encoding="ascii"))))
    return min(free)


def meminfo(*names: str) -> list[int]:
    """What Linux tells of its memory under these names, bytes."""
    lines = (line.split() for line in MEMORY.read_text(encoding="ascii").splitlines())
    return [int(words[1]) * 2**10 for words in lines if words and words[0].removesuffix(":") in names]


def container_limit() -> list[int]:
    """The limit of this process's container in bytes, if it has one."""
    limit = MEMORY_LIMIT.read_text(encoding="ascii").strip() if MEMORY_LIMIT.exists() else ""
    return [int(limit)] if limit.isdecimal() else []


@cache
def memory_at_rest(device: torch.device) -> int:
    """Bytes that the program itself holds, for `watch_memory`: what was resident of the process when this was first asked; 0 on accelerators, which tell of
    tensors alone.

    Asked once: kernels and libraries that a first run loads would count as the program's in the second, 50 of 60 MB of a small row.
    """
    release_memory(device)
    return (resident_memory() or lifetime_peak() or 0) if device.type == "cpu" else 0


def watch_memory(device: torch.device, at_rest: int = 0) -> Callable[[], int | None]:
    """Release what nothing uses, and watch from now on: returns what tells the most bytes that were held since, None where the system does not.

    On CUDA that is what torch held on the device.  On a CPU it is the peak of the process's resident memory above `at_rest`, so that it does not matter
    who runs the rows: pytest's own 13 MB are not a row's.  It is not the rise above the row's own start, which depends on what ran before, 66 MB for a
    first row and 2 MB for the same row as fourth, since who comes first loads kernels and the states that others share; and of a leak that would tell
    nothing.  Without the release peaks crept upwards from row to row.
    """
    release_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device)
    if device.type != "cpu":
        return lambda: None
    with suppress(OSError):
        OWN_PEAK_RESET.write_text("5", encoding="ascii")
        return lambda: above(at_rest, resident_peak())
    before = lifetime_peak()
    # Where the process's peak cannot be reset it tells something only if it was raised.
    return lambda: above(at_rest, peak) if (peak := lifetime_peak()) and before and peak > before else None


def above(at_rest: int, peak: int | None) -> int | None:
    """How far a peak rose above what the program holds anyway; None where it did not, or is not known."""
    return peak - at_rest if peak and peak > at_rest else None


def resident_peak() -> int | None:
    """The most bytes of this process that were resident at once since that was last reset, on Linux."""
    return own_status("VmHWM")


def resident_memory() -> int | None:
    """Bytes of this process that are resident now, on Linux."""
    return own_status("VmRSS")


def own_status(name: str) -> int | None:
    """What Linux tells of this process under a name, bytes; None elsewhere."""
    with suppress(OSError):
        for line in OWN_STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 2**10
    return None


def lifetime_peak() -> int | None:
    """The most bytes of this process that were ever resident; None where the system does not tell."""
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 2**10
    return None
