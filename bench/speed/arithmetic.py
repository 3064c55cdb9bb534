"""How many floating-point operations the answer of an experiment needs while it trains, in closed form.

A multiplication and an addition are two operations.  Matrix products and attention count; LayerNorm, GELU, softmax, embeddings, loss and optimizer do not.

Forward: a frozen block reads each distinct row once; a causal token attends to none behind it; the last block answers at the position the class is read
from (`gptcore.one_query`), at all of them for mean pooling.  Backward: a product costs its forward once for every gradient that leads to something
trainable - that of its weight unless the weight is frozen, that of its input unless what it reads is frozen.  A LayerNorm that trains on frozen states
asks for no gradient of its output: its own follows from those of the weights behind it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from gptcore.batches import EncodedSplit
from gptcore.dataset import SplitName
from gptcore.experiment import Experiment
from gptcore.freezing import N_CLASSES, frozen_blocks


@dataclass(frozen=True)
class TextCost:
    """One text's way through an experiment's network, forward or forward and `backward`.  Methods return operations; T tokens, D width, H heads, R rank."""

    experiment: Experiment
    backward: bool

    @property
    def rank(self) -> int:
        """Rank of the adapters; 0 for none."""
        return self.experiment.lora_rank if self.experiment.trainable_layers.startswith("lora") else 0

    @property
    def frozen_depth(self) -> int:
        """How many blocks lie below everything that trains."""
        return frozen_blocks(self.experiment) + (self.experiment.trainable_layers == "last_layer")  # there the last one is frozen as well

    def frozen_part(self, tokens: int) -> int:
        """The blocks whose output never changes, forward."""
        return sum(self.block(number, tokens) for number in range(self.frozen_depth))

    def trainable_part(self, tokens: int) -> int:
        """The other blocks and the head."""
        n_layer, depth = self.experiment.model_size.n_layer, self.frozen_depth
        head = self.linear(self.experiment.model_size.width, N_CLASSES, on_frozen=depth == n_layer, is_new=True)
        return head + sum(self.block(number, tokens) for number in range(depth, n_layer))

    def block(self, number: int, tokens: int) -> int:
        """The block with this number, from 0."""
        is_last = number == self.experiment.model_size.n_layer - 1
        on_frozen = number == self.frozen_depth and self.experiment.trainable_layers != "all"  # `all` trains the embeddings too
        if is_last and not self.experiment.average_embeddings:
            return self.block_at_one_position(tokens, on_frozen=on_frozen)
        return self.block_everywhere(tokens, on_frozen=on_frozen)

    def block_everywhere(self, tokens: int, *, on_frozen: bool) -> int:
        """A block at all positions: forward 24 D^2 T, and for scores and mixing 4 D T^2, or 2 D T (T + 1) where the mask is causal."""
        width = self.experiment.model_size.width
        pairs = tokens**2 if self.experiment.disable_causal_mask else tokens * (tokens + 1) // 2
        attention = 4 * width * pairs * (1 + 2 * self.backward)
        return attention + tokens * (3 * self.linear(width, width, on_frozen=on_frozen) + self.behind_attention())

    def block_at_one_position(self, tokens: int, *, on_frozen: bool) -> int:
        """A block at one position: forward 24 D^2 without `merging`, and for scores and mixing 4 H T D."""
        width, n_head = self.experiment.model_size.width, self.experiment.model_size.n_head
        attention = 4 * n_head * tokens * width * (1 + self.backward * (2 - on_frozen))
        key_and_value = 4 * width**2 * (1 + 2 * self.backward)  # they read the query and the mixed states, which are never frozen
        return attention + key_and_value + self.linear(width, width, on_frozen=on_frozen) + self.behind_attention()

    def behind_attention(self) -> int:
        """Output projection and MLP at one position: forward 18 D^2."""
        width = self.experiment.model_size.width
        return self.linear(width, width) + self.linear(width, 4 * width) + self.linear(4 * width, width)

    def linear(self, inputs: int, outputs: int, *, on_frozen: bool = False, is_new: bool = False) -> int:
        """A linear layer with its adapter at one position.  on_frozen: nothing asks for its input's gradient.  is_new: its weight trains in any case."""
        weight_trains = is_new or not self.rank
        layer = inputs * outputs * (1 + self.backward * (weight_trains + (not on_frozen)))
        adapter = self.rank * inputs * (1 + self.backward * (2 - on_frozen)) + self.rank * outputs * (1 + 2 * self.backward)
        return 2 * (layer + adapter)

    def merging(self) -> int:
        """The last block's merged key and value weights, formed once a batch where it has adapters and answers at one position."""
        products = 0 if self.experiment.average_embeddings else 2
        return products * 2 * self.rank * self.experiment.model_size.width**2 * (1 + 2 * self.backward)


def needed_flops(experiment: Experiment, splits: Mapping[SplitName, EncodedSplit]) -> float:
    """Operations that training and the evaluations inside it need; the final counts are no part of it.  Shuffled batches count as texts of mean cost.

    splits: from `encode_dataset` with `needed_only`, whose rows end with the last token that counts.
    """
    batch_size, n_epochs = experiment.batch_size, experiment.num_epochs
    train, validation = splits["train"], splits["validation"]
    n_batches = len(train) // batch_size  # a partial one is dropped
    n_train_batches = min(experiment.eval_iter, n_batches)
    validation_rows = validation.rows[: experiment.eval_iter * batch_size]
    n_evaluations = math.ceil(n_epochs * n_batches / experiment.eval_freq) + n_epochs

    evaluating, training = TextCost(experiment, backward=False), TextCost(experiment, backward=True)
    frozen, forward, step = map(cache, (evaluating.frozen_part, evaluating.trainable_part, training.trainable_part))
    numbers = [*train.numbers.tolist(), *validation.numbers[: len(validation_rows)].tolist()]
    lengths = dict(zip(numbers, map(len, [*train.rows, *validation_rows]), strict=True))  # of the distinct rows that are read
    mean_forward, mean_step = (sum(cost(len(row)) for row in train.rows) / len(train) for cost in (forward, step))

    once = sum(map(frozen, lengths.values()))
    epoch = n_batches * (batch_size * mean_step + training.merging())
    merging = (n_train_batches + math.ceil(len(validation_rows) / batch_size)) * evaluating.merging()
    evaluation = n_train_batches * batch_size * mean_forward + sum(forward(len(row)) for row in validation_rows) + merging
    return once + n_epochs * epoch + n_evaluations * evaluation
