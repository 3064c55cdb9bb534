"""Which of a row's seeds train together, and so which of them can be had one without the others."""

from collections.abc import Sequence


def parts_of(own: int, n_seeds: int, at_once: int) -> list[tuple[int, ...]]:
    """So many seeds from a row's own upwards: its own alone, then as many at a time as train side by side.

    Bits may depend on who trains beside whom, and never on another part.
    """
    further = range(own + 1, own + n_seeds)
    return [(own,), *(tuple(further[start : start + at_once]) for start in range(0, len(further), at_once))]


def unfinished(missing: Sequence[int]) -> str:
    """The error of a row that lacks seeds."""
    return f"the run ended before the seeds {missing[0]} to {missing[-1]} did: go on with it, or run the row again"
