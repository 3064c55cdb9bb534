"""Is a result what its code, inputs and machine give?  Its rows run again, and every bit is held against what was attested."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.environment import describe_environment, differences
from bench.recording.baselines import repeatable_figures
from bench.request import Request
from bench.results import Results, ResultsError, RowResult, read_results
from bench.resuming import request_of
from bench.rows import Row
from bench.run import compute_row, plan_of
from bench.stopping import resuming_command
from bench.suite import PUBLISHED, Suite
from gptcore.dataset import SplitName
from gptcore.execution import set_threads
from gptcore.packing import unpack_floats
from gptcore.result import Result


@dataclass(frozen=True)
class SeedVerification:
    """One seed of a row against its rerun.

    identical: weights, logits, the loss of every batch and all figures agree bit for bit.
    first_step: of the first batch whose loss differs, from 0, None where none does.
    losses, margins: the furthest that a batch's loss and a text's margin lie apart.  flipped: how many answers, over all splits, are others.
    """

    seed: int
    identical: bool
    first_step: int | None = None
    losses: float = 0.0
    margins: float = 0.0
    flipped: int = 0


@dataclass(frozen=True)
class RowVerification:
    """A row's seeds, or in `obstacle` why there is nothing to compare."""

    row: int
    name: str
    seeds: tuple[SeedVerification, ...]
    obstacle: str = ""

    @property
    def identical(self) -> bool:
        """Whether every bit of every seed is the same."""
        return not self.obstacle and all(seed.identical for seed in self.seeds)


@dataclass(frozen=True)
class Rerun:
    """A folder's results, what to run of them again, and what is not as it was when they came about."""

    results: Results
    request: Request
    rows: tuple[Row, ...]
    changes: tuple[str, ...]


def prepare(folder: Path, rows: Sequence[Row] | None, suite: Suite = PUBLISHED) -> Rerun:
    """Get ready to run some rows of a folder again, by default all that it holds.

    Raises UserError where the folder lacks one of them or holds none, or its run cannot be had here.
    """
    results = read_results(folder)
    request = request_of(results.info, folder, suite)
    chosen = tuple(row for row in request.rows if row.number in results.rows and (rows is None or row in rows))
    if not results.rows:
        raise ResultsError(f"{folder} holds no row yet: go on with {resuming_command(folder, suite.command)}, then verify it")
    if absent := [row.number for row in rows or () if row.number not in results.rows]:
        raise ResultsError(f"{folder} holds no row {absent[0]}: it holds {', '.join(map(str, results.rows))}; name one of those with --rows")
    set_threads(request.threads, request.tier.threads)
    return Rerun(results, request, chosen, tuple(differences(results.info.environment, describe_environment(request.device, suite.folder))))


def verify(rerun: Rerun) -> Iterator[RowVerification]:
    """Every chosen row, run again with the same rows planned beside it, since last bits depend on which share a pass."""
    plan = plan_of(rerun.request)
    for row in rerun.rows:
        *_, again = compute_row(row, rerun.request, None, None, plan)
        yield compare(rerun.results.rows[row.number], again)


def compare(before: RowResult, after: RowResult) -> RowVerification:
    """A row against its rerun."""

    def obstructed(why: str) -> RowVerification:
        return RowVerification(before.row, before.name, (), why)

    if changed := [name for name in sorted(before.digests | after.digests) if before.digests.get(name) != after.digests.get(name)]:
        return obstructed(f"its {' and '.join(changed)} changed since, so it is another experiment")
    if before.error or before.figures is None:
        return obstructed(f"it failed the first time ({before.failure})")
    if after.error or after.figures is None:
        return obstructed(f"it fails now ({after.failure})")
    if before.others.keys() != after.others.keys():
        return obstructed("it holds other seeds than its run was asked for")
    pairs = {before.seed: (before.figures, after.figures)} | {seed: (figures, after.others[seed]) for seed, figures in before.others.items()}
    if any(extent_of(one) != extent_of(other) for one, other in pairs.values()):
        return obstructed("it holds figures of other texts or steps than its experiment has")
    return RowVerification(before.row, before.name, tuple(compare_seed(seed, *pair) for seed, pair in pairs.items()))


def extent_of(figures: Result) -> tuple[int, dict[SplitName, tuple[int, int]]]:
    """Of how many steps figures are, and of how many texts in each split."""
    n_texts = {split: (answers.n, len(figures.margins.get(split, ()))) for split, answers in figures.answers.items()}
    return len(unpack_floats(figures.attestation.batch_losses)), n_texts


def compare_seed(seed: int, before: Result, after: Result) -> SeedVerification:
    """One seed's figures against those of its rerun."""
    if repeatable_figures(before) == repeatable_figures(after):
        return SeedVerification(seed, identical=True)
    old, new = (unpack_floats(figures.attestation.batch_losses) for figures in (before, after))
    apart = [abs(one - other) for one, other in zip(old, new, strict=True)]
    margins = [abs(one - other) for split, values in before.margins.items() for one, other in zip(values, after.margins[split], strict=True)]
    return SeedVerification(
        seed,
        identical=False,
        first_step=next((step for step, distance in enumerate(apart) if distance), None),
        losses=max(apart, default=0.0),
        margins=max(margins, default=0.0),
        flipped=sum(
            one != other for split, answers in before.answers.items() for one, other in zip(answers.is_right(), after.answers[split].is_right(), strict=True)
        ),
    )
