"""`finetune`: one experiment from weights to accuracies.  (SPEC §4-5)"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

import torch

from gptcore.batches import EncodedSplit, encode_dataset
from gptcore.checkpoint import Checkpoint
from gptcore.classifier import Classifier, make_trained
from gptcore.dataset import SplitName
from gptcore.device import arithmetic_of, check_precision, float32_products, reproducible, synchronize
from gptcore.digests import digest_of_tensors
from gptcore.errors import UsageError
from gptcore.execution import Execution
from gptcore.experiment import Experiment, digest_of
from gptcore.features import Features, FrozenStates
from gptcore.freezing import frozen_blocks, make_classifier
from gptcore.inputs import Inputs, component_digests
from gptcore.learner import Learner, fast_learner, plain_learner, stacked_learner
from gptcore.loop import Graded, grade, train
from gptcore.model import GPT
from gptcore.packing import pack_floats
from gptcore.result import Attestation, EpochAccuracy, Evaluation, Event, Fingerprint, FrozenPart, Progress, Report, Result
from gptcore.schedule import Schedule, draw_schedule
from gptcore.sharing import need_in, own_states
from gptcore.stopwatch import Stopwatch
from gptcore.weights import pretrained_gpt, random_gpt

SEEDS_AT_ONCE = 20
WIDTH_THAT_FILLS_A_CPU = 256  # on two cores side by side was faster at widths of 52 to 64 and slower at 768; the border between is a guess


def finetune(
    experiment: Experiment,
    inputs: Inputs,
    *,
    device: torch.device,
    execution: Execution = Execution(),
    states: FrozenStates | None = None,
    report: Report = lambda event: None,
) -> Result:
    """Fine-tune one experiment; `report` hears every evaluation and epoch as it happens, and how far it has come.

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
    if states is None:
        states = own_states(experiment, inputs, device=device, execution=execution)
    at_once = seeds_at_once(experiment, execution, device)
    results: list[Result] = []
    for start in range(0, len(seeds), at_once):
        with computing(experiment, inputs, device):
            together = seeds[start : start + at_once]
            heard = report if start == 0 else lambda event: None
            setup = set_up(experiment, inputs, together, device, execution, states, heard)
            results += finetune_together(setup, experiment, inputs, together, device, execution, heard)
            del setup  # its models must not outlive the next ones' making
    return results


def finetune_classifier(
    experiment: Experiment,
    inputs: Inputs,
    *,
    device: torch.device,
    execution: Execution = Execution(),
    states: FrozenStates | None = None,
    report: Report = lambda event: None,
) -> tuple[Result, Classifier]:
    """As `finetune`, and returns the classifier that was trained beside its figures."""
    if states is None:
        states = own_states(experiment, inputs, device=device, execution=execution)
    with computing(experiment, inputs, device):
        setup = set_up(experiment, inputs, [experiment.seed], device, execution, states, report)
        (result,) = finetune_together(setup, experiment, inputs, [experiment.seed], device, execution, report)
    return result, make_trained(setup.model, experiment, inputs)


def rehearse(
    experiment: Experiment,
    inputs: Inputs,
    schedule_of: Callable[[Mapping[SplitName, int]], Schedule],
    *,
    device: torch.device,
    execution: Execution = Execution(),
    states: FrozenStates | None = None,
) -> tuple[Event, ...]:
    """The evaluations of a training that follows a schedule of one seed of the caller's own, made from the sizes of the splits.  Raises as `finetune` does."""
    with computing(experiment, inputs, device):
        setup = set_up(experiment, inputs, [experiment.seed], device, execution, states)
        schedule = schedule_of(setup.sizes)
        (trained,) = train(setup.learner, schedule.stages, setup.splits, experiment, lambda event: None, fused=not execution.plain)
    return trained.events


@contextmanager
def computing(experiment: Experiment, inputs: Inputs, device: torch.device) -> Iterator[None]:
    """The switches that training runs under.  Raises UsageError for what cannot run."""
    check_inputs(experiment, inputs)
    check_precision(experiment.precision, device)
    with reproducible(), float32_products(experiment.precision):
        yield


def finetune_together(
    setup: "Setup", experiment: Experiment, inputs: Inputs, seeds: Sequence[int], device: torch.device, execution: Execution, report: Report
) -> list[Result]:
    """A result per seed of those that train side by side, or of a single one."""
    learner, features, states = setup.learner, setup.features, setup.states
    synchronize(device)
    checkpoint = checkpoint_of(experiment, inputs, seeds, device, execution)
    clock = checkpoint.clock if checkpoint else Stopwatch()
    schedule = draw_schedule(experiment, setup.sizes, seeds)
    trained = train(learner, schedule.stages, setup.splits, experiment, report, fused=not execution.plain, checkpoint=checkpoint)
    real_seconds = clock.seconds + (features.ahead if features else 0.0)
    spared = features.charged - features.spent if features else 0.0
    graded: dict[SplitName, list[Graded]] = {}
    for name, batches in schedule.final.items():
        report(Progress("final counts", len(graded), len(schedule.final)))
        graded[name] = grade(learner, setup.splits[name], batches)
    weight_norms = learner.norms(learner.parameters)
    unseen = inputs.dataset.unseen()
    results = []
    for number, of_seed in enumerate(trained):
        own = {name: of_seeds[number] for name, of_seeds in graded.items()}
        answers = {name: of_split.answers for name, of_split in own.items()}
        result = Result(
            history=tuple(event for event in of_seed.events if isinstance(event, Evaluation)),
            epoch_accuracies=tuple(event for event in of_seed.events if isinstance(event, EpochAccuracy)),
            counts={name: of_split.count() for name, of_split in answers.items()},
            answers=answers,
            margins={name: of_split.margins for name, of_split in own.items()},
            unseen={name: answers[name].count(chosen) for name, chosen in unseen.items() if any(chosen)},
            fingerprint=Fingerprint(learner.n_trained, of_seed.first_logits, weight_norms[number]),
            attestation=Attestation(
                digest_of_tensors(learner.parameters_of(number)),
                digest_of_tensors(of_split.logits for of_split in own.values()),
                pack_floats(of_seed.batch_losses),
            ),
            train_seconds=(real_seconds + spared) / len(seeds),
            real_seconds=real_seconds / len(seeds),
            frozen=FrozenPart(setup.depth, states.place, states.bytes) if setup.depth and states else None,
        )
        results.append(result)
    return results


def checkpoint_of(experiment: Experiment, inputs: Inputs, seeds: Sequence[int], device: torch.device, execution: Execution) -> Checkpoint | None:
    """The checkpoint of a training; None unless the execution wants them and nothing is frozen.

    Where blocks are frozen, most of the time goes into their states, which are kept in another way.
    """
    if execution.checkpoints is None or frozen_blocks(experiment):
        return None
    depends_on = {
        "components": component_digests(experiment, inputs),
        "seeds": [*seeds],
        "plain": execution.plain,
        "compiled": execution.compiled,
        "arithmetic": arithmetic_of(device),
    }
    return execution.checkpoints.of(f"seed-{seeds[0]}", digest_of(depends_on))


@dataclass(frozen=True)
class Setup:
    """Everything that stands before the clock starts.

    depth: blocks below all that trains, 0 where every batch goes through the whole network.  model: the first seed's, which trains in place if it is alone.
    """

    splits: Mapping[SplitName, EncodedSplit]
    learner: Learner
    features: Features | None
    states: FrozenStates | None
    depth: int
    model: GPT

    @property
    def sizes(self) -> dict[SplitName, int]:
        """Examples per split."""
        return {name: len(split) for name, split in self.splits.items()}


def set_up(
    experiment: Experiment,
    inputs: Inputs,
    seeds: Sequence[int],
    device: torch.device,
    execution: Execution,
    states: FrozenStates | None,
    report: Report = lambda event: None,
) -> Setup:
    """Encoded texts, and what trains, for some seeds."""
    splits = encode_dataset(inputs.dataset, experiment, inputs.tokenizer, needed_only=not execution.plain)
    models: Iterator[GPT] = build_classifiers(experiment, inputs, seeds, device)
    depth = 0 if execution.plain else frozen_blocks(experiment)
    features = Features(states, need_in(splits, experiment), report) if depth and states and states.place != "not kept" else None
    first = next(models)
    if features:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=experiment.precision == "bf16"):
            features.compute_ahead(first)
    learner = make_learner(chain((first,), models), experiment, execution, depth, features).in_precision(experiment.precision)
    return Setup(splits, learner, features, states, depth, first)


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
