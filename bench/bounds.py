"""How large the numbers in our files may be, and what their texts must look like: what passes can be counted with, drawn and judged by."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bench.rows import LARGEST_NUMBER
from gptcore.dataset import SPLITS
from gptcore.experiment import LARGEST_INTEGER, PRECISIONS
from gptcore.packing import unpack_floats
from gptcore.result import Result

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
TIER_NAME = "^[a-z][a-z0-9_-]*$"
DIGEST = "[0-9a-f]{64}"
MOST_TEXTS = 1_000_000
LARGEST = 1e30  # so that squares and sums stay finite
SMALLEST = 1e-30
WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{,18}")


def _read_key(key: Any) -> Any:
    if not isinstance(key, str):
        return key
    if not WHOLE_NUMBER.fullmatch(key):  # else 1 and 01 would be one row, and one of the two lost
        raise ValueError("a whole number as a key has digits alone, and no zero before them")
    return int(key)


def _check_date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _check_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]:g} to {ends[1]:g} is no range: the lower end comes first")
    return ends


def _check_rows(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError("the rows of a run are in order, each once")
    return numbers


TierName = Annotated[str, Field(pattern=TIER_NAME)]
RowNumber = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
RowKey = Annotated[RowNumber, BeforeValidator(_read_key)]
RowNumbers = Annotated[tuple[RowNumber, ...], Field(min_length=1), AfterValidator(_check_rows)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
SeedKey = Annotated[Seed, BeforeValidator(_read_key)]
Bytes = Annotated[int, Field(gt=0, le=LARGEST_INTEGER)]
Digest = Annotated[str, Field(pattern=f"^{DIGEST}$")]
Precision = Annotated[str, Field(pattern=f"^({'|'.join(PRECISIONS)})$")]
Date = Annotated[str, AfterValidator(_check_date)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Width = Annotated[float, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=SMALLEST, le=LARGEST)]
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], int], AfterValidator(_check_order)]
Range = Annotated[tuple[float, float], AfterValidator(_check_order)]
Factors = Annotated[tuple[Annotated[float, Field(ge=0)], float], AfterValidator(_check_order)]


def _check_figures(figures: Result) -> Result:
    """What no training gives, whatever it was asked, is refused."""
    if not (SMALLEST < figures.train_seconds <= LARGEST and figures.real_seconds <= LARGEST):
        raise ValueError(f"a training that took {figures.train_seconds:g} s, {figures.real_seconds:g} s of them this time, is none")
    measured = (number for evaluation in figures.history for number in (evaluation.train_loss, evaluation.validation_loss, evaluation.gradient_norm))
    margins = (margin for split in SPLITS for margin in figures.margins[split])
    others = (*figures.fingerprint.first_logits, figures.fingerprint.weight_norm, *unpack_floats(figures.attestation.batch_losses))
    if not all(abs(number) <= LARGEST for numbers in (measured, margins, others) for number in numbers):
        raise ValueError(f"a number is none, or beyond {LARGEST:g}")
    if not all(0 <= share <= 1 for epoch in figures.epoch_accuracies for share in (epoch.train_accuracy, epoch.validation_accuracy)):
        raise ValueError("an accuracy is no share")
    places = [one for event in figures.history for one in (event.epoch, event.step)] + [epoch.epoch for epoch in figures.epoch_accuracies]
    whole = [*places, figures.fingerprint.trained_parameters, *((figures.frozen.blocks, figures.frozen.bytes) if figures.frozen else ())]
    if not all(0 <= number <= LARGEST_INTEGER for number in whole):
        raise ValueError(f"a whole number is below 0 or beyond {LARGEST_INTEGER}")
    return figures


Figures = Annotated[Result, AfterValidator(_check_figures)]
