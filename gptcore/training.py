"""`finetune`: one experiment from weights to accuracies.  (SPEC §4-5)"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from gptcore.batches import Batch, EncodedSplit, encode_dataset, load
from gptcore.dataset import SplitName
from gptcore.device import reproducible
from gptcore.errors import TrainingError, UsageError
from gptcore.experiment import Experiment
from gptcore.freezing import make_classifier
from gptcore.inputs import Inputs
from gptcore.model import GPT
from gptcore.readout import read_out
from gptcore.weights import pretrained_gpt, random_gpt


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


@dataclass(frozen=True)
class Count:
    """How many of `n` texts were classified right."""

    right: int
    n: int

    @property
    def accuracy(self) -> float:
        """The share of right ones, a fraction."""
        return self.right / self.n


@dataclass(frozen=True)
class Result:
    """What a fine-tuning produced; `train_seconds` covers training with its evaluations, not the final counts."""

    history: tuple[Evaluation, ...]
    epoch_accuracies: tuple[EpochAccuracy, ...]
    counts: Mapping[SplitName, Count]
    train_seconds: float


Event = Evaluation | EpochAccuracy
Report = Callable[[Event], None]
Loaders = Mapping[SplitName, DataLoader[Batch]]


def finetune(experiment: Experiment, inputs: Inputs, *, device: torch.device, report: Report = lambda event: None) -> Result:
    """Fine-tune one experiment; `report` hears every evaluation and epoch as it happens.

    Raises UserError for inputs the experiment cannot use, TrainingError where the loss stops being finite.
    """
    check_inputs(experiment, inputs)
    with reproducible():
        splits = encode_dataset(inputs.dataset, experiment, inputs.tokenizer)
        model = build_classifier(experiment, inputs).to(device)
        loaders = make_loaders(splits, experiment)
        started = time.perf_counter()
        events = train(model, loaders, experiment, report)
        train_seconds = time.perf_counter() - started
        counts = {name: count_right(model, loader, experiment) for name, loader in loaders.items()}
    return Result(
        history=tuple(event for event in events if isinstance(event, Evaluation)),
        epoch_accuracies=tuple(event for event in events if isinstance(event, EpochAccuracy)),
        counts=counts,
        train_seconds=train_seconds,
    )


def check_inputs(experiment: Experiment, inputs: Inputs) -> None:
    """Raise UsageError where the texts or the tokenizer do not fit the experiment."""
    n_train = len(inputs.dataset.train)
    if n_train < experiment.batch_size:
        raise UsageError(f"--batch_size {experiment.batch_size} is more than the {n_train} training texts: choose a smaller one or add texts")
    known, needed = experiment.model_size.vocabulary_size, inputs.tokenizer.vocabulary_size
    if needed > known:
        raise UsageError(f"the tokenizer has {needed} tokens and {experiment.model_size.name} knows {known}: use the tokenizer it was trained with")


def build_classifier(experiment: Experiment, inputs: Inputs) -> GPT:
    """The GPT with its weights, its two-class head and the right parameters frozen, in evaluation mode."""
    causal = not experiment.disable_causal_mask
    if inputs.weights:
        model = pretrained_gpt(experiment.model_size, inputs.weights, causal=causal)
    else:
        model = random_gpt(experiment.model_size, causal=causal, seed=experiment.seed)
    make_classifier(model, experiment)
    return model.eval()  # without dropout the two modes are one


def make_loaders(splits: Mapping[SplitName, EncodedSplit], experiment: Experiment) -> Loaders:
    """One loader per split, which training, evaluations and the final counts share."""
    return {name: load(split, experiment.batch_size, training=name == "train") for name, split in splits.items()}


def train(model: GPT, loaders: Loaders, experiment: Experiment, report: Report) -> list[Event]:
    """All epochs.  Returns every evaluation and epoch accuracy in order."""
    events: list[Event] = []

    def record(event: Event) -> None:
        events.append(event)
        report(event)

    torch.manual_seed(experiment.seed)
    optimizer = torch.optim.AdamW(
        (parameter for parameter in model.parameters() if parameter.requires_grad), lr=experiment.learning_rate, weight_decay=experiment.weight_decay
    )
    step = 0
    for epoch in range(1, experiment.num_epochs + 1):
        last_batch = len(loaders["train"])
        for number, batch in enumerate(loaders["train"], start=1):
            loss = loss_of(model, batch, experiment)
            check_finite(loss.item(), epoch, step)
            (loss / experiment.accumulation_steps).backward()  # type: ignore[no-untyped-call]
            if number % experiment.accumulation_steps == 0 or number == last_batch:
                optimizer.step()
                optimizer.zero_grad()
            if step % experiment.eval_freq == 0:
                record(evaluate(model, loaders, experiment, epoch, step))
            step += 1
        record(measure_epoch(model, loaders, experiment, epoch))
    return events


def evaluate(model: GPT, loaders: Loaders, experiment: Experiment, epoch: int, step: int) -> Evaluation:
    """Mean losses over the first `eval_iter` batches of a fresh pass over training and validation."""
    train_loss, validation_loss = (mean_loss(model, loaders[split], experiment) for split in ("train", "validation"))
    for loss in (train_loss, validation_loss):
        check_finite(loss, epoch, step)
    return Evaluation(epoch, step, train_loss, validation_loss)


def measure_epoch(model: GPT, loaders: Loaders, experiment: Experiment, epoch: int) -> EpochAccuracy:
    """Accuracies over the first `eval_iter` batches of a fresh pass over training and validation."""
    counts = (count_right(model, loaders[split], experiment, experiment.eval_iter) for split in ("train", "validation"))
    return EpochAccuracy(epoch, *(count.accuracy for count in counts))


def loss_of(model: GPT, batch: Batch, experiment: Experiment) -> Tensor:
    """Cross entropy of one batch, a scalar; labels equal to `ignore_index` are left out."""
    logits, labels = classify(model, batch, experiment)
    return F.cross_entropy(logits, labels, ignore_index=experiment.ignore_index)


def classify(model: GPT, batch: Batch, experiment: Experiment) -> tuple[Tensor, Tensor]:
    """The logits (B, 2) of one batch and its labels (B,), on the model's device."""
    here = batch.to(model.token_embedding.weight.device)
    return read_out(model(here.tokens), here, experiment), here.labels


@torch.no_grad()
def mean_loss(model: GPT, loader: DataLoader[Batch], experiment: Experiment) -> float:
    """Mean over the losses of the first `eval_iter` batches."""
    losses = [loss_of(model, batch, experiment).item() for batch in islice(loader, experiment.eval_iter)]
    return sum(losses) / len(losses)


@torch.no_grad()
def count_right(model: GPT, loader: DataLoader[Batch], experiment: Experiment, n_batches: int | None = None) -> Count:
    """Right classifications over the first `n_batches` batches, or over all."""
    right = n = 0
    for batch in islice(loader, n_batches):
        logits, labels = classify(model, batch, experiment)
        right += int((logits.argmax(dim=-1) == labels).sum())
        n += len(labels)
    return Count(right, n)


def check_finite(loss: float, epoch: int, step: int) -> None:
    """Raise TrainingError unless the loss is a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at epoch {epoch}, step {step}: no figure of this run would mean anything; lower --learning_rate, "
            "or check --ignore_index and the weights"
        )
