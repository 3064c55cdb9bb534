"""Bringing everything that rows read to this machine ahead of time, so that a run needs no network."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from bench.request import Request
from gptcore.dataset import read_csv_folder
from gptcore.download import Progress
from gptcore.errors import UserError
from gptcore.model import GPTConfig
from gptcore.sms import find_collection
from gptcore.tokenizer import find_gpt2_vocabulary
from gptcore.weights import find_pretrained

Bring = Callable[[Progress], Path]


@dataclass(frozen=True)
class Wanted:
    """One thing that rows read.  bring: finds it here, or downloads it, and verifies it; its progress hears of a download only."""

    about: str
    rows: tuple[int, ...]
    bring: Bring


@dataclass(frozen=True)
class Brought:
    """What came of one thing.  path: where it lies.  size: bytes; None for a folder of the person's own.  problem: why it is missing."""

    about: str
    rows: tuple[int, ...]
    state: Literal["present", "fetched", "missing"]
    path: str | None
    size: int | None
    problem: str | None


def wanted(request: Request) -> list[Wanted]:
    """All that the rows of a request read from outside, the small first; nothing for a tier that carries its own."""
    if not request.tier.takes_sources:
        return []
    sources = request.sources if request.timing_only else request.sources.with_environment()
    rows = tuple(row.number for row in request.rows)
    sizes: dict[GPTConfig, list[int]] = {}
    for row in request.rows:
        experiment = request.experiment_of(row)
        if experiment.weights == "pretrained":
            sizes.setdefault(experiment.model_size, []).append(row.number)
    return [
        Wanted("data", rows, partial(named_data, sources.data) if sources.data else find_collection),
        Wanted("vocabulary", rows, partial(find_gpt2_vocabulary, sources.tokenizer)),
        *(
            Wanted(f"weights: {size.name}", tuple(sizes[size]), partial(find_pretrained, size, sources.weights))
            for size in sorted(sizes, key=lambda size: size.n_layer)
        ),
    ]


def named_data(folder: Path, progress: Progress) -> Path:  # noqa: ARG001 - everything is brought the same way
    """A person's own folder of texts.  Raises UserError where it is none."""
    read_csv_folder(folder)
    return folder


def bring_all(things: Iterable[Wanted], watch: Callable[[Wanted], Progress]) -> Iterator[Brought]:
    """Bring one thing after the other; one that cannot be had keeps none of the others away.  watch: called as each begins, for what hears of its download."""
    for thing in things:
        yield bring(thing, watch(thing))


def bring(thing: Wanted, progress: Progress) -> Brought:
    """Bring one thing."""
    heard: list[int] = []

    def hear(done: int, total: int) -> None:
        heard[:] = [total]
        progress(done, total)

    try:
        path = thing.bring(hear)
        size = path.stat().st_size if path.is_file() else None
    except UserError as error:
        return Brought(thing.about, thing.rows, "missing", None, None, str(error))
    return Brought(thing.about, thing.rows, "fetched" if heard else "present", str(path), size, None)
