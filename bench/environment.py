"""What machine, what versions, what commit: everything a figure may depend on besides its settings."""

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator, Field

from bench.bounds import Date
from gptcore.device import name_device, reproducible

CHECKOUT = Path(__file__).parent.parent
FREE_TO_DIFFER = ("date", "cores", "git_commit", "git_dirty")  # the last two, since the digest of the code says whether they matter
THREADS_ASKED_FOR = "OMP_NUM_THREADS"  # of no effect, since the number of threads is set and compared by itself
PLURALS = ("threads", "deterministic_algorithms")
ONE_OF = {"packages": "", "environment_variables": "the environment variable "}
PACKAGES = ("numpy", "pandas", "safetensors", "tiktoken", "torch")


def _check_packages(versions: dict[str, str]) -> dict[str, str]:
    if missing := sorted(set(PACKAGES) - set(versions)):
        raise ValueError(f"the version of {missing[0]} is missing")
    return versions


@dataclass(frozen=True)
class Environment:
    """A snapshot taken when a run starts.  `git_commit` is empty outside a git checkout; code: sha256 over the modules of both packages."""

    date: Date
    machine: str
    device_name: str
    device_class: str
    cpu_capability: str
    cores: Annotated[int, Field(gt=0)]
    threads: Annotated[int, Field(gt=0)]
    python: str
    packages: Annotated[dict[str, str], AfterValidator(_check_packages)]
    cuda: str
    deterministic_algorithms: bool
    environment_variables: dict[str, str]
    git_commit: str
    git_dirty: bool
    code: str


def describe_environment(device: torch.device, checkout: Path = CHECKOUT) -> Environment:
    """The environment as training on `device` finds it, at a checkout's commit.

    Deterministic algorithms are used wherever torch has them; it warns where it has none.
    """
    with reproducible():
        deterministic = torch.are_deterministic_algorithms_enabled()
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}",
        device_name=name_device(device),
        device_class=device.type,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        packages={package: version(package) for package in PACKAGES},
        cuda=torch.version.cuda or "",
        deterministic_algorithms=deterministic,
        environment_variables={name: value for name, value in sorted(os.environ.items()) if name in NUMERICAL_VARIABLES},
        git_commit=_git(checkout, "rev-parse", "HEAD"),
        git_dirty=bool(_git(checkout, "status", "--porcelain")),
        code=code_digest(),
    )


@cache
def code_digest() -> str:
    """sha256 (hexadecimal) over the names and contents of all modules of gptcore and bench: the code that runs, whether or not git knows it."""
    digest = hashlib.sha256()
    for package in ("bench", "gptcore"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(CHECKOUT).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()


NUMERICAL_VARIABLES = frozenset(
    (
        "ATEN_CPU_CAPABILITY",
        "CUBLAS_WORKSPACE_CONFIG",
        "DNNL_MAX_CPU_ISA",
        "MKL_CBWR",
        "MKL_ENABLE_INSTRUCTIONS",
        "MKL_NUM_THREADS",
        "NVIDIA_TF32_OVERRIDE",
        "OMP_NUM_THREADS",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    )
)


def _git(checkout: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def differences(before: Environment, now: Environment) -> list[str]:
    """Sentences on what differs between two environments and could move figures."""
    changes = []
    for name in (field.name for field in fields(Environment)):
        old, new = getattr(before, name), getattr(now, name)
        if name in FREE_TO_DIFFER or old == new:
            continue
        if name == "code":
            changes.append(f"the code is another one than at commit {before.git_commit[:10] or 'unknown'}")
        elif isinstance(old, dict):
            keys = sorted((old.keys() | new.keys()) - {THREADS_ASKED_FOR})
            changes += [f"{ONE_OF[name]}{key} was {old.get(key, 'not set')} and is {new.get(key, 'not set')}" for key in keys if old.get(key) != new.get(key)]
        else:
            was, now_is = ("were", "are") if name in PLURALS else ("was", "is")
            changes.append(f"{name.replace('_', ' ')} {was} {shown(old)} and {now_is} {shown(new)}")
    return changes


def shown(value: object) -> str:
    """A value of an environment in a sentence."""
    return str(value) or "unknown"
