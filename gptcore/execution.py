"""How to compute what an experiment defines, and the command-line flags for it.  Nothing here changes a figure by more than rounding."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from gptcore.checkpoint import Checkpoints
from gptcore.device import usable_cores
from gptcore.errors import UsageError
from gptcore.experiment import LARGEST_INTEGER
from gptcore.state_cache import StateCache, default_folder

GIB = 2**30
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Execution:
    """How to compute what an experiment defines; figures agree up to rounding.

    plain: every batch through the whole network, all positions.  compiled: compile what trains above a frozen part, with CUDA graphs on CUDA.
    memory_budget: bytes that kept states of the frozen part may take, by default half of what is free.  cache: keep them between runs, too.
    checkpoints: where a long training leaves off from time to time, so that another process can go on with it.
    """

    plain: bool = False
    compiled: bool = False
    memory_budget: int | None = None
    cache: StateCache | None = None
    checkpoints: Checkpoints | None = None


def add_execution_flags(add: Callable[..., Any]) -> None:
    """Add the flags that `execution_from` and `set_threads` read."""
    add("--plain", action="store_true", help="send every batch through the whole network, for audits of the fast way")
    add(
        "--compile",
        action="store_true",
        help="compile what trains above a frozen part where batches have one shape, with CUDA graphs on CUDA; compiling counts as training time",
    )
    add("--memory-budget", type=float, metavar="GIB", help="memory for the states of the frozen part, else they go to disk (default: half of what is free)")
    add("--keep-states", type=float, metavar="GIB", help="keep the states of the frozen part on disk between runs, at most this much")
    add("--threads", type=int, metavar="N", help="threads of the CPU (default: the cores this process may use)")


def execution_from(options: argparse.Namespace) -> Execution:
    """The way of computing that parsed flags describe.  Raises UsageError for impossible numbers."""
    for flag, size in (("--memory-budget", options.memory_budget), ("--keep-states", options.keep_states)):
        if size is not None and not 0 <= size < 2**20:
            raise UsageError(f"{flag} {size:g} is not possible: give a number of GiB, 0 or more")
    if options.plain and options.compile:
        raise UsageError("--compile speeds up the fast way and --plain avoids it: leave one of the two out")
    return Execution(
        plain=options.plain,
        compiled=options.compile,
        memory_budget=None if options.memory_budget is None else int(options.memory_budget * GIB),
        cache=StateCache(default_folder(), int(options.keep_states * GIB)) if options.keep_states else None,
    )


def within(execution: Execution, budget: int | None) -> Execution:
    """The same with another memory budget in bytes, if one is given."""
    return execution if budget is None else replace(execution, memory_budget=budget)


def check_seeds(first: int, n_seeds: int) -> None:
    """Raise UsageError unless so many seeds, from the first one upwards, can be had."""
    if not 1 <= n_seeds <= MOST_SEEDS or first + n_seeds - 1 > LARGEST_INTEGER:
        raise UsageError(f"--seeds {n_seeds} from seed {first} on is not possible: give a number from 1 to {MOST_SEEDS}, and a seed that leaves room for them")


def set_threads(asked: int | None, default: int | None = None) -> int:
    """Let torch use as many threads as asked for, else the default, else one for each core this process may use.  Returns the number."""
    if asked is not None and not 1 <= asked <= 1024:
        raise UsageError(f"--threads {asked} is not possible: give a number from 1 to 1024")
    torch.set_num_threads(asked or default or usable_cores())
    return torch.get_num_threads()
