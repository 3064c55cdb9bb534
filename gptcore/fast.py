"""The fast way to a batch's logits: the frozen part from features, the rest only where the answer needs it.  Exact up to rounding."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gptcore.batches import Batch
from gptcore.features import Features
from gptcore.model import GPT, Block
from gptcore.one_query import block_at


class Tail(nn.Module):
    """The blocks from `depth` on, the final norm and the head, the last block at the one position that is read unless the logits are averaged."""

    def __init__(self, model: GPT, depth: int, *, average: bool) -> None:
        super().__init__()
        self.blocks = model.blocks[depth:]
        self.final_norm = model.final_norm
        self.head = model.head
        self.average = average

    def forward(self, hidden: Tensor, position: Tensor) -> Tensor:
        """hidden: (B, T, D) input of block `depth`.  position: (B,) int64.  Returns the logits, (B, 2)."""
        logits: Tensor = self.head(self.pool(hidden, position))
        return logits

    def pool(self, hidden: Tensor, position: Tensor) -> Tensor:
        """The head's input, (B, D)."""
        *middle, last = self.blocks
        for block in middle:
            hidden = block(hidden)
        if self.average:
            # The head is linear: the mean of its outputs is its output for the mean.
            return cast(Tensor, self.final_norm(last(hidden))).mean(dim=1)
        return cast(Tensor, self.final_norm(block_at(position, hidden, cast(Block, last))))


class HeadAlone(nn.Module):
    """The head, where nothing else trains."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, pooled: Tensor, position: Tensor) -> Tensor:  # noqa: ARG002 - called as Tail is
        """pooled: (B, D), read at the batch's positions already.  Returns the logits, (B, 2)."""
        logits: Tensor = self.head(pooled)
        return logits


@dataclass(frozen=True)
class Frozen:
    """Input of block `depth` for a batch, from features where they are kept, else computed again each time."""

    model: GPT
    depth: int
    features: Features | None

    def __call__(self, batch: Batch) -> Tensor:
        """Returns (B, T, D)."""
        if self.features:
            return self.features.of(batch.rows, self.model)
        hidden = self.model.embed(batch.tokens)
        with torch.no_grad():
            for block in self.model.blocks[: self.depth]:
                hidden = block(hidden)
        return hidden


class Pooled:
    """The head's input for distinct rows, computed when first asked for: where the head alone trains it does not change either."""

    def __init__(self, frozen: Frozen, tail: Tail, n_rows: int) -> None:
        self.frozen = frozen
        self.tail = tail
        self.known = torch.zeros(n_rows, dtype=torch.bool)
        self.kept = torch.zeros(n_rows, frozen.model.config.width, device=frozen.model.token_embedding.weight.device)

    def __call__(self, batch: Batch) -> Tensor:
        """Returns (B, D)."""
        new = batch.only(~self.known[batch.rows])
        if len(new.rows):
            with torch.no_grad():
                self.kept[new.rows.to(self.kept.device)] = self.tail.pool(self.frozen(new), new.position).float()
            self.known[new.rows] = True
        return self.kept[batch.rows.to(self.kept.device)]
