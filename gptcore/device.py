"""Which device computes, and the switches that make it repeat itself."""

import os
import platform
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.utils.deterministic
from torch.nn.attention import SDPBackend, sdpa_kernel

from gptcore.errors import UsageError

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container on Linux: microseconds of CPU time allowed, and per how many
DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str) -> torch.device:
    """The device by name (`cuda:1` is one too); `auto` prefers CUDA, then MPS, then the CPU.  Raises UsageError for one this machine lacks."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, _, index = name.partition(":")
    if kind not in available or (index and not (kind == "cuda" and index.isascii() and index.isdecimal() and len(index) < 5)):
        raise UsageError(f"--device {shlex.quote(name)} is unknown: choose one of {', '.join(DEVICES)}")
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name} is not available on this machine: choose one of {', '.join(k for k, here in available.items() if here)}, or auto")
    return torch.device(name)


@contextmanager
def reproducible() -> Iterator[None]:
    """Deterministic algorithms where torch has them, and the caller's random state and switches as they were afterwards."""
    # cuBLAS repeats its sums only with a fixed workspace, which it reads when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    guard: Any = torch.utils.deterministic  # its one attribute is made where no type checker looks
    filling = guard.fill_uninitialized_memory
    # Of CUDA's attention kernels the memory-efficient one does not repeat its gradients.
    repeatable_attention = sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), repeatable_attention:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # A guard against reading memory before it is written: we never do, and it cost 5 % of a training step.
        guard.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
            guard.fill_uninitialized_memory = filling


def check_precision(precision: str, device: torch.device) -> None:
    """Raise UsageError for a precision that the device does not compute in."""
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(f"--precision tf32 needs a CUDA device and this runs on {device}: use fp32 or bf16")


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Matrix products of float32 tensors in TF32 where `precision` says so, else in full, whatever the caller had set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def name_device(device: torch.device) -> str:
    """The processor's or the GPU's model name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cpu" and cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def arithmetic_of(device: torch.device) -> dict[str, Any]:
    """What the bits of a computation depend on besides what is computed, JSON-ready: the build of torch, the device, the kernels and how they share work."""
    kernels = [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()] if device.type == "cpu" else []
    return {"torch": torch.__version__, "device": name_device(device), "kernels": kernels}


def usable_cores() -> int:
    """Threads that can really run side by side: torch's own choice, unless this process is confined to fewer cores or to a share of their time."""
    return min(allowed_cores(), torch.get_num_threads())


def allowed_cores() -> int:
    """The cores that this process and its children may keep busy, whatever torch was told."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if CPU_QUOTA.exists():
        limit, _, period = CPU_QUOTA.read_text(encoding="ascii").partition(" ")
        if limit.isdecimal():
            allowed = min(allowed, max(1, int(limit) // int(period)))
    return allowed


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
