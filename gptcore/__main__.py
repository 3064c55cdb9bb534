"""One experiment from the command line: `python -m gptcore`, with the published flags by their published names; `classify` and `export` use what it saved."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from gptcore.classifier import Classifier
from gptcore.command_line import file_argument, guarded, path_argument
from gptcore.commands import COMMANDS
from gptcore.device import DEVICES, check_precision, name_device, pick_device
from gptcore.errors import UsageError
from gptcore.execution import Execution, add_execution_flags, check_seeds, execution_from, set_threads, within
from gptcore.experiment import Experiment, settings_of
from gptcore.features import FrozenStates
from gptcore.files import write_text_atomically
from gptcore.folders import check_new_folder
from gptcore.inputs import Inputs, Sources, component_digests, gather_inputs
from gptcore.model import GPT2_SIZES
from gptcore.out_of_memory import check_memory, is_out_of_memory, smaller_budget
from gptcore.result import EpochAccuracy, Evaluation, Event, Progress, Result
from gptcore.saved import FILES, save_classifier
from gptcore.sharing import own_states
from gptcore.training import finetune_classifier, finetune_seeds

Trained = TypeVar("Trained")
REMEDY = (
    "end other programs, or choose a smaller --batch_size (with more --accumulation_steps the updates stay the same), a smaller --model_size, fewer "
    "--trainable_layers, a shorter --context_length, fewer --seeds at once or --memory-budget 0"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or the command, that the arguments describe.  Returns the exit code: 0, or 2 for what the person can mend."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words and words[0] in COMMANDS:
            return guarded(lambda: COMMANDS[words[0]](words[1:]))
        return guarded(lambda: run(make_parser().parse_args(words)))
    except KeyboardInterrupt:
        print("interrupted: what was not told as saved was not written", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Gather, train, print, save the classifier and write the JSON file if they were asked for.  Returns 0."""
    experiment = experiment_from(options)
    device = pick_device(options.device)
    execution = execution_from(options)
    check_precision(experiment.precision, device)
    check_seeds(experiment.seed, options.seeds)
    threads = set_threads(options.threads)
    if options.json:
        check_writable(options.json)
    if options.save and options.seeds > 1:
        raise UsageError(f"--save keeps one model and --seeds {options.seeds} trains several: leave one of the two out")
    if options.save:
        check_new_folder(options.save, FILES, overwrite=options.overwrite)
    sources = Sources(data=options.data_dir, weights=options.weights_dir, tokenizer=options.tokenizer_dir, limit_train=options.limit_train).with_environment()
    check_memory(experiment, device, REMEDY)
    inputs = gather_inputs(experiment, sources)
    seeds = range(experiment.seed, experiment.seed + options.seeds)
    print(f"on {name_device(device)}, threads: {threads}", flush=True)
    results = dict(zip(seeds, train(experiment, inputs, seeds, device, execution, options), strict=True))
    for seed, result in results.items():
        print_result(result, f"seed {seed}: " if len(results) > 1 else "")
    if options.json:
        content = as_json(experiment, inputs, results[experiment.seed], str(device))
        if len(results) > 1:
            content["seeds"] = {str(seed): figures_of(result) for seed, result in results.items()}
        write_text_atomically(options.json, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return 0


def train(
    experiment: Experiment, inputs: Inputs, seeds: Sequence[int], device: torch.device, execution: Execution, options: argparse.Namespace
) -> list[Result]:
    """A result per seed; the classifier that one of them trained is saved where that was asked for."""

    def several(states: FrozenStates | None) -> list[Result]:
        return finetune_seeds(experiment, inputs, seeds, device=device, execution=execution, states=states, report=print_event)

    def one(states: FrozenStates | None) -> tuple[Result, Classifier]:
        return finetune_classifier(experiment, inputs, device=device, execution=execution, states=states, report=print_event)

    if not options.save:
        return within_memory(several, experiment, inputs, device, execution)
    result, classifier = within_memory(one, experiment, inputs, device, execution)
    save_classifier(classifier, options.save, overwrite=options.overwrite)
    print(f"saved in {options.save}")
    return [result]


def within_memory(
    attempt: Callable[[FrozenStates | None], Trained], experiment: Experiment, inputs: Inputs, device: torch.device, execution: Execution
) -> Trained:
    """What an attempt gives; where memory runs out, another with less for the frozen part.  Raises OutOfMemoryError where that does not help either."""
    budget, held = None, 0
    while True:
        try:
            states = own_states(experiment, inputs, device=device, execution=within(execution, budget))
            held = states.bytes_in_memory if states else 0
            return attempt(states)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            states = None
        budget = smaller_budget(budget, held, experiment, device, REMEDY)


def make_parser() -> argparse.ArgumentParser:
    """The parser: one flag per field of `Experiment`, and where to compute with which files."""
    more = "`python -m gptcore classify` and `python -m gptcore export` use what --save kept; each has a --help of its own."
    about = "Fine-tune a GPT as a two-class text classifier."
    parser = argparse.ArgumentParser(prog="python -m gptcore", description=about, epilog=more, allow_abbrev=False)
    add_experiment_flags(parser)
    parser.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="fine-tune with N seeds of head and data order, from --seed upwards (default: 1)")
    add_execution_flags(parser.add_argument)
    parser.add_argument(
        "--data_dir", "--data-dir", type=path_argument, help="folder with train.csv, validation.csv and test.csv, columns Label (0 or 1) and Text"
    )
    parser.add_argument("--limit_train", "--limit-train", type=int, help="use only the first texts of the training split")
    parser.add_argument(
        "--weights_dir", "--weights-dir", type=path_argument, help="folder with <name>/model.safetensors in the Hugging Face layout, used as it is"
    )
    parser.add_argument("--tokenizer_dir", "--tokenizer-dir", type=path_argument, help="folder with GPT-2's encoder.json")
    parser.add_argument("--json", type=file_argument, metavar="FILE", help="write the figures to this file as one JSON object")
    parser.add_argument("--save", type=path_argument, metavar="DIR", help="save the trained classifier in this new folder")
    parser.add_argument("--overwrite", action="store_true", help="let --save take the place of an earlier classifier")
    return parser


def add_experiment_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of `Experiment`, with its default and the line about it."""
    for item in fields(Experiment):
        flag, about = f"--{item.name}", item.metadata["about"]
        if isinstance(item.default, bool):
            parser.add_argument(flag, action="store_true", help=about)
            continue
        is_model = item.default in GPT2_SIZES.values()
        default = item.default.name if is_model else item.default
        kind: Any = str if is_model else type(item.default)
        parser.add_argument(flag, type=kind, default=default, choices=item.metadata["choices"] or None, help=f"{about} (default: {default})")


def experiment_from(options: argparse.Namespace) -> Experiment:
    """The experiment that parsed flags describe.  Raises UsageError for impossible combinations."""
    settings = {item.name: getattr(options, item.name) for item in fields(Experiment)}
    return Experiment(**settings | {"model_size": GPT2_SIZES[options.model_size]})


def check_writable(path: Path) -> None:
    """Raise UsageError, before any work is done, where the file could not be written."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--json {path} cannot be written: give a file name in a folder you may write to")


def print_event(event: Event | Progress) -> None:
    """One line per evaluation or epoch."""
    if isinstance(event, Evaluation):
        print(f"epoch {event.epoch} step {event.step:06d}: train loss {event.train_loss:.6f}, validation loss {event.validation_loss:.6f}", flush=True)
    elif isinstance(event, EpochAccuracy):
        train, validation = event.train_accuracy, event.validation_accuracy
        print(f"epoch {event.epoch} done: train accuracy {train:.2%}, validation accuracy {validation:.2%} (a few batches)", flush=True)


def print_result(result: Result, start: str) -> None:
    """Training time and the three final accuracies, each line with the same start."""
    shared = "its share of " if start else ""
    print(f"{start}{shared}training took {result.train_seconds / 60:.2f} minutes")
    if result.frozen:
        print(f"{start}frozen states (blocks: {result.frozen.blocks}): {result.frozen.place}, {result.frozen.bytes / 1e6:.0f} MB")
    for name, count in result.counts.items():
        unseen = result.unseen.get(name)
        leaks = unseen is not None and unseen.n < count.n
        apart = f"; on texts that do not stand in train {unseen.accuracy:.2%} ({unseen.right} of {unseen.n})" if unseen and leaks else ""
        print(f"{start}{name} accuracy: {count.accuracy:.2%} ({count.right} of {count.n}){apart}")


def as_json(experiment: Experiment, inputs: Inputs, result: Result, device: str) -> dict[str, Any]:
    """The printed figures and everything they depend on, as one JSON-ready object."""
    return figures_of(result) | {"settings": settings_of(experiment) | {"device": device, "digests": component_digests(experiment, inputs)}}


def figures_of(result: Result) -> dict[str, Any]:
    """One seed's figures, JSON-ready."""
    return {
        "history": [asdict(evaluation) for evaluation in result.history],
        "epoch_accuracies": [asdict(epoch) for epoch in result.epoch_accuracies],
        **{f"{name}_accuracy": count.accuracy for name, count in result.counts.items()},
        "counts": {name: asdict(count) for name, count in result.counts.items()},
        "answers": {name: asdict(answers) for name, answers in result.answers.items()},
        "margins": dict(result.margins),
        "unseen": {name: asdict(count) for name, count in result.unseen.items()},
        "fingerprint": asdict(result.fingerprint),
        "attestation": asdict(result.attestation),
        "train_seconds": result.train_seconds,
        "frozen": asdict(result.frozen) if result.frozen else None,
    }


if __name__ == "__main__":
    sys.exit(main())
