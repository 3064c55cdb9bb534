"""What was looked at, how it stands, and what to do about it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import torch

from bench.expectations import Expectations
from bench.request import Request
from bench.results import RunInfo
from bench.rows import Row
from bench.run import describe_run
from gptcore.errors import UserError
from gptcore.experiment import Experiment


class State(StrEnum):
    """A problem keeps rows from running; a warning does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, in one sentence with the remedy.  rows: those that a problem keeps from running; none: all of them."""

    about: str
    state: State
    sentence: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Visit:
    """What is asked of the machine.  folder: where results will go."""

    request: Request
    expectations: Expectations
    folder: Path

    @property
    def device(self) -> torch.device:
        """The device that will compute."""
        return self.request.device

    @cached_property
    def info(self) -> RunInfo:
        """What a run would say of itself, with the pace of the machine."""
        return describe_run(self.request)

    def experiments(self) -> list[tuple[Row, Experiment]]:
        """The rows and what runs for them."""
        return [(row, self.request.experiment_of(row)) for row in self.request.rows]


Look = Callable[[Visit], Iterator[Finding]]


def examine(visit: Visit, looks: Sequence[Look]) -> list[Finding]:
    """What all looks find.  One that breaks is a finding, too: a machine that cannot be looked at is not well."""
    return [finding for look in looks for finding in findings_of(look, visit)]


def findings_of(look: Look, visit: Visit) -> list[Finding]:
    """What one look finds, and what broke it."""
    found: list[Finding] = []
    try:
        found.extend(look(visit))
    except UserError as error:
        found.append(Finding(subject_of(look), State.PROBLEM, str(error)))
    except Exception as error:  # noqa: BLE001 - whatever breaks a look must not keep the others from being told
        found.append(Finding(subject_of(look), State.PROBLEM, f"could not be looked at ({type(error).__name__}: {error}): mend that and ask again"))
    return found


def subject_of(look: Look) -> str:
    """What a look is about, as its description begins."""
    return (look.__doc__ or look.__name__).partition(":")[0]
