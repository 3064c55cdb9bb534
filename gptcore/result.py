"""What a fine-tuning produces: losses and accuracies on the way, final counts, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gptcore.dataset import SPLITS, SplitName


@dataclass(frozen=True)
class Evaluation:
    """Mean losses over a few batches after one step; epochs count from 1, steps from 0."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True)
class EpochAccuracy:
    """Accuracies, as fractions, over a few batches after one epoch."""

    epoch: int
    train_accuracy: float
    validation_accuracy: float


Event = Evaluation | EpochAccuracy


@dataclass(frozen=True)
class Count:
    """How many of `n` texts were classified right."""

    right: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n or self.n < 1:
            raise ValueError(f"{self.right} right of {self.n} is no count")

    @property
    def accuracy(self) -> float:
        """The share of right ones, a fraction."""
        return self.right / self.n


@dataclass(frozen=True)
class FrozenPart:
    """How many blocks were computed once and kept, where, and how many bytes that took, with what other experiments shared."""

    blocks: int
    place: Literal["memory", "disk", "not kept"]
    bytes: int


@dataclass(frozen=True)
class Result:
    """Figures and cost of one fine-tuning.

    train_seconds: what training with its evaluations costs alone and from cold, the frozen passes it read included, whoever paid for them; not the final
    counts.  real_seconds: what it took this time.  Seeds that trained side by side share both evenly.
    frozen: None where nothing is frozen, or every batch went through the whole network.
    """

    history: tuple[Evaluation, ...]
    epoch_accuracies: tuple[EpochAccuracy, ...]
    counts: Mapping[SplitName, Count]
    train_seconds: float
    real_seconds: float
    frozen: FrozenPart | None = None

    def __post_init__(self) -> None:
        if not self.history or set(self.counts) != set(SPLITS):
            raise ValueError("a result has at least one evaluation, and a count for each split")
