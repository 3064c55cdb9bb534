"""What to expect of each row on this machine: memory and time."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.doctor.finding import Finding, State, Visit
from bench.estimates import estimate_row
from bench.speed.published import longest_of
from bench.wording import counted, duration, rows_named
from gptcore.out_of_memory import needed_memory


@dataclass(frozen=True)
class Prognosis:
    """One row.  memory: bytes it needs at least.  seconds: of its training alone and from cold, None where nothing tells.  basis: where those come from."""

    row: int
    name: str
    memory: int
    seconds: float | None
    basis: str


def durations_are_known(visit: Visit) -> Iterator[Finding]:
    """durations: what all rows may take."""
    expected = [*prognoses(visit)]
    unknown = [row.row for row in expected if row.seconds is None]
    total = duration(sum(row.seconds or 0.0 for row in expected) * visit.request.n_seeds)
    seeds = f" with {counted(visit.request.n_seeds, 'seed')}, one after another" if visit.request.n_seeds > 1 else ""
    if len(unknown) == len(expected):
        yield Finding("durations", State.WARNING, "nothing tells what these rows take here: run a short one first, such as --rows 3")
    else:
        besides = f", without {rows_named(unknown)}, of which nothing is known" if unknown else ""
        yield Finding("durations", State.OK, f"about {total} for training from cold{seeds}{besides}; what rows share makes it less")


def prognoses(visit: Visit) -> Iterator[Prognosis]:
    """Every row that is asked for."""
    for row, experiment in visit.experiments():
        estimate = estimate_row(row.number, visit.info, visit.expectations)
        memory = needed_memory(experiment, longest_of(experiment))
        yield Prognosis(row.number, row.name, memory, estimate.seconds if estimate else None, estimate.basis if estimate else "nothing recorded")
