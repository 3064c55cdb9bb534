"""What rows read and where things are kept: data, vocabulary, weights, caches, and locks of other processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub import constants
from safetensors import SafetensorError, safe_open

from bench.doctor.finding import Finding, State, Visit
from bench.doctor.machine import can_write
from bench.wording import row_ranges
from gptcore.assets import assets_folder, verified
from gptcore.dataset import read_csv_folder
from gptcore.errors import AssetError, UserError
from gptcore.hub import PINNED_WEIGHTS
from gptcore.inputs import Sources
from gptcore.model import GPTConfig
from gptcore.sms import ARCHIVE, MEMBER, MEMBER_SHA256
from gptcore.state_cache import default_folder as states_folder
from gptcore.tokenizer import vocabulary_at_hand
from gptcore.weights import pretrained_at_hand


def caches_can_be_written(visit: Visit) -> Iterator[Finding]:
    """folders: whether results, assets, weights and frozen states can be written."""
    folders: dict[str, tuple[Callable[[], Path], str, State]] = {
        "results": (lambda: visit.folder, "name another folder with --out", State.PROBLEM),
        "frozen states": (states_folder, "name another one in GPTCORE_STATE_CACHE, else states that memory does not hold are computed again", State.WARNING),
    }
    if visit.request.tier.takes_sources:
        folders |= {
            "assets": (assets_folder, "name another one in GPTCORE_ASSETS if anything has to be downloaded", State.WARNING),
            "weights": (lambda: Path(constants.HF_HUB_CACHE), "name another one in HF_HUB_CACHE if weights have to be downloaded", State.WARNING),
        }
    refused = []
    for what, (place, remedy, state) in folders.items():
        try:
            folder = place()
            reason = can_write(folder)
        except (UserError, RuntimeError, OSError) as error:  # no home folder
            folder, reason = Path("the folder"), str(error)
        if reason:
            refused.append(what)
            yield Finding(f"folders: {what}", state, f"{folder} cannot be written ({reason}): {remedy}")
    if len(refused) < len(folders):
        yield Finding("folders", State.OK, f"can be written: {', '.join(what for what in folders if what not in refused)}")


def data_is_here(visit: Visit) -> Iterator[Finding]:
    """data: present and intact."""
    if not visit.request.tier.takes_sources:
        for _, experiment in visit.experiments():
            visit.request.tier.gather(experiment, Sources())
        yield Finding("data", State.OK, f"the {visit.request.tier.name} tier carries its own texts, vocabulary and weights, and all can be read")
        return
    if folder := visit.request.sources.data:
        dataset = read_csv_folder(folder)
        yield Finding("data", State.OK, f"{folder} holds {' / '.join(str(len(split)) for split in dataset.splits.values())} texts; figures are not compared")
        return
    collection, archive = assets_folder() / "sms" / MEMBER, assets_folder() / ARCHIVE.place
    if collection.exists():
        verified(collection, MEMBER_SHA256)
        yield Finding("data", State.OK, f"{collection} is the published collection")
    elif archive.exists():
        verified(archive, ARCHIVE.sha256)
        yield Finding("data", State.OK, f"{archive} is the published archive; the first run takes the collection out of it")
    else:
        yield missing("data", f"the SMS collection is not in {assets_folder()}", visit)


def vocabulary_is_here(visit: Visit) -> Iterator[Finding]:
    """vocabulary: present and intact."""
    if visit.request.tier.takes_sources:
        found = vocabulary_at_hand(visit.request.sources.tokenizer)
        if found:
            yield Finding("vocabulary", State.OK, f"{found} is GPT-2's")
        else:
            yield missing("vocabulary", f"GPT-2's encoder.json is not in {visit.request.sources.tokenizer or assets_folder()}", visit)


def weights_are_here(visit: Visit) -> Iterator[Finding]:
    """weights: of each size that rows need, present and intact."""
    if not visit.request.tier.takes_sources:
        return
    folder = visit.request.sources.with_environment().weights
    sizes: dict[GPTConfig, list[int]] = {}
    for row, experiment in visit.experiments():
        if experiment.weights == "pretrained":
            sizes.setdefault(experiment.model_size, []).append(row.number)
    for size, rows in sizes.items():
        about = f"weights: {size.name}"
        try:
            found = pretrained_at_hand(size, folder)
        except AssetError as error:
            yield Finding(about, State.PROBLEM, str(error), tuple(rows))
            continue
        if found is None:
            yield missing(about, f"{PINNED_WEIGHTS[size.name].repository} is not in {constants.HF_HUB_CACHE}", visit, tuple(rows))
        elif problem := unreadable(found):
            yield Finding(about, State.PROBLEM, f"{found} is no readable safetensors file ({problem}): replace it, or run `python -m bench fetch`", tuple(rows))
        else:
            yield Finding(about, State.OK, f"{found} {'is used as it is' if folder else 'is the pinned file'}")


def unreadable(path: Path) -> str | None:
    """What is wrong with a safetensors file, as far as its header tells; None where nothing is."""
    try:
        with safe_open(path, framework="pt") as file:
            return None if list(file.keys()) else "it holds no tensors"
    except (SafetensorError, OSError) as error:
        return str(error)


def missing(about: str, sentence: str, visit: Visit, rows: tuple[int, ...] = ()) -> Finding:
    """What is to be said of a file that would have to be downloaded."""
    selection = row_ranges(rows or [row.number for row in visit.request.rows])
    offline = "HF_HUB_OFFLINE is set; " if about.startswith("weights") and constants.HF_HUB_OFFLINE else ""
    remedy = f"run `python -m bench fetch --tier {visit.request.tier.name} --rows {selection}` where there is a network, or copy it there"
    return Finding(about, State.PROBLEM, f"{sentence} and would have to be downloaded: {offline}{remedy}", rows)


def no_other_process_works(visit: Visit) -> Iterator[Finding]:
    """locks: whether another process is at work in the same folders."""
    places = [visit.folder / ".lock"]
    if visit.request.tier.takes_sources:
        hub = Path(constants.HF_HUB_CACHE) / ".locks"
        places += [*hidden_locks(assets_folder() / "sms"), *hidden_locks(assets_folder() / "tiktoken"), *(hub.glob("gptcore-*.lock") if hub.is_dir() else ())]
    taken = [place for place in places if is_held(place)]
    for place in taken:
        yield Finding("locks", State.WARNING, f"another process holds {place}: a run here waits until that one ends")
    if not taken:
        yield Finding("locks", State.OK, "no other process is at work in these folders")


def hidden_locks(folder: Path) -> Iterator[Path]:
    """The lock files of downloads into a folder."""
    return folder.glob(".*.lock") if folder.is_dir() else iter(())


def is_held(place: Path) -> bool:
    """Whether another process holds a lock; nothing is made where there is none."""
    if not place.is_file() or not os.access(place, os.W_OK):
        return False
    lock = FileLock(place)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
