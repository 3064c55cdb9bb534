"""What a fine-tuning produces: losses and accuracies on the way, final counts, and what they cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gptcore.answers import Answers, Count
from gptcore.dataset import SPLITS, SplitName
from gptcore.packing import unpack_floats


@dataclass(frozen=True)
class Evaluation:
    """Mean losses over a few batches after one step, and the norm of the gradient that step had gathered; epochs count from 1, steps from 0."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    gradient_norm: float


@dataclass(frozen=True)
class EpochAccuracy:
    """Accuracies, as fractions, over a few batches after one epoch."""

    epoch: int
    train_accuracy: float
    validation_accuracy: float


Event = Evaluation | EpochAccuracy


@dataclass(frozen=True)
class Progress:
    """How far one part of a fine-tuning has come: passes over frozen blocks, training steps, splits counted at the end, seeds.  No figure, and kept nowhere."""

    phase: Literal["frozen pass", "training", "final counts", "further seeds"]
    done: int
    of: int


Report = Callable[[Event | Progress], None]


@dataclass(frozen=True)
class Fingerprint:
    """What tells two computations apart before their accuracies do, and costs next to nothing.

    trained_parameters: how many numbers train.  first_logits: those of the first training batch before any update, text by text.
    weight_norm: Euclidean norm of all that trains, after training; some of it no prediction feels, such as the biases of keys, whose gradient is zero: AdamW
    makes whole steps of what rounding leaves there, so that plain and fast agree in it less than in anything else.
    """

    trained_parameters: int
    first_logits: tuple[float, ...]
    weight_norm: float


@dataclass(frozen=True)
class Attestation:
    """What says whether two computations agree bit for bit, and where they parted.

    weights: sha256 over all that trains, after training.  logits: sha256 over those of every text of train, validation and test in their order, zeros where a
    text was not asked for.  batch_losses: the loss of every training batch in order, before its update (see `pack_floats`).
    """

    weights: str
    logits: str
    batch_losses: str

    def __post_init__(self) -> None:
        if not unpack_floats(self.batch_losses):
            raise ValueError("no batch has a loss")


@dataclass(frozen=True)
class FrozenPart:
    """How many blocks were computed once and kept, where, and how many bytes that took, with what other experiments shared."""

    blocks: int
    place: Literal["memory", "disk", "not kept"]
    bytes: int


@dataclass(frozen=True)
class Result:
    """Figures and cost of one fine-tuning.

    counts: the right ones of each split; answers: which they are; margins: by how much the logit of each text's own class exceeds the other's (see `Graded`
    in loop.py).  unseen: the right ones of validation and test without the texts that stand verbatim in train; a split without any is left out.
    train_seconds: what training with its evaluations costs alone and from cold, the frozen passes it read included, whoever paid for them; not the final
    counts.  real_seconds: what it took this time.  Seeds that trained side by side share both evenly.
    frozen: None where nothing is frozen, or every batch went through the whole network.
    """

    history: tuple[Evaluation, ...]
    epoch_accuracies: tuple[EpochAccuracy, ...]
    counts: Mapping[SplitName, Count]
    answers: Mapping[SplitName, Answers]
    margins: Mapping[SplitName, tuple[float, ...]]
    unseen: Mapping[SplitName, Count]
    fingerprint: Fingerprint
    attestation: Attestation
    train_seconds: float
    real_seconds: float
    frozen: FrozenPart | None = None

    def __post_init__(self) -> None:
        if not self.history or any(set(by_split) != set(SPLITS) for by_split in (self.counts, self.answers, self.margins)):
            raise ValueError("a result has at least one evaluation, and the count, answers and margins of each split")
        if any(len(self.margins[split]) != answers.n for split, answers in self.answers.items()):
            raise ValueError("a split has as many margins as answers")
        if min(self.train_seconds, self.real_seconds) < 0:
            raise ValueError("no training takes less than no time")
