"""The training loop: through the stages of a schedule, for all seeds of a learner at once.  (SPEC §5)"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gptcore.answers import Answers, pack
from gptcore.batches import Batch, EncodedSplit
from gptcore.checkpoint import Checkpoint, Course
from gptcore.dataset import SplitName
from gptcore.errors import TrainingError
from gptcore.experiment import Experiment
from gptcore.learner import Learner
from gptcore.result import EpochAccuracy, Evaluation, Event, Progress, Report
from gptcore.schedule import EpochEvaluation, LossEvaluation, SideBySide, Stage, TrainStep

Splits = Mapping[SplitName, EncodedSplit]


@dataclass(frozen=True)
class Trained:
    """What one seed's training said: its evaluations and epoch accuracies in order, the logits of its first batch before any update, and every batch's loss."""

    events: tuple[Event, ...]
    first_logits: tuple[float, ...]
    batch_losses: tuple[float, ...]


@dataclass(frozen=True)
class Graded:
    """One seed's answers to the texts of a split: which are right, by what margins, rounded to 1e-6, and the logits, (N, 2) float32 on the CPU.

    A margin is by how much the logit of a text's own class exceeds the other's; it and the logits are 0 where the text was in no batch.
    """

    answers: Answers
    margins: tuple[float, ...]
    logits: Tensor

    @property
    def accuracy(self) -> float:
        """The fraction of right ones among those that were asked for."""
        return self.answers.count().accuracy


def train(
    learner: Learner,
    stages: Sequence[Stage],
    splits: Splits,
    experiment: Experiment,
    report: Report,
    *,
    fused: bool,
    checkpoint: Checkpoint | None = None,
) -> list[Trained]:
    """All stages, with AdamW's update as one kernel if `fused`, from where the checkpoint left off.

    Returns what each seed's training said; `report` hears the first one's events, those before the checkpoint too, and every step.
    """
    parameters = learner.parameters
    optimizer = torch.optim.AdamW(parameters, lr=experiment.learning_rate, weight_decay=experiment.weight_decay, fused=fused)
    course = checkpoint.restore(parameters, optimizer) if checkpoint else Course()
    n_steps = sum(isinstance(stage, TrainStep) for stage in stages)
    for event in course.events:
        report(event[0])
    for position in range(course.position, len(stages)):
        match stages[position]:
            case TrainStep(epoch, step, batch, updates):
                batches, logits = classify(learner, splits["train"], batch)
                course.first_logits = course.first_logits or [tuple(of_seed.detach().flatten().tolist()) for of_seed in logits]
                losses = losses_of(logits, batches, experiment)
                course.batch_losses.append([loss.item() for loss in losses])
                check_finite(course.batch_losses[-1], epoch, step)
                (torch.stack(losses).sum() / experiment.accumulation_steps).backward()  # type: ignore[no-untyped-call]
                if isinstance(stages[min(position + 1, len(stages) - 1)], LossEvaluation):
                    course.gradient_norms = learner.norms([parameter.grad for parameter in parameters])
                if updates:
                    optimizer.step()
                    optimizer.zero_grad()
                if updates and checkpoint:
                    course.position = position + 1
                    checkpoint.save_if_due(course, parameters, optimizer)
                report(Progress("training", step + 1, n_steps))
                continue
            case LossEvaluation(epoch, step, train_batches, validation_batches):
                train_losses = mean_losses(learner, splits["train"], train_batches, experiment)
                validation_losses = mean_losses(learner, splits["validation"], validation_batches, experiment)
                check_finite([*train_losses, *validation_losses], epoch, step)
                figures = zip(train_losses, validation_losses, course.gradient_norms, strict=True)
                course.events.append([Evaluation(epoch, step, *of_seed) for of_seed in figures])
            case EpochEvaluation(epoch, train_batches, validation_batches):
                on_train, on_validation = grade(learner, splits["train"], train_batches), grade(learner, splits["validation"], validation_batches)
                both = zip(on_train, on_validation, strict=True)
                course.events.append([EpochAccuracy(epoch, one.accuracy, other.accuracy) for one, other in both])
        report(course.events[-1][0])
    said = zip(zip(*course.events, strict=True), course.first_logits, zip(*course.batch_losses, strict=True), strict=True)
    return [Trained(*of_seed) for of_seed in said]


def classify(learner: Learner, split: EncodedSplit, batch: SideBySide) -> tuple[list[Batch], Sequence[Tensor]]:
    """Each seed's batch, encoded, and its logits, (B, 2)."""
    batches = [split.batch(examples).to(learner.device) for examples in batch]
    return batches, learner.classify(batches)


def losses_of(logits: Sequence[Tensor], batches: Sequence[Batch], experiment: Experiment) -> list[Tensor]:
    """Each seed's cross entropy, a scalar; labels equal to `ignore_index` are left out."""
    return [F.cross_entropy(of_seed, batch.labels, ignore_index=experiment.ignore_index) for of_seed, batch in zip(logits, batches, strict=True)]


@torch.no_grad()
def mean_losses(learner: Learner, split: EncodedSplit, batches: Sequence[SideBySide], experiment: Experiment) -> list[float]:
    """Each seed's mean over the losses of its batches."""
    losses = []
    for batch in batches:
        encoded, logits = classify(learner, split, batch)
        losses.append([loss.item() for loss in losses_of(logits, encoded, experiment)])
    return [sum(of_seed) / len(of_seed) for of_seed in zip(*losses, strict=True)]


@torch.no_grad()
def grade(learner: Learner, split: EncodedSplit, batches: Sequence[SideBySide]) -> list[Graded]:
    """How each seed's model classifies the texts of its batches.  Raises TrainingError where the logits are not finite."""
    n_seeds, n = len(batches[0]), len(split)
    margins = torch.zeros(n_seeds, n)
    all_logits = torch.zeros(n_seeds, n, 2)
    right, asked = torch.zeros(2, n_seeds, n, dtype=torch.bool)  # (S, N) each
    for batch in batches:
        encoded, of_seeds = classify(learner, split, batch)
        for seed, (examples, one, logits) in enumerate(zip(batch, encoded, of_seeds, strict=True)):
            if not logits.isfinite().all():
                raise TrainingError("the trained model's logits are not finite: its accuracy would mean nothing; lower --learning_rate")
            chosen = list(examples)
            all_logits[seed, chosen] = logits.cpu()
            own = one.labels[:, None]  # (B, 1)
            margins[seed, chosen] = (logits.gather(1, own) - logits.gather(1, 1 - own)).squeeze(1).cpu()  # (B,)
            right[seed, chosen] = (logits.argmax(dim=-1) == one.labels).cpu()
            asked[seed, chosen] = True
    return [
        Graded(
            Answers(n, pack(right[seed].tolist()), pack(asked[seed].tolist())),
            tuple(round(margin, 6) for margin in margins[seed].tolist()),
            all_logits[seed],
        )
        for seed in range(n_seeds)
    ]


def check_finite(losses: Sequence[float], epoch: int, step: int) -> None:
    """Raise TrainingError unless every loss is a finite number."""
    for loss in losses:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at epoch {epoch}, step {step}: no figure of this run would mean anything; lower --learning_rate, "
                "or check --ignore_index and the weights"
            )
