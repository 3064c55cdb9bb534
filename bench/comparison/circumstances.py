"""What else differs between two sides of a comparison: what forbids to compare their figures, and what a reader should know about them."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.comparison.contrasts import Pair
from bench.environment import Environment
from bench.results import Results, RowResult, RunInfo
from bench.wording import counted
from gptcore.result import Result


def seeds_of(row: RowResult) -> dict[int, Result]:
    """Every seed's figures, the own seed's first."""
    return ({row.seed: row.figures} if row.figures else {}) | row.others


def common_seeds(base: RowResult, head: RowResult) -> list[Pair]:
    """The figures of both sides for every seed that both have."""
    before, after = seeds_of(base), seeds_of(head)
    return [(before[seed], after[seed]) for seed in before if seed in after]


def are_identical(base: RowResult, head: RowResult) -> bool:
    """Whether both sides have common seeds, and bit-identical figures for all of them, those on the way included."""
    pairs = common_seeds(base, head)
    return bool(pairs) and all(_computed(before) == _computed(after) for before, after in pairs)


def have_same_texts(base: RowResult, head: RowResult) -> bool:
    """Whether the figures are of the same texts."""
    sizes = [{split: answers.n for split, answers in figures.answers.items()} for row in (base, head) for figures in seeds_of(row).values()]
    return "data" in base.digests and base.digests["data"] == head.digests.get("data") and all(size == sizes[0] for size in sizes)


def obstacle_to_durations(runs: Sequence[Results]) -> str:
    """Why the durations of these runs may not be compared, empty where all ran on the same kind of processor, each row alone."""
    places = dict.fromkeys(machine_of(run.info.environment) for run in runs)
    if len(places) > 1:
        return f"measured on {' and on '.join(places)}"
    return "" if all(row.alone for run in runs for row in run.rows.values()) else "measured in workers, beside whatever else ran there"


def obstacle_to_memory(runs: Sequence[Results]) -> str:
    """Why the peak memory of these runs may not be compared, empty where it may: a row holds what it shares with the others of its run, too."""
    alike = len({run.info.rows for run in runs}) == 1
    return obstacle_to_durations(runs) or ("" if alike else "measured among other rows, with which it shares memory")


def machine_of(environment: Environment) -> str:
    """What durations depend on besides the code."""
    return f"{environment.machine}, {environment.device_name} ({counted(environment.cores, 'core')}, {counted(environment.threads, 'thread')})"


def notes_on(base: Sequence[Results], head: Sequence[Results], number: int) -> tuple[str, ...]:
    """What a reader should know about a row that all runs have: other inputs, other circumstances, and runs of the same code that disagree."""
    before, after = ([run.rows[number] for run in runs] for runs in (base, head))
    return (*_other_inputs(before[0], after[0]), *_other_circumstances(base[0].info, head[0].info), *_disagreements(before, after))


def _computed(figures: Result) -> tuple[Any, ...]:
    """All that does not depend on the clock."""
    return figures.history, figures.epoch_accuracies, figures.answers, figures.margins, figures.fingerprint


def _other_inputs(base: RowResult, head: RowResult) -> Iterator[str]:
    """The components that figures depend on and that differ, of the settings which."""
    for component in base.digests | head.digests:
        if base.digests.get(component) != head.digests.get(component):
            which = _differing(base.settings, head.settings) if component == "settings" else ""
            yield f"other {component} ({which})" if which else f"other {component}"


def _other_circumstances(base: RunInfo, head: RunInfo) -> Iterator[str]:
    """What differs in how and where both sides ran."""
    which = _differing(_circumstances(base), _circumstances(head))
    if which:
        yield f"other circumstances ({which})"


def _circumstances(info: RunInfo) -> dict[str, Any]:
    environment = info.environment
    return {
        "device": environment.device_name,
        "threads": environment.threads,
        "CPU capability": environment.cpu_capability,
        "way of computing": "plain" if info.plain else "fast",
        "python": environment.python,
        **environment.packages,
    }


def _disagreements(before: Sequence[RowResult], after: Sequence[RowResult]) -> Iterator[str]:
    """The sides whose runs, though of the same code, have different figures."""
    for side, rows in (("BASE", before), ("HEAD", after)):
        if not all(are_identical(rows[0], row) for row in rows):
            yield f"the runs of {side} disagree among themselves, and the first is compared"


def _differing(base: dict[str, Any], head: dict[str, Any]) -> str:
    """What differs, by name with both values."""
    return ", ".join(f"{name}: {base.get(name)} and {head.get(name)}" for name in base | head if base.get(name) != head.get(name))
