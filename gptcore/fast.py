"""The fast way to a batch's logits: the frozen part from features, the rest only where the answer needs it.  Exact up to rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from gptcore.batches import Batch, EncodedSplit
from gptcore.dataset import SplitName
from gptcore.experiment import Experiment
from gptcore.features import Features, allocate, frozen_depth, plan_passes
from gptcore.model import GPT, Block
from gptcore.one_query import block_at


@dataclass(frozen=True)
class FastClassifier:
    """Logits of a batch, equal to the whole network's.  `features` None: the frozen blocks are computed again for every batch."""

    model: GPT
    experiment: Experiment
    depth: int
    features: Features | None

    def __call__(self, batch: Batch) -> Tensor:
        """Returns the logits, (B, 2)."""
        hidden = self.frozen_part(batch)  # (B, T, D)
        *middle, last = self.model.blocks[self.depth :]
        for block in middle:
            hidden = block(hidden)
        if self.experiment.average_embeddings:
            # The head is linear: the mean of its outputs is its output for the mean.
            pooled = self.model.final_norm(last(hidden)).mean(dim=1)  # (B, D)
        else:
            pooled = self.model.final_norm(block_at(batch.position, hidden, cast(Block, last)))  # (B, D)
        logits: Tensor = self.model.head(pooled)
        return logits

    def frozen_part(self, batch: Batch) -> Tensor:
        """Input of the first block that is not frozen, (B, T, D)."""
        if self.features:
            return self.features.of(batch.rows)
        hidden = self.model.embed(batch.tokens)
        with torch.no_grad():
            for block in self.model.blocks[: self.depth]:
                hidden = block(hidden)
        return hidden


def fast_classifier(model: GPT, splits: Mapping[SplitName, EncodedSplit], experiment: Experiment, memory_budget: int) -> FastClassifier:
    """The fast way for a model whose trainable parameters are set; features take at most `memory_budget` bytes of memory, else go to disk or are not kept."""
    depth = frozen_depth(model)
    if not depth:  # embeddings alone are quicker looked up than kept
        return FastClassifier(model, experiment, 0, None)
    rows: dict[int, Tensor] = {}
    passes: list[list[int]] = []
    for split in splits.values():  # a pass never mixes splits: the clock must not pay for texts that only the final accuracies read
        new = {int(number): row for number, row in zip(split.numbers, split.rows, strict=True) if int(number) not in rows}
        rows |= new
        passes += plan_passes(list(new), rows, causal=not experiment.disable_causal_mask)
    distinct = [rows[number] for number in range(len(rows))]
    room = allocate(sum(map(len, distinct)), model.config.width, memory_budget, model.token_embedding.weight.device)
    return FastClassifier(model, experiment, depth, Features(model, depth, distinct, passes, room[0]) if room else None)
