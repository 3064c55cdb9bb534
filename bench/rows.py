"""The nineteen rows of the table: each says only what it changes, since `Experiment()` is row 1.  (SPEC §6)"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from gptcore.errors import UsageError
from gptcore.experiment import Experiment
from gptcore.model import GPT2_SIZES, GPTConfig

LARGEST_NUMBER = 999
MEDIUM, LARGE, XL = (GPT2_SIZES[name] for name in ("gpt2-medium (355M)", "gpt2-large (774M)", "gpt2-xl (1558M)"))


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    number: int
    name: str
    experiment: Experiment


ROWS = (
    Row(1, "reference", Experiment()),
    Row(2, "first token", Experiment(trainable_token_pos="first")),
    Row(3, "last layer only", Experiment(trainable_layers="last_layer")),
    Row(4, "last two blocks", Experiment(trainable_layers="last_two_blocks")),
    Row(5, "all layers", Experiment(trainable_layers="all")),
    Row(6, "medium", Experiment(model_size=MEDIUM)),
    Row(7, "large", Experiment(model_size=LARGE)),
    Row(8, "xl", Experiment(model_size=XL)),
    Row(9, "xl, all layers", Experiment(model_size=XL, trainable_layers="all")),
    Row(10, "random weights, all layers", Experiment(weights="random", trainable_layers="all")),
    Row(11, "LoRA", Experiment(trainable_layers="lora", lora_rank=16, lora_alpha=16)),
    Row(12, "xl, LoRA", Experiment(model_size=XL, trainable_layers="lora", lora_rank=16, lora_alpha=8)),
    Row(13, "padded to the full context", Experiment(context_length="model_context_length")),
    Row(14, "no padding", Experiment(no_padding=True, batch_size=1)),
    Row(15, "no padding, accumulation", Experiment(no_padding=True, batch_size=1, accumulation_steps=8)),
    Row(16, "last real token", Experiment(trainable_token_pos="flexible")),
    Row(17, "no causal mask", Experiment(disable_causal_mask=True)),
    Row(18, "ignore_index 50256", Experiment(ignore_index=50256)),
    Row(19, "mean pooling", Experiment(average_embeddings=True)),
)


def find_row(number: int, rows: Sequence[Row] = ROWS) -> Row:
    """The row of a table with this number.  Raises UsageError where it has none."""
    for row in rows:
        if row.number == number:
            return row
    raise UsageError(f"row {number} does not exist: the table has rows {rows[0].number} to {rows[-1].number} (see the command `list`)")


def select_rows(selection: str | None, rows: Sequence[Row] = ROWS) -> tuple[Row, ...]:
    """The rows of a selection such as `1,4-5` or `all`, in the table's order, each once; all without one.  Raises UsageError for anything else."""
    if selection is None or selection == "all":
        return tuple(rows)
    numbers: set[int] = set()
    for part in selection.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not _is_number(first) or (dash and not _is_number(last)) or (dash and int(first) > int(last)):
            raise UsageError(f"--rows {shlex.quote(selection)} is not a selection of rows: write numbers and ranges such as 1,4-5, or all")
        for end in (first, last or first):
            find_row(int(end), rows)
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(row for row in rows if row.number in numbers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 4


def changed_settings(experiment: Experiment, reference: Experiment) -> dict[str, Any]:
    """The settings in which two experiments differ, with the first one's values."""
    return {item.name: getattr(experiment, item.name) for item in fields(Experiment) if getattr(experiment, item.name) != getattr(reference, item.name)}


def published_flags(row: Row, reference: Experiment = Experiment()) -> str:  # noqa: B008 - it is frozen
    """What sets a row apart from another experiment, as flags of `python -m gptcore`."""
    return flags_of(changed_settings(row.experiment, reference))


def flags_of(settings: dict[str, Any]) -> str:
    """Settings as command-line flags, quoted for a shell."""
    words: Sequence[str] = [
        f"--{name}" if value is True else f"--{name} {shlex.quote(value.name if isinstance(value, GPTConfig) else str(value))}"
        for name, value in settings.items()
    ]
    return " ".join(words)
