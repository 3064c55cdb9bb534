"""The machine itself: device, memory, disk, clock, and what else keeps it busy."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch
from huggingface_hub import constants

from bench.doctor.finding import Finding, State, Visit
from bench.speed.published import longest_of
from bench.wording import counted, rows_named
from gptcore.device import allowed_cores, name_device
from gptcore.experiment import Experiment
from gptcore.features import DISK_RESERVE
from gptcore.freezing import frozen_blocks
from gptcore.hub import PINNED_WEIGHTS, cached_pretrained
from gptcore.memory import free_memory, in_words, total_memory
from gptcore.out_of_memory import needed_memory
from gptcore.state_cache import default_folder as states_folder
from gptcore.weights import published_bytes

# Of the published data; where others are named they are close enough for an estimate.
N_TEXTS = 1494
RESULTS_OF_A_ROW = 2**20
BUSY = 0.5  # load for each core that other programs may bring before durations suffer
CLOCK_SLACK = 2 * 86400


def device_computes(visit: Visit) -> Iterator[Finding]:
    """device: whether it adds up."""
    ones = torch.ones(64, 64, device=visit.device)
    if float((ones @ ones).sum()) != 64.0**3:
        yield Finding("device", State.PROBLEM, f"{visit.device} multiplies matrices wrongly: restart the machine, and choose another --device if that lasts")
        return
    cores = f", {counted(allowed_cores(), 'core')} usable" if visit.device.type == "cpu" else ""
    yield Finding("device", State.OK, f"{visit.device}: {name_device(visit.device)}{cores}")


def memory_suffices(visit: Visit) -> Iterator[Finding]:
    """memory: what each row needs at least, beside what there is."""
    needs = {row.number: needed_memory(experiment, longest_of(experiment)) for row, experiment in visit.experiments()}
    total, free = total_memory(visit.device), free_memory(visit.device)
    there = f"{visit.device} has {in_words(total) if total else 'an unknown amount'} in all, {in_words(free)} of them free"
    most = max(needs.values())
    if impossible := [row for row, need in needs.items() if total and need > total]:
        least = min(needs[row] for row in impossible)
        remedy = f"leave {rows_named(impossible)} out, or use a larger device"
        yield Finding("memory", State.PROBLEM, f"{in_words(least)} at least for {rows_named(impossible)}, and {there}: {remedy}", tuple(impossible))
    tight = [row for row, need in needs.items() if need > free and row not in impossible]
    if tight:
        largest = max(needs[row] for row in tight)
        yield Finding("memory", State.WARNING, f"up to {in_words(largest)} for {rows_named(tight)}, and {there}: end other programs")
    if most <= free:
        yield Finding("memory", State.OK, f"the largest row needs at least {in_words(most)}; {there}")


def disk_suffices(visit: Visit) -> Iterator[Finding]:
    """disk: room for results with their checkpoints, and for frozen states that memory does not hold."""
    experiments = visit.experiments()
    unfrozen = [needed_memory(experiment) for _, experiment in experiments if not frozen_blocks(experiment)]
    checkpoint = max(unfrozen, default=0)  # weights and AdamW's two numbers for each, and no gradient: at most this
    yield room("results and checkpoints", visit.folder, len(experiments) * RESULTS_OF_A_ROW + 2 * checkpoint, "name a folder on another disk with --out")
    wanted = {experiment.model_size for _, experiment in experiments if experiment.weights == "pretrained"} if visit.request.tier.takes_sources else set()
    if not visit.request.sources.weights and (absent := [size for size in wanted if not cached_pretrained(PINNED_WEIGHTS[size.name])]):
        remedy = "make room, or name a folder on another disk in HF_HUB_CACHE"
        yield room("weights", Path(constants.HF_HUB_CACHE), sum(map(published_bytes, absent)), remedy)
    if states := max(states_of(experiment) for _, experiment in experiments):
        budget = visit.request.execution.memory_budget
        kept_in_memory = free_memory(visit.device) // 2 if budget is None else budget
        if states <= kept_in_memory:
            yield Finding("disk: frozen states", State.OK, f"the largest, {in_words(states)} at most, stay in memory")
        else:
            remedy = "make room, or name a folder on another disk in GPTCORE_STATE_CACHE; without it they are computed again for every batch"
            yield room("frozen states", states_folder(), states + DISK_RESERVE, remedy, State.WARNING)


def room(what: str, folder: Path, needed: int, remedy: str, otherwise: State = State.PROBLEM) -> Finding:
    """Whether a folder's disk has so many bytes free."""
    free = shutil.disk_usage(existing(folder)).free
    if free < needed:
        return Finding(f"disk: {what}", otherwise, f"{folder} has {in_words(free)} free and {in_words(needed)} may be needed: {remedy}")
    return Finding(f"disk: {what}", State.OK, f"{in_words(free)} free at {folder}, {in_words(needed)} needed at most")


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    folder = folder.expanduser().absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def can_write(folder: Path) -> str | None:
    """Why no file can be made in a folder, or in the nearest one above that exists; None where one can."""
    try:
        with tempfile.TemporaryFile(dir=existing(folder)):
            return None
    except OSError as error:
        return error.strerror or str(error)


def states_of(experiment: Experiment) -> int:
    """Bytes of an experiment's frozen states, at most."""
    return bool(frozen_blocks(experiment)) * N_TEXTS * longest_of(experiment) * experiment.model_size.width * torch.float32.itemsize


def clock_is_right(visit: Visit) -> Iterator[Finding]:
    """clock: results are named and ordered by it."""
    now = datetime.now(UTC)
    of_tiers = visit.expectations.baselines.values()
    recorded = [baseline.provenance.date for kinds in of_tiers for baselines in kinds.values() for baseline in baselines.values()]
    newest = max(map(datetime.fromisoformat, recorded), default=now)
    resolution = time.get_clock_info("perf_counter").resolution
    if (newest - now).total_seconds() > CLOCK_SLACK:
        yield Finding("clock", State.WARNING, f"it says {now:%Y-%m-%d}, and baselines were recorded on {newest:%Y-%m-%d}: set it, results are named by it")
    elif resolution > 1e-3:
        yield Finding("clock", State.WARNING, f"it ticks every {resolution:g} s: durations of short rows will be rough")
    else:
        yield Finding("clock", State.OK, f"it says {now:%Y-%m-%d %H:%M} UTC")


def machine_is_idle(visit: Visit) -> Iterator[Finding]:
    """load: what other programs take is missing in durations."""
    if visit.device.type == "cuda":
        taken = 1 - free_memory(visit.device) / (total_memory(visit.device) or 1)
        if taken > 0.1:
            yield Finding("load", State.WARNING, f"other programs hold {taken:.0%} of {visit.device}'s memory: durations may come out longer; end them")
            return
    if hasattr(os, "getloadavg"):
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        if load > BUSY * cores:
            yield Finding(
                "load", State.WARNING, f"{load:.1f} programs compete for {counted(cores, 'core')}: durations will come out longer; wait for them, or end them"
            )
            return
        yield Finding("load", State.OK, f"{load:.1f} programs on {counted(cores, 'core')} in the last minute")
