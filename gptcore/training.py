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
from gptcore.dataset import SPLITS, SplitName
from gptcore.device import check_precision, float32_products, free_memory, reproducible
from gptcore.errors import TrainingError, UsageError
from gptcore.experiment import Experiment
from gptcore.fast import fast_classifier
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

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n or self.n < 1:
            raise ValueError(f"{self.right} right of {self.n} is no count")

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

    def __post_init__(self) -> None:
        if not self.history or set(self.counts) != set(SPLITS):
            raise ValueError("a result has at least one evaluation, and a count for each split")


@dataclass(frozen=True)
class Execution:
    """How to compute what an experiment defines; figures agree up to rounding.

    plain: every batch through the whole network, all positions.  memory_budget: bytes that kept features of the frozen part may take, by default half of
    what is free.
    """

    plain: bool = False
    memory_budget: int | None = None


Event = Evaluation | EpochAccuracy
Report = Callable[[Event], None]
Loaders = Mapping[SplitName, DataLoader[Batch]]
Classify = Callable[[Batch], Tensor]


def finetune(
    experiment: Experiment, inputs: Inputs, *, device: torch.device, execution: Execution = Execution(), report: Report = lambda event: None
) -> Result:
    """Fine-tune one experiment; `report` hears every evaluation and epoch as it happens.

    Raises UserError for inputs the experiment cannot use, TrainingError where the loss stops being finite.
    """
    check_inputs(experiment, inputs)
    check_precision(experiment.precision, device)
    with reproducible(), float32_products(experiment.precision):
        splits = encode_dataset(inputs.dataset, experiment, inputs.tokenizer, needed_only=not execution.plain)
        model = build_classifier(experiment, inputs).to(device)
        loaders = make_loaders(splits, experiment, device)
        started = time.perf_counter()
        if execution.plain:
            classify = plain_classifier(model, experiment)
        else:
            budget = free_memory(device) // 2 if execution.memory_budget is None else execution.memory_budget
            classify = fast_classifier(model, splits, experiment, budget)
        classify = in_precision(classify, experiment, device)
        events = train(model, classify, loaders, experiment, report, fused=not execution.plain)
        train_seconds = time.perf_counter() - started
        counts = {name: count_right(classify, loader) for name, loader in loaders.items()}
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


def make_loaders(splits: Mapping[SplitName, EncodedSplit], experiment: Experiment, device: torch.device) -> Loaders:
    """One loader per split, which training, evaluations and the final counts share."""
    return {name: load(split, experiment.batch_size, device, training=name == "train") for name, split in splits.items()}


def plain_classifier(model: GPT, experiment: Experiment) -> Classify:
    """The straightforward way to a batch's logits: the whole network, all positions."""
    return lambda batch: read_out(model(batch.tokens), batch, experiment)


def in_precision(classify: Classify, experiment: Experiment, device: torch.device) -> Classify:
    """The same logits, in float32, from matrix products in the experiment's precision; weights, their gradients and updates stay in float32."""
    if experiment.precision != "bf16":
        return classify

    def classify_in_bf16(batch: Batch) -> Tensor:
        # Entered anew for each batch: autocast keeps the weights it has cast until it ends, and they change at every step.
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = classify(batch)
        return logits.float()

    return classify_in_bf16


def train(model: GPT, classify: Classify, loaders: Loaders, experiment: Experiment, report: Report, *, fused: bool) -> list[Event]:
    """All epochs, with AdamW's update as one kernel if `fused`.  Returns every evaluation and epoch accuracy in order."""
    events: list[Event] = []

    def record(event: Event) -> None:
        events.append(event)
        report(event)

    torch.manual_seed(experiment.seed)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=experiment.learning_rate, weight_decay=experiment.weight_decay, fused=fused)
    step = 0
    for epoch in range(1, experiment.num_epochs + 1):
        last_batch = len(loaders["train"])
        for number, batch in enumerate(loaders["train"], start=1):
            loss = loss_of(classify, batch, experiment)
            check_finite(loss.item(), epoch, step)
            (loss / experiment.accumulation_steps).backward()  # type: ignore[no-untyped-call]
            if number % experiment.accumulation_steps == 0 or number == last_batch:
                optimizer.step()
                optimizer.zero_grad()
            if step % experiment.eval_freq == 0:
                record(evaluate(classify, loaders, experiment, epoch, step))
            step += 1
        record(measure_epoch(classify, loaders, experiment, epoch))
    return events


def evaluate(classify: Classify, loaders: Loaders, experiment: Experiment, epoch: int, step: int) -> Evaluation:
    """Mean losses over the first `eval_iter` batches of a fresh pass over training and validation."""
    train_loss, validation_loss = (mean_loss(classify, loaders[split], experiment) for split in ("train", "validation"))
    for loss in (train_loss, validation_loss):
        check_finite(loss, epoch, step)
    return Evaluation(epoch, step, train_loss, validation_loss)


def measure_epoch(classify: Classify, loaders: Loaders, experiment: Experiment, epoch: int) -> EpochAccuracy:
    """Accuracies over the first `eval_iter` batches of a fresh pass over training and validation."""
    counts = (count_right(classify, loaders[split], experiment.eval_iter) for split in ("train", "validation"))
    return EpochAccuracy(epoch, *(count.accuracy for count in counts))


def loss_of(classify: Classify, batch: Batch, experiment: Experiment) -> Tensor:
    """Cross entropy of one batch, a scalar; labels equal to `ignore_index` are left out."""
    return F.cross_entropy(classify(batch), batch.labels, ignore_index=experiment.ignore_index)


@torch.no_grad()
def mean_loss(classify: Classify, loader: DataLoader[Batch], experiment: Experiment) -> float:
    """Mean over the losses of the first `eval_iter` batches."""
    losses = [loss_of(classify, batch, experiment).item() for batch in islice(loader, experiment.eval_iter)]
    return sum(losses) / len(losses)


@torch.no_grad()
def count_right(classify: Classify, loader: DataLoader[Batch], n_batches: int | None = None) -> Count:
    """Right classifications over the first `n_batches` batches, or over all.  Raises TrainingError where the logits are not finite."""
    right = n = 0
    for batch in islice(loader, n_batches):
        logits = classify(batch)
        if not logits.isfinite().all():
            raise TrainingError("the trained model's logits are not finite: its accuracy would mean nothing; lower --learning_rate")
        right += int((logits.argmax(dim=-1) == batch.labels).sum())
        n += len(batch.labels)
    return Count(right, n)


def check_finite(loss: float, epoch: int, step: int) -> None:
    """Raise TrainingError unless the loss is a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at epoch {epoch}, step {step}: no figure of this run would mean anything; lower --learning_rate, "
            "or check --ignore_index and the weights"
        )
