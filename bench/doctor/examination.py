"""All that the doctor looks at."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.doctor.files import caches_can_be_written, data_is_here, no_other_process_works, vocabulary_is_here, weights_are_here
from bench.doctor.finding import Finding, State, Visit, examine
from bench.doctor.machine import clock_is_right, device_computes, disk_suffices, machine_is_idle, memory_suffices
from bench.doctor.options import request_is_possible, results_are_new, rows_can_run_there
from bench.doctor.prognosis import Prognosis, durations_are_known, prognoses
from bench.doctor.software import settings_move_no_figure, threads_are_the_recorded_ones, versions_are_supported, versions_are_the_recorded_ones
from bench.expectations import Expectations
from bench.folders import default_folder
from bench.request import Request
from gptcore.device import pick_device
from gptcore.errors import UserError

LOOKS = (
    request_is_possible,
    results_are_new,
    rows_can_run_there,
    device_computes,
    memory_suffices,
    durations_are_known,
    disk_suffices,
    caches_can_be_written,
    data_is_here,
    vocabulary_is_here,
    weights_are_here,
    versions_are_supported,
    versions_are_the_recorded_ones,
    settings_move_no_figure,
    threads_are_the_recorded_ones,
    clock_is_right,
    machine_is_idle,
    no_other_process_works,
)


@dataclass(frozen=True)
class Examination:
    """asked: the rows that were asked for."""

    asked: tuple[int, ...]
    findings: tuple[Finding, ...]
    prognoses: tuple[Prognosis, ...]

    @property
    def stopped(self) -> list[int]:
        """The rows that cannot run."""
        problems = [finding for finding in self.findings if finding.state is State.PROBLEM]
        return sorted({row for finding in problems for row in finding.rows or self.asked})


def device_or_finding(name: str) -> tuple[torch.device, Sequence[Finding]]:
    """The device by name; where this machine lacks it, the CPU, so that all else can be looked at, and what is to say of it."""
    try:
        return pick_device(name), ()
    except UserError as error:
        return torch.device("cpu"), (Finding("device", State.PROBLEM, str(error)),)


def examination(request: Request, expectations: Expectations, out: Path | None, known: Sequence[Finding] = ()) -> Examination:
    """Everything that can be told of a request on this machine, beside what is known already."""
    visit = Visit(request, expectations, out or default_folder(request.tier.name))
    told = {finding.about for finding in known}
    findings = (*known, *(finding for finding in examine(visit, LOOKS) if finding.about not in told))
    expected: list[Prognosis] = []
    with suppress(Exception):  # what is wrong with them a look has told
        expected = [*prognoses(visit)]
    return Examination(tuple(row.number for row in request.rows), findings, tuple(expected))
