"""Memory: how much there is, and how much a computation held at most."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

MEMORY = Path("/proc/meminfo")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container on Linux, bytes
OWN_STATUS = Path("/proc/self/status")
OWN_PEAK_RESET = Path("/proc/self/clear_refs")


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


def in_words(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


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

    On CUDA that is what torch held on the device.  On a CPU it is the peak of the process's resident memory above `at_rest`, so that what else
    lives in the process does not count: a test runner held 13 MB.  It is not the rise above where the computation began, which depends on what ran
    before, 66 MB for a first one and 2 MB for the same one as fourth, since who comes first loads kernels and the states that others share; and of a leak
    that would tell nothing.  Without the release peaks crept upwards from one to the next.
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
