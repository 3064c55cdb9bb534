"""What a verification found, in sentences."""

from collections.abc import Sequence

from bench.verification import RowVerification, SeedVerification
from bench.wording import share


def verification_line(verified: RowVerification) -> str:
    """One row in a sentence, its worst seed standing for all."""
    start = f"row {verified.row} ({verified.name}): "
    if verified.obstacle:
        return f"{start}not verified, {verified.obstacle}"
    n_seeds = f", all {len(verified.seeds)} seeds" if len(verified.seeds) > 1 else ""
    if verified.identical:
        return f"{start}bit-identical{n_seeds}: weights, logits and the loss of every batch"
    moved = [seed for seed in verified.seeds if not seed.identical]
    of_seeds = f"{share(len(moved), len(verified.seeds), 'seed', ('moved', 'moved'))}; " if len(verified.seeds) > 1 else ""
    return start + of_seeds + how_far(max(moved, key=lambda seed: (seed.flipped, seed.margins, seed.losses)))


def how_far(seed: SeedVerification) -> str:
    """How far one seed's rerun lies from its record, and since when."""
    since = "every loss agrees" if seed.first_step is None else f"losses part at step {seed.first_step} and lie up to {seed.losses:.2g} apart"
    return f"not identical, seed {seed.seed}: {since}; margins of texts lie up to {seed.margins:.2g} apart; answers that flipped: {seed.flipped}"


def verification_summary(verified: Sequence[RowVerification], changes: Sequence[str]) -> str:
    """How many rows are bit-identical, and what may explain those that are not."""
    identical = sum(row.identical for row in verified)
    said = f"{share(identical, len(verified), 'row', ('is', 'are'))} bit-identical"
    if identical == len(verified):
        return said
    here = f"this is not where they came about ({'; '.join(changes)}), where only the numerical band is promised" if changes else ""
    return f"{said}; {here or 'code, versions, threads and machine are the same, so they should be'}"
