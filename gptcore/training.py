"""`finetune`: one experiment from weights to accuracies.  (SPEC §4-5)"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from gptcore.batches import EncodedSplit, encode_dataset
from gptcore.dataset import SplitName
from gptcore.device import check_precision, float32_products, reproducible, synchronize
from gptcore.errors import TrainingError, UsageError
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.features import Features, FrozenStates
from gptcore.freezing import frozen_blocks, make_classifier
from gptcore.inputs import Inputs
from gptcore.learner import Learner, fast_learner, plain_learner, stacked_learner
from gptcore.model import GPT
from gptcore.result import Count, EpochAccuracy, Evaluation, Event, FrozenPart, Result
from gptcore.schedule import EpochEvaluation, LossEvaluation, Schedule, SideBySide, TrainStep, draw_schedule
from gptcore.sharing import need_in, own_states
from gptcore.weights import pretrained_gpt, random_gpt

Report = Callable[[Event], None]
Splits = Mapping[SplitName, EncodedSplit]


SEEDS_AT_ONCE = 20
WIDTH_THAT_FILLS_A_CPU = 256  # on two cores side by side was faster at the smoke tier's widths and slower at 768; the border between is a guess


def finetune(
    experiment: Experiment,
    inputs: Inputs,
    *,
    device: torch.device,
    execution: Execution = Execution(),
    states: FrozenStates | None = None,
    report: Report = lambda event: None,
) -> Result:
    """Fine-tune one experiment; `report` hears every evaluation and epoch as it happens.

    states: frozen states that this experiment shares with others, from `share_states`; by default its own.
    Raises UserError for inputs the experiment cannot use, TrainingError where the loss stops being finite.
    """
    (result,) = finetune_seeds(experiment, inputs, [experiment.seed], device=device, execution=execution, states=states, report=report)
    return result


def finetune_seeds(
    experiment: Experiment,
    inputs: Inputs,
    seeds: Sequence[int],
    *,
    device: torch.device,
    execution: Execution = Execution(),
    states: FrozenStates | None = None,
    report: Report = lambda event: None,
) -> list[Result]:
    """Fine-tune one experiment with several seeds of head and data order, from the same weights and over the same frozen part.

    Returns a result per seed; those that trained side by side share the time they took evenly.  `report` hears the first seed's events.
    Raises as `finetune` does.
    """
    check_inputs(experiment, inputs)
    check_precision(experiment.precision, device)
    if states is None:
        states = own_states(experiment, inputs, device=device, execution=execution)
    at_once = seeds_at_once(experiment, execution, device)
    results: list[Result] = []
    for start in range(0, len(seeds), at_once):
        with reproducible(), float32_products(experiment.precision):
            together = seeds[start : start + at_once]
            results += finetune_together(experiment, inputs, together, device, execution, states, report if start == 0 else lambda event: None)
    return results


def finetune_together(
    experiment: Experiment, inputs: Inputs, seeds: Sequence[int], device: torch.device, execution: Execution, states: FrozenStates | None, report: Report
) -> list[Result]:
    """A result per seed of those that train side by side, or of a single one."""
    splits = encode_dataset(inputs.dataset, experiment, inputs.tokenizer, needed_only=not execution.plain)
    models = build_classifiers(experiment, inputs, seeds, device)
    depth = 0 if execution.plain else frozen_blocks(experiment)
    features = Features(states, need_in(splits, experiment)) if depth and states and states.place != "not kept" else None
    learner = make_learner(models, experiment, execution, depth, features).in_precision(experiment.precision, device)
    synchronize(device)
    started = time.perf_counter()
    schedule = draw_schedule(experiment, {name: len(split) for name, split in splits.items()}, seeds)
    events = train(learner, schedule, splits, experiment, device, report, fused=not execution.plain)
    real_seconds = time.perf_counter() - started
    spared = features.charged - features.spent if features else 0.0
    counts = {name: count_right(learner, splits[name], batches, device) for name, batches in schedule.final.items()}
    return [
        Result(
            history=tuple(event for event in of_seed if isinstance(event, Evaluation)),
            epoch_accuracies=tuple(event for event in of_seed if isinstance(event, EpochAccuracy)),
            counts={name: of_seeds[number] for name, of_seeds in counts.items()},
            train_seconds=(real_seconds + spared) / len(seeds),
            real_seconds=real_seconds / len(seeds),
            frozen=FrozenPart(depth, states.place, states.bytes) if depth and states else None,
        )
        for number, of_seed in enumerate(events)
    ]


def seeds_at_once(experiment: Experiment, execution: Execution, device: torch.device) -> int:
    """How many seeds train side by side: several where that is possible and faster, else one.

    Impossible where the embeddings train, and where a row's states would depend on how far others fill it up; not tried elsewhere than on a CPU where
    nothing is frozen, since the activations of a whole network are many.
    """
    sees_filling = experiment.no_padding and (experiment.disable_causal_mask or experiment.average_embeddings)
    possible = experiment.trainable_layers != "all" and not sees_filling and not execution.plain
    # A step of a small network is mostly overhead, which seeds side by side share; a large one keeps a CPU busy by itself.
    is_narrow = experiment.model_size.width <= WIDTH_THAT_FILLS_A_CPU
    faster = is_narrow if device.type == "cpu" else frozen_blocks(experiment) > 0
    return SEEDS_AT_ONCE if possible and faster else 1


def check_inputs(experiment: Experiment, inputs: Inputs) -> None:
    """Raise UsageError where the texts or the tokenizer do not fit the experiment."""
    n_train = len(inputs.dataset.train)
    if n_train < experiment.batch_size:
        raise UsageError(f"--batch_size {experiment.batch_size} is more than the {n_train} training texts: choose a smaller one or add texts")
    known, needed = experiment.model_size.vocabulary_size, inputs.tokenizer.vocabulary_size
    if needed > known:
        raise UsageError(f"the tokenizer has {needed} tokens and {experiment.model_size.name} knows {known}: use the tokenizer it was trained with")


def has_one_shape(experiment: Experiment) -> bool:
    """Whether all batches are alike and each updates the weights, so that compiled steps, and graphs of them, can be used again."""
    return not experiment.no_padding and experiment.trainable_token_pos != "flexible" and experiment.accumulation_steps == 1


def build_classifiers(experiment: Experiment, inputs: Inputs, seeds: Sequence[int], device: torch.device) -> Iterator[GPT]:
    """For each seed the GPT with its weights, its two-class head and the right parameters frozen, in evaluation mode."""
    causal = not experiment.disable_causal_mask
    if inputs.weights:
        model = pretrained_gpt(experiment.model_size, inputs.weights, causal=causal)
    else:
        model = random_gpt(experiment.model_size, causal=causal, seed=experiment.seed)
    for number, seed in enumerate(seeds, start=1):
        classifier = model if number == len(seeds) else copy.deepcopy(model)
        make_classifier(classifier, replace(experiment, seed=seed))
        yield classifier.eval().to(device)  # without dropout the two modes are one


def make_learner(models: Iterator[GPT], experiment: Experiment, execution: Execution, depth: int, features: Features | None) -> Learner:
    """The way of computing that was asked for; `models` stacked where there are several."""
    first = next(models)
    if (second := next(models, None)) is not None:
        return stacked_learner(chain((first, second), models), experiment, depth, features)
    if execution.plain:
        return plain_learner(first, experiment)
    return fast_learner(first, experiment, depth, features, compiled=execution.compiled and has_one_shape(experiment))


def train(
    learner: Learner, schedule: Schedule, splits: Splits, experiment: Experiment, device: torch.device, report: Report, *, fused: bool
) -> list[tuple[Event, ...]]:
    """All stages, with AdamW's update as one kernel if `fused`.  Returns each seed's evaluations and epoch accuracies in order."""
    events: list[Sequence[Event]] = []
    optimizer = torch.optim.AdamW(learner.parameters, lr=experiment.learning_rate, weight_decay=experiment.weight_decay, fused=fused)
    for stage in schedule.stages:
        match stage:
            case TrainStep(epoch, step, batch, updates):
                losses = losses_of(learner, splits["train"], batch, experiment, device)
                check_finite([loss.item() for loss in losses], epoch, step)
                (torch.stack(losses).sum() / experiment.accumulation_steps).backward()  # type: ignore[no-untyped-call]
                if updates:
                    optimizer.step()
                    optimizer.zero_grad()
                continue
            case LossEvaluation(epoch, step, train_batches, validation_batches):
                train_losses = mean_losses(learner, splits["train"], train_batches, experiment, device)
                validation_losses = mean_losses(learner, splits["validation"], validation_batches, experiment, device)
                check_finite([*train_losses, *validation_losses], epoch, step)
                events.append([Evaluation(epoch, step, *pair) for pair in zip(train_losses, validation_losses, strict=True)])
            case EpochEvaluation(epoch, train_batches, validation_batches):
                train_counts = count_right(learner, splits["train"], train_batches, device)
                validation_counts = count_right(learner, splits["validation"], validation_batches, device)
                accuracies = [(one.accuracy, other.accuracy) for one, other in zip(train_counts, validation_counts, strict=True)]
                events.append([EpochAccuracy(epoch, *pair) for pair in accuracies])
        report(events[-1][0])
    return [*zip(*events, strict=True)]


def losses_of(learner: Learner, split: EncodedSplit, batch: SideBySide, experiment: Experiment, device: torch.device) -> list[Tensor]:
    """Each seed's cross entropy of its batch, a scalar; labels equal to `ignore_index` are left out."""
    batches = [split.batch(examples).to(device) for examples in batch]
    return [
        F.cross_entropy(logits, batch.labels, ignore_index=experiment.ignore_index) for logits, batch in zip(learner.classify(batches), batches, strict=True)
    ]


@torch.no_grad()
def mean_losses(learner: Learner, split: EncodedSplit, batches: Sequence[SideBySide], experiment: Experiment, device: torch.device) -> list[float]:
    """Each seed's mean over the losses of its batches."""
    losses = [[loss.item() for loss in losses_of(learner, split, batch, experiment, device)] for batch in batches]
    return [sum(of_seed) / len(of_seed) for of_seed in zip(*losses, strict=True)]


@torch.no_grad()
def count_right(learner: Learner, split: EncodedSplit, batches: Sequence[SideBySide], device: torch.device) -> list[Count]:
    """Each seed's right classifications over its batches.  Raises TrainingError where the logits are not finite."""
    counts = []
    for batch in batches:
        encoded = [split.batch(examples).to(device) for examples in batch]
        all_logits = learner.classify(encoded)
        if not all(logits.isfinite().all() for logits in all_logits):
            raise TrainingError("the trained model's logits are not finite: its accuracy would mean nothing; lower --learning_rate")
        counts.append([(int((logits.argmax(dim=-1) == one.labels).sum()), len(one.labels)) for logits, one in zip(all_logits, encoded, strict=True)])
    return [Count(*map(sum, zip(*of_seed, strict=True))) for of_seed in zip(*counts, strict=True)]


def check_finite(losses: Sequence[float], epoch: int, step: int) -> None:
    """Raise TrainingError unless every loss is a finite number."""
    for loss in losses:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at epoch {epoch}, step {step}: no figure of this run would mean anything; lower --learning_rate, "
                "or check --ignore_index and the weights"
            )
