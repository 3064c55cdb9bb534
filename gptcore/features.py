"""The frozen part of the network, computed once per distinct text.  Exact: it does not change while the rest trains."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gptcore.model import GPT

Place = Literal["memory", "disk"]

# Enough tokens to keep a CPU's matrix products at their peak, few enough for their activations to stay near its caches.
TOKENS_PER_PASS = 2048
DISK_RESERVE = 2**30


class Features:
    """Hidden states after the lowest `depth` blocks for every token of distinct rows, computed in whole passes when a row of one is first asked for.

    rows: N rows of tokens.  passes: the numbers 0 to N - 1 in groups.  room: (sum of lengths, D), from `allocate`.
    """

    def __init__(self, model: GPT, depth: int, rows: Sequence[Tensor], passes: Sequence[Sequence[int]], room: Tensor) -> None:
        self.model = model
        self.depth = depth
        self.rows = rows
        self.passes = passes
        self.hidden = room
        self.lengths = torch.tensor([len(row) for row in rows])
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.pass_of = {number: index for index, numbers in enumerate(passes) for number in numbers}
        self.done: set[int] = set()

    def of(self, numbers: Tensor) -> Tensor:
        """numbers: (B,) int64.  Returns (B, T, D), T the longest of the rows; behind a shorter one's end stand other rows' states, for no one to read."""
        for index in {self.pass_of[number] for number in numbers.tolist()} - self.done:
            self.compute(self.passes[index])
            self.done.add(index)
        numbers = numbers.cpu()
        indices = self.starts[numbers][:, None] + torch.arange(int(self.lengths[numbers].max()))  # (B, T)
        return self.hidden[indices.clamp(max=len(self.hidden) - 1).to(self.hidden.device)]

    @torch.no_grad()
    def compute(self, numbers: Sequence[int]) -> None:
        """One pass of these rows through the embeddings and the frozen blocks."""
        tokens = pad_sequence([self.rows[number] for number in numbers], batch_first=True)  # (B, T)
        hidden = self.model.embed(tokens.to(self.hidden.device))  # (B, T, D)
        for block in self.model.blocks[: self.depth]:
            hidden = block(hidden)
        for row, number in zip(hidden, numbers, strict=True):
            start, length = int(self.starts[number]), int(self.lengths[number])
            self.hidden[start : start + length] = row[:length]


def plan_passes(numbers: Sequence[int], rows: Mapping[int, Tensor], *, causal: bool) -> Iterator[list[int]]:
    """The numbers in groups of similar length and about TOKENS_PER_PASS tokens, so that little is filled up.

    Without a causal mask every token sees what a row is filled up with, so there only rows of one length share a pass.
    """
    group: list[int] = []
    for number in sorted(numbers, key=lambda number: len(rows[number])):
        length = len(rows[number])
        is_full = (len(group) + 1) * length > TOKENS_PER_PASS
        if group and (is_full or (not causal and length != len(rows[group[0]]))):
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def allocate(n_tokens: int, width: int, budget: int, device: torch.device) -> tuple[Tensor, Place] | None:
    """Room for (n_tokens, width) float32, zeros: on the device within the budget (bytes), else in an unnamed file where the disk has room, else None.

    Zeros, since attention reads what is not computed yet with weight 0, and 0 * nan is nan.
    """
    size = n_tokens * width * torch.float32.itemsize
    if size <= budget:
        return torch.zeros(n_tokens, width, device=device), "memory"
    folder = Path(tempfile.gettempdir())
    if device.type != "cpu" or shutil.disk_usage(folder).free - size < DISK_RESERVE:
        return None
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        return torch.from_file(file.name, shared=True, size=n_tokens * width).view(n_tokens, width), "disk"


def frozen_depth(model: GPT) -> int | None:
    """How many blocks lie below the first trainable parameter, the last block never among them; None where the embeddings train."""
    if any(parameter.requires_grad for embedding in (model.token_embedding, model.position_embedding) for parameter in embedding.parameters()):
        return None
    below_last = model.blocks[:-1]
    trainable = (depth for depth, block in enumerate(below_last) if any(parameter.requires_grad for parameter in block.parameters()))
    return next(trainable, len(below_last))
