"""Which examples train and are evaluated when: every random draw of a fine-tuning after its weights, and nothing else.  (SPEC §5)

Nothing that is computed feeds back into it, so the whole order can be drawn at once, and several seeds can run side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import torch
from torch.utils.data import DataLoader, Dataset

from gptcore.dataset import SplitName
from gptcore.experiment import Experiment

Examples = tuple[int, ...]
SideBySide = tuple[Examples, ...]  # one batch for each seed


@dataclass(frozen=True)
class TrainStep:
    """A batch for each seed, and whether the weights are updated after it.  Epochs count from 1, steps from 0."""

    epoch: int
    step: int
    batch: SideBySide
    updates: bool


@dataclass(frozen=True)
class LossEvaluation:
    """Batches whose mean losses are taken after a step."""

    epoch: int
    step: int
    train: tuple[SideBySide, ...]
    validation: tuple[SideBySide, ...]


@dataclass(frozen=True)
class EpochEvaluation:
    """Batches whose accuracies are taken after an epoch."""

    epoch: int
    train: tuple[SideBySide, ...]
    validation: tuple[SideBySide, ...]


Stage = TrainStep | LossEvaluation | EpochEvaluation


@dataclass(frozen=True)
class Schedule:
    """All stages of the training in order, and the batches of each split that the final accuracies are counted over."""

    stages: tuple[Stage, ...]
    final: Mapping[SplitName, tuple[SideBySide, ...]]


def draw_schedule(experiment: Experiment, sizes: Mapping[SplitName, int], seeds: Sequence[int]) -> Schedule:
    """The schedule of some seeds, each drawn as if it were alone.  sizes: examples per split.

    Reseeds torch's global generator with each seed, and draws from it pass by pass as the published loop does.
    """
    drawn = [draw_one(experiment, sizes, seed) for seed in seeds]
    stages = (side_by_side(of_seeds) for of_seeds in zip(*(schedule.stages for schedule in drawn), strict=True))
    return Schedule(tuple(stages), {name: interleave([schedule.final[name] for schedule in drawn]) for name in sizes})


def draw_one(experiment: Experiment, sizes: Mapping[SplitName, int], seed: int) -> Schedule:
    """The schedule of one seed."""
    torch.manual_seed(seed)
    loaders = {name: load(size, experiment.batch_size, training=name == "train") for name, size in sizes.items()}

    def first_batches(name: SplitName) -> tuple[SideBySide, ...]:
        return tuple(islice(loaders[name], experiment.eval_iter))

    stages: list[Stage] = []
    step = 0
    for epoch in range(1, experiment.num_epochs + 1):
        last_batch = len(loaders["train"])
        for number, batch in enumerate(loaders["train"], start=1):
            stages.append(TrainStep(epoch, step, batch, updates=number % experiment.accumulation_steps == 0 or number == last_batch))
            if step % experiment.eval_freq == 0:
                stages.append(LossEvaluation(epoch, step, first_batches("train"), first_batches("validation")))
            step += 1
        stages.append(EpochEvaluation(epoch, first_batches("train"), first_batches("validation")))
    return Schedule(tuple(stages), {name: tuple(loader) for name, loader in loaders.items()})


def load(size: int, batch_size: int, *, training: bool) -> DataLoader[SideBySide]:
    """Batches of the numbers below `size`, of one seed; the training loader shuffles and drops the last partial batch.

    Each pass, shuffled or not, draws from torch's global CPU generator as the published loaders do.
    """
    numbers = cast(Dataset[SideBySide], range(size))
    return DataLoader(numbers, batch_size=batch_size, shuffle=training, drop_last=training, num_workers=0, collate_fn=lambda batch: (tuple(batch),))


def side_by_side(stages: tuple[Stage, ...]) -> Stage:
    """The same stage of several seeds as one."""
    first = stages[0]
    if isinstance(first, TrainStep):
        (batch,) = interleave([(stage.batch,) for stage in stages if isinstance(stage, TrainStep)])
        return replace(first, batch=batch)
    evaluations = [stage for stage in stages if not isinstance(stage, TrainStep)]
    train, validation = (interleave([getattr(stage, split) for stage in evaluations]) for split in ("train", "validation"))
    return replace(first, train=train, validation=validation)


def interleave(batches: Sequence[tuple[SideBySide, ...]]) -> tuple[SideBySide, ...]:
    """The first batches of all seeds together, then the second ones, and so on."""
    return tuple(tuple(examples for batch in together for examples in batch) for together in zip(*batches, strict=True))
