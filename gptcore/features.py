"""The frozen part of the network, computed once per distinct text.  Exact: it does not change while the rest trains.

Several experiments may share it: with a causal mask a short row's states stand inside those of a longer row that begins with it, and a shallower
experiment reads the states of a deeper one's pass a few blocks earlier.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gptcore.batches import EncodedSplit
from gptcore.dataset import SplitName
from gptcore.device import synchronize
from gptcore.experiment import digest_of
from gptcore.model import GPT
from gptcore.result import Progress, Report
from gptcore.state_cache import StateCache, default_folder

Row = tuple[int, ...]
Place = Literal["memory", "disk", "not kept"]

# Enough tokens to keep a CPU's matrix products at their peak, few enough for their activations to stay near its caches.
TOKENS_PER_PASS = 2048
TOKENS_PER_PASS_ELSEWHERE = 16384  # an accelerator needs more to be busy
DISK_RESERVE = 2**30


@dataclass(frozen=True)
class Need:
    """What one experiment reads of the frozen part: states after `depth` blocks for distinct rows of tokens.

    in_training: the numbers of the rows that training with its evaluations reads; only the final counts read the others.
    """

    depth: int
    rows: tuple[Row, ...]
    in_training: frozenset[int]

    @classmethod
    def of(cls, splits: Mapping[SplitName, EncodedSplit], depth: int, n_evaluated: int) -> "Need":
        """The need of an experiment's encoded splits, in their numbering of distinct rows.  n_evaluated: validation texts that evaluations read."""
        rows: dict[int, Row] = {}
        for split in splits.values():
            rows |= {number: tuple(row.tolist()) for number, row in zip(split.numbers.tolist(), split.rows, strict=True) if number not in rows}
        read = [*splits["train"].numbers.tolist(), *splits["validation"].numbers[:n_evaluated].tolist()]
        return cls(depth, tuple(rows[number] for number in range(len(rows))), frozenset(read))


@dataclass(frozen=True)
class Pass:
    """Whole rows, by index, that go through the network together, and the depths their states are kept at."""

    rows: tuple[int, ...]
    depths: tuple[int, ...]


class FrozenStates:
    """Hidden states for all that several experiments with the same frozen part need, computed in whole passes when one of them first asks.

    place: "memory", "disk", or "not kept" where neither had room.  identity: digest of what the states depend on besides tokens and depth, for `cache`.
    """

    def __init__(
        self, needs: Sequence[Need], width: int, *, causal: bool, device: torch.device, memory_budget: int, cache: StateCache | None = None, identity: str = ""
    ) -> None:
        self.width = width
        self.cache = cache
        self.identity = identity
        self.rows, self.index_of = whole_rows({row for need in needs for row in need.rows}, causal=causal)
        self.kept = {depth: [0] * len(self.rows) for depth in sorted({need.depth for need in needs})}  # tokens kept of each row, by depth
        in_training: set[int] = set()
        for need in needs:
            for number, row in enumerate(need.rows):
                index = self.index_of[row]
                self.kept[need.depth][index] = max(self.kept[need.depth][index], len(row))
                if number in need.in_training:
                    in_training.add(index)
        tokens_per_pass = TOKENS_PER_PASS if device.type == "cpu" else TOKENS_PER_PASS_ELSEWHERE
        self.passes = tuple(self._plan(in_training, tokens_per_pass, causal=causal))
        self.pass_of = {index: number for number, one in enumerate(self.passes) for index in one.rows}
        self.seconds: dict[int, float] = {}  # by pass, as far as computed
        self.starts: dict[int, Tensor] = {}
        n_tokens = 0
        for depth, lengths in self.kept.items():
            self.starts[depth] = n_tokens + torch.tensor([0, *lengths[:-1]]).cumsum(0)
            n_tokens += sum(lengths)
        self.bytes = n_tokens * width * torch.float32.itemsize
        self.hidden, self.place = allocate(n_tokens, width, memory_budget, device)

    @property
    def bytes_in_memory(self) -> int:
        """What of the room counts as memory."""
        return self.bytes if self.place == "memory" else 0

    def _plan(self, in_training: set[int], tokens_per_pass: int, *, causal: bool) -> Iterator[Pass]:
        """No pass holds both what training reads and what only the final counts read: the clock must not pay for the latter."""
        for wanted in (in_training, set(range(len(self.rows))) - in_training):
            lengths = {index: len(self.rows[index]) for index in sorted(wanted)}
            for group in plan_passes(lengths, tokens_per_pass, causal=causal):
                yield Pass(tuple(group), tuple(depth for depth, kept in self.kept.items() if any(kept[index] for index in group)))

    def compute(self, number: int, model: GPT) -> None:
        """Fill the room with one pass of `model`, or with what the cache kept of it."""
        one = self.passes[number]
        slots = [slice(int(self.starts[depth][index]), int(self.starts[depth][index]) + self.kept[depth][index]) for depth in one.depths for index in one.rows]
        key = digest_of([self.identity, [[depth, self.kept[depth][index], self.rows[index]] for depth in one.depths for index in one.rows]])
        found = self.cache.load(key) if self.cache else None
        if found and found.states.shape == (sum(slot.stop - slot.start for slot in slots), self.width):
            for slot, states in zip(slots, torch.split(found.states, [slot.stop - slot.start for slot in slots]), strict=True):
                self.hidden[slot] = states.to(self.hidden.device)
            self.seconds[number] = found.seconds
            return
        device = model.token_embedding.weight.device
        synchronize(device)
        started = time.perf_counter()
        for slot, states in zip(slots, self._forward(one, model), strict=True):
            self.hidden[slot] = states[: slot.stop - slot.start].to(self.hidden.device)
        synchronize(device)
        self.seconds[number] = time.perf_counter() - started
        if self.cache:
            self.cache.save(key, torch.cat([self.hidden[slot] for slot in slots]), self.seconds[number])

    @torch.no_grad()
    def _forward(self, one: Pass, model: GPT) -> list[Tensor]:
        """States, (T, D) each, by depth and row."""
        tokens = pad_sequence([torch.tensor(self.rows[index]) for index in one.rows], batch_first=True)  # (B, T)
        hidden = model.embed(tokens.to(model.token_embedding.weight.device))  # (B, T, D)
        states: list[Tensor] = []
        for depth, block in enumerate(model.blocks[: one.depths[-1]], start=1):
            hidden = block(hidden)
            if depth in one.depths:
                states.extend(hidden)
        return states


class Features:
    """One experiment's view of frozen states, in its own numbering of rows, with an account of what they cost.

    spent: seconds really spent on passes for this view.  charged: seconds the passes it read would have cost it alone.
    ahead: those of `spent` that passed before training began.  report: hears of every pass before it is computed, and after.
    """

    def __init__(self, states: FrozenStates, need: Need, report: Report = lambda event: None) -> None:
        self.states = states
        self.need = need
        self.report = report
        self.indices = torch.tensor([states.index_of[row] for row in need.rows])
        self.lengths = torch.tensor([len(row) for row in need.rows])
        self.starts = states.starts[need.depth][self.indices]
        self.longest: dict[int, int] = {}  # tokens that training needs of each whole row; the final counts are outside the clock
        for number in need.in_training:
            index = int(self.indices[number])
            self.longest[index] = max(self.longest.get(index, 0), len(need.rows[number]))
        self.needed = frozenset(states.pass_of[index] for index in self.indices.tolist())
        self.read: set[int] = set()
        self.spent = self.charged = self.ahead = 0.0

    def compute_ahead(self, model: GPT) -> None:
        """Before training: the passes that go deeper than this experiment's own frozen part, since others share them, while all of `model` is untouched."""
        for number in sorted(self.needed - self.states.seconds.keys()):
            if self.states.passes[number].depths[-1] > self.need.depth:
                seconds = self.compute(number, model)
                if not self.longest.keys().isdisjoint(self.states.passes[number].rows):  # else only the final counts read it
                    self.ahead += seconds
        self.spent += self.ahead

    def of(self, numbers: Tensor, model: GPT) -> Tensor:
        """numbers: (B,) int64.  Returns (B, T, D), T the longest of the rows; behind a shorter one's end stand other rows' states, for no one to read."""
        for number in sorted({self.states.pass_of[index] for index in self.indices[numbers].tolist()} - self.read):
            if number not in self.states.seconds:
                self.spent += self.compute(number, model)
            self.charged += self.states.seconds[number] * self.share_of(self.states.passes[number])
            self.read.add(number)
        hidden = self.states.hidden
        indices = self.starts[numbers][:, None] + torch.arange(int(self.lengths[numbers].max()))  # (B, T)
        return hidden[indices.clamp(max=len(hidden) - 1).to(hidden.device)].to(model.token_embedding.weight.device)

    def compute(self, number: int, model: GPT) -> float:
        """Compute one pass and report how many of those that this experiment reads are there, whoever asked for them.  Returns the seconds it took."""
        n_ready = len(self.needed & self.states.seconds.keys())
        self.report(Progress("frozen pass", n_ready, len(self.needed)))
        started = time.perf_counter()
        self.states.compute(number, model)
        seconds = time.perf_counter() - started
        self.report(Progress("frozen pass", n_ready + 1, len(self.needed)))
        return seconds

    def share_of(self, one: Pass) -> float:
        """How much of a pass's arithmetic this experiment would need alone, a fraction."""
        width = self.states.width
        needed = sum(self.need.depth * block_flops(self.longest.get(index, 0), width) for index in one.rows)
        return needed / sum(one.depths[-1] * block_flops(len(self.states.rows[index]), width) for index in one.rows)


def whole_rows(rows: set[Row], *, causal: bool) -> tuple[tuple[Row, ...], dict[Row, int]]:
    """The rows that have to go through the network, and for every row the index of the one it is found in.

    With a causal mask that is any row which begins with it; without one each row's states are its own.
    """
    whole: list[Row] = []
    index_of: dict[Row, int] = {}
    for row in sorted(rows, reverse=True):  # a row that begins with another stands right before it, or before others that do
        if not (causal and whole and whole[-1][: len(row)] == row):
            whole.append(row)
        index_of[row] = len(whole) - 1
    return tuple(whole), index_of


def block_flops(n_tokens: int, width: int) -> int:
    """Multiplications and additions of one block's forward pass over one row, a causal mask's half square of attention included."""
    return 24 * width**2 * n_tokens + 2 * width * n_tokens * (n_tokens + 1)


def plan_passes(lengths: Mapping[int, int], tokens_per_pass: int, *, causal: bool) -> Iterator[list[int]]:
    """Rows, by index and length, in groups of similar length and about so many tokens, so that little is filled up.

    Without a causal mask every token sees what a row is filled up with, so there only rows of one length share a pass.
    """
    group: list[int] = []
    for index, length in sorted(lengths.items(), key=lambda item: item[1]):
        is_full = (len(group) + 1) * length > tokens_per_pass
        if group and (is_full or (not causal and length != lengths[group[0]])):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def allocate(n_tokens: int, width: int, budget: int, device: torch.device) -> tuple[Tensor, Place]:
    """Room for (n_tokens, width) float32, zeros: on the device within the budget (bytes), else in an unnamed file where the disk has room, else not kept.

    Zeros, since attention reads what is not computed yet with weight 0, and 0 * nan is nan.
    """
    size = n_tokens * width * torch.float32.itemsize
    if size <= budget:
        with suppress(RuntimeError):  # others may have taken the memory meanwhile
            return torch.zeros(n_tokens, width, device=device), "memory"
    try:
        folder = default_folder()  # a folder for temporary files may itself be in memory
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free - size < DISK_RESERVE:
            raise OSError
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills up later must not end the process
            return torch.from_file(file.name, shared=True, size=n_tokens * width).view(n_tokens, width), "disk"
    except (OSError, RuntimeError):  # the latter where a file cannot be mapped
        return torch.empty(0, width), "not kept"
