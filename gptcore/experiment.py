"""`Experiment`: every setting of one fine-tuning, in one frozen dataclass whose defaults are row 1 of the table.

The command line, the rows, the digests, the report's columns and the documentation are all read off its fields.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gptcore.errors import UsageError
from gptcore.model import GPT2_SIZES, GPTConfig

LONGEST_TRAINING_EXAMPLE = "longest_training_example"
MODEL_CONTEXT_LENGTH = "model_context_length"
PRECISIONS = ("fp32", "tf32", "bf16")

LARGEST_INTEGER = 2**63 - 1


def setting(default: Any, about: str, *, choices: tuple[str, ...] = (), minimum: int = -LARGEST_INTEGER) -> Any:
    """A field with its default, one line about it, and what it may be."""
    return field(default=default, metadata={"about": about, "choices": choices, "minimum": minimum})


@dataclass(frozen=True)
class Experiment:
    """One fine-tuning of a GPT as a two-class text classifier.  Field names are the published flags.  (SPEC §2-5)

    Raises UsageError for a value that is out of range or contradicts another.
    """

    model_size: GPTConfig = setting(GPT2_SIZES["gpt2-small (124M)"], "size of the GPT", choices=tuple(GPT2_SIZES))
    weights: str = setting("pretrained", "initial weights", choices=("pretrained", "random"))
    trainable_layers: str = setting(
        "last_block", "what trains, besides the head", choices=("last_layer", "last_block", "last_two_blocks", "all", "lora", "lora_alternative")
    )
    trainable_token_pos: str = setting(
        "last", "position the class is read from; flexible: the last token that is not padding", choices=("first", "last", "flexible")
    )
    average_embeddings: bool = setting(False, "read the mean of the logits over all positions, padding included")
    context_length: str = setting(LONGEST_TRAINING_EXAMPLE, f"pad and cut to this: {LONGEST_TRAINING_EXAMPLE}, {MODEL_CONTEXT_LENGTH} or a number of tokens")
    lora_rank: int = setting(8, "rank of the LoRA matrices", minimum=1)
    lora_alpha: int = setting(8, "factor of the LoRA product (not divided by the rank)", minimum=1)
    no_padding: bool = setting(False, "every text at its own length, nothing cut (needs batch size 1; the context length has no effect)")
    num_epochs: int = setting(5, "passes over the training texts", minimum=1)
    batch_size: int = setting(8, "texts per batch", minimum=1)
    accumulation_steps: int = setting(1, "batches per update", minimum=1)
    disable_causal_mask: bool = setting(False, "let every token attend to every token")
    ignore_index: int = setting(-100, "label the loss leaves out")
    eval_freq: int = setting(50, "steps between evaluations of the loss", minimum=1)
    eval_iter: int = setting(5, "batches per evaluation", minimum=1)
    learning_rate: float = setting(5e-5, "AdamW's learning rate", minimum=0)
    weight_decay: float = setting(0.1, "AdamW's weight decay", minimum=0)
    precision: str = setting("fp32", "arithmetic of matrix products; tf32 needs a CUDA device", choices=PRECISIONS)
    seed: int = setting(123, "seed of random weights, head and data order", minimum=0)

    def __post_init__(self) -> None:
        for item in fields(self):
            check_type(item.name, getattr(self, item.name), type(item.default))
            check_range(item.name, getattr(self, item.name), item.metadata)
        self._check_context_length()
        if self.no_padding and self.batch_size != 1:
            raise UsageError(f"--batch_size {self.batch_size} cannot go with --no_padding: texts of different lengths need --batch_size 1")
        if self.average_embeddings and self.trainable_token_pos == "flexible":
            raise UsageError("--average_embeddings reads all positions and --trainable_token_pos flexible reads one: leave one of the two out")
        if self.trainable_layers == "last_two_blocks" and self.model_size.n_layer < 2:
            raise UsageError(f"--trainable_layers last_two_blocks needs two blocks: {self.model_size.name} has {self.model_size.n_layer}")

    def _check_context_length(self) -> None:
        if self.context_length in (LONGEST_TRAINING_EXAMPLE, MODEL_CONTEXT_LENGTH):
            return
        longest = self.model_size.context_length
        is_number = self.context_length.isascii() and self.context_length.isdecimal() and len(self.context_length) < 20
        if not (is_number and 1 <= int(self.context_length) <= longest):
            raise UsageError(
                f"--context_length {self.context_length} is not possible: give {LONGEST_TRAINING_EXAMPLE}, {MODEL_CONTEXT_LENGTH} "
                f"or a number from 1 to {longest}"
            )


def check_type(name: str, value: object, kind: type) -> None:
    """Raise UsageError where `value` is not of the kind; a whole number will do for a fractional one."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise UsageError(f"--{name} {value!r} is of type {type(value).__name__}: give one of type {kind.__name__}")


def check_range(name: str, value: object, metadata: Mapping[str, Any]) -> None:
    """Raise UsageError where `value` is none of the choices, out of range or not finite."""
    choices, minimum = metadata["choices"], metadata["minimum"]
    if choices and isinstance(value, str) and value not in choices:
        raise UsageError(f"--{name} {value} is unknown: choose one of {', '.join(choices)}")
    if isinstance(value, int) and not minimum <= value <= LARGEST_INTEGER:
        raise UsageError(f"--{name} {value} is not possible: give a whole number from {minimum} to {LARGEST_INTEGER}")
    if isinstance(value, float) and not (math.isfinite(value) and value >= minimum):
        raise UsageError(f"--{name} {value} is not possible: give a finite number, at least {minimum}")


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """The settings as JSON-ready values: `model_size` by name, its sizes under `model`."""
    settings = asdict(experiment)
    return settings | {"model_size": experiment.model_size.name, "model": settings["model_size"]}


def experiment_of(settings: Mapping[str, Any]) -> Experiment:
    """The experiment with these settings, as `settings_of` gives them.  Raises UsageError, KeyError or TypeError for anything else."""
    others = {name: value for name, value in settings.items() if name != "model"}
    return Experiment(**others | {"model_size": GPTConfig(**settings["model"])})


def digest_of(value: object) -> str:
    """sha256 (hexadecimal) of the canonical JSON of `value`.  Raises ValueError for NaN or infinity."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
