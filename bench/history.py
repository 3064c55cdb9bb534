"""Many results folders in order of time: how accuracy and duration of each row went from commit to commit, and where they changed.

Figures meet only where all that they depend on is the same: runs are grouped by tier, machine and way of computing, and inside a group every row has a
series for each set of digests and seeds.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log
from pathlib import Path
from statistics import fmean, median

from bench.comparison.circumstances import machine_of, seeds_of
from bench.comparison.contrasts import CLOCK
from bench.comparison.revisions import RevisionError, git
from bench.expectations import Expectations
from bench.results import RUN_FILE, Results, ResultsError, RowResult, RunInfo, read_results
from bench.statistics import change_points
from gptcore.dataset import SPLITS, SplitName

LEVEL = 0.01  # of groups in which nothing changed, this share may show a change, all rows and both metrics together
SHORTEST = 3  # runs on either side of a change: one or two slow ones are none
ACCURACY, DURATION = METRICS = ("test_accuracy", "duration")


@dataclass(frozen=True)
class Run:
    """One results folder.  folder: relative to the one that was searched.  code: its digest.  subject: of the commit, empty where no repository knows it."""

    folder: str
    commit: str
    dirty: bool
    code: str
    date: str
    packages: Mapping[str, str]
    calibration_seconds: float
    subject: str = ""


@dataclass(frozen=True)
class Point:
    """What one run gave for a row: accuracies as fractions, means over its seeds, empty where time alone was asked for; and what the row costs alone."""

    run: Run
    accuracies: Mapping[SplitName, float]
    seconds: float


@dataclass(frozen=True)
class Change:
    """A metric's mean over the runs before a point and over those from it on, up to the next change; of seconds geometric means.

    index: of the first point after it.  p: corrected for the places tried.  besides: packages whose version changed there, too.
    """

    metric: str
    index: int
    before: float
    after: float
    p: float
    besides: str


@dataclass(frozen=True)
class Series:
    """One row with the same inputs and seeds throughout.  variant: what tells it from other series of the row, where there are several."""

    row: int
    name: str
    digests: Mapping[str, str]
    seeds: tuple[int, ...]
    n_texts: int
    points: tuple[Point, ...]
    changes: tuple[Change, ...] = ()
    variant: str = ""


@dataclass(frozen=True)
class Group:
    """What may be compared.  level: of the test of each series and metric.  pace: seconds of the calibration that durations are told at, None for real ones."""

    title: str
    runs: tuple[Run, ...]
    series: tuple[Series, ...]
    level: float
    pace: float | None
    failed: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """All groups, how their runs are ordered, and a sentence for every folder that could not be read."""

    groups: tuple[Group, ...]
    order: str
    skipped: tuple[str, ...]


def read_history(folder: Path, expectations: Expectations, repository: Path | None = None) -> History:
    """Every results folder below `folder` of a tier that is expected something of.  Raises ResultsError where it holds none that can be read.

    repository: any folder inside the git repository that may know the commits, by default the current one.
    """
    found, skipped = {}, []
    for place in results_folders(folder):
        try:
            results = read_results(place)
        except ResultsError as error:
            skipped.append(str(error))
            continue
        if (tier := results.info.tier) in expectations.policies:
            found[place] = results
        else:
            skipped.append(f"{place} is of the {tier} tier, of which the file of expectations says nothing: look at it with the commands of its own suite")
    if not found:
        unread = f" that can be read (the first problem: {skipped[0]})" if skipped else ""
        raise ResultsError(f"{folder} holds no results folder{unread}: name a folder with results of the command `run` below it")
    commits = known_commits({results.info.environment.git_commit for results in found.values()}, repository or Path.cwd())
    runs = {place: run_of(place.relative_to(folder).as_posix(), results.info, commits) for place, results in found.items()}
    is_known = all(run.commit in commits for run in runs.values())
    positions = {commit: position for position, commit in enumerate(commits)}
    places = sorted(found, key=lambda place: (positions[runs[place].commit] if is_known else 0, runs[place].date, place))
    grouped: dict[str, list[Path]] = {}
    for place in places:
        grouped.setdefault(title_of(found[place]), []).append(place)
    groups = [group_of(title, [(runs[place], found[place]) for place in members], expectations) for title, members in grouped.items()]
    order = "in the order of git's commits, then of time" if is_known else "in order of time, since not every commit is known to git here"
    return History(tuple(groups), order, tuple(skipped))


def results_folders(folder: Path) -> list[Path]:
    """Every folder with a `run.json` at or below `folder`, links not followed, in order of their names."""
    return sorted(Path(place) for place, _, files in os.walk(folder) if RUN_FILE in files)


def known_commits(commits: set[str], repository: Path) -> dict[str, str]:
    """The subjects of those commits that git knows, parents before children.  Files name the commits, so nothing but a hash gets to git."""
    hashes = sorted(commit for commit in commits if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit))
    try:
        listed = git(repository, "log", "--topo-order", "--reverse", "--ignore-missing", "--format=%H %s", *hashes).splitlines() if hashes else []
    except RevisionError:
        return {}
    return {commit: subject for commit, _, subject in (line.partition(" ") for line in listed) if commit in commits}


def run_of(name: str, info: RunInfo, subjects: Mapping[str, str]) -> Run:
    """What there is to say of a run."""
    environment = info.environment
    commit = environment.git_commit
    return Run(
        name, commit, environment.git_dirty, environment.code, environment.date, environment.packages, info.calibration_seconds, subjects.get(commit, "")
    )


def title_of(results: Results) -> str:
    """What figures must have in common besides their digests; seconds of rows that ran in workers are no match for those of rows that ran alone."""
    info = results.info
    way = [*(["plain way"] if info.plain else []), *(["time alone"] if info.timing_only else []), *(f"chosen {component}" for component in info.chosen)]
    way += [] if all(row.alone for row in results.rows.values()) else ["in workers"]
    return ", ".join((f"{info.tier} tier", info.kind, machine_of(info.environment), info.environment.cpu_capability, *way))


def group_of(title: str, runs: Sequence[tuple[Run, Results]], expectations: Expectations) -> Group:
    """The series of runs that may be compared, with their changes."""
    policy = expectations.policies[runs[0][1].info.tier].duration
    pace = median(run.calibration_seconds for run, _ in runs) if policy.calibrated else None
    found: dict[tuple[int, str], Series] = {}
    failed = []
    for run, results in runs:
        for number, result in results.rows.items():
            if result.figures is None or result.error:
                failed.append(f"{run.folder}: row {number} has no figures for a history")
                continue
            key = (number, f"{sorted(result.digests.items())} {sorted(seeds_of(result))}")
            series = found.setdefault(key, series_of(result))
            found[key] = replace(series, points=(*series.points, point_of(run, result, pace, timing_only=results.info.timing_only)))
    tested = [one for one in found.values() if len(one.points) >= 2 * SHORTEST]
    level = LEVEL / max(1, len(METRICS) * len(tested))
    complete = [replace(one, changes=tuple(changes_of(one, level)), variant=variant_of(one, found.values())) for one in found.values()]
    return Group(title, tuple(run for run, _ in runs), tuple(sorted(complete, key=lambda one: one.row)), level, pace, tuple(failed))


def series_of(result: RowResult) -> Series:
    """A series without points."""
    n_texts = next(iter(seeds_of(result).values())).counts["test"].n
    return Series(result.row, result.name, result.digests, tuple(sorted(seeds_of(result))), n_texts, ())


def point_of(run: Run, result: RowResult, pace: float | None, *, timing_only: bool) -> Point:
    """One run's figures of a row, seconds at the pace of the group where it has one."""
    figures = seeds_of(result)
    accuracies = {} if timing_only else {split: fmean(one.counts[split].accuracy for one in figures.values()) for split in SPLITS}
    return Point(run, accuracies, figures[result.seed].train_seconds * (pace / run.calibration_seconds if pace else 1.0))


def changes_of(series: Series, level: float) -> Iterator[Change]:
    """The changes of both metrics, each in order of time.  No change lies between two runs of the same code."""
    points = series.points
    allowed = [False, *(before.run.code != after.run.code for before, after in pairwise(points))]
    for metric in METRICS:
        values = values_of(metric, points)
        grain = 1 / (series.n_texts * len(series.seeds)) if metric == ACCURACY else 0.0
        found = change_points(values, level, grain=grain, allowed=allowed, shortest=SHORTEST)
        ends = [0, *(change.index for change in found), len(values)]
        means = [natural(metric, fmean(values[start:end])) for start, end in pairwise(ends)] if found else []
        for change, (before, after) in zip(found, pairwise(means), strict=True):
            besides = _versions(points[change.index - 1].run, points[change.index].run)
            yield Change(metric, change.index, before, after, change.p, besides)


def values_of(metric: str, points: Sequence[Point]) -> list[float]:
    """A metric on the scale it is tested on: durations, which spread by factors, as logarithms; empty where it was not asked for."""
    if metric == ACCURACY:
        return [point.accuracies["test"] for point in points if point.accuracies]
    return [log(max(point.seconds, CLOCK)) for point in points]


def natural(metric: str, value: float) -> float:
    """A tested value as people read it."""
    return value if metric == ACCURACY else exp(value)


def variant_of(series: Series, all_series: Iterable[Series]) -> str:
    """What tells a series from others of the same row, empty where there is no other."""
    others = [other for other in all_series if other.row == series.row]
    differing = [name for name, digest in series.digests.items() if any(other.digests.get(name) != digest for other in others)]
    parts = [f"{name} {series.digests[name][:8]}" for name in differing]
    if any(other.seeds != series.seeds for other in others):
        parts.append(f"seed {series.seeds[0]}" if len(series.seeds) == 1 else f"{len(series.seeds)} seeds from {series.seeds[0]}")
    return ", ".join(parts)


def _versions(before: Run, after: Run) -> str:
    """The packages whose versions differ between two runs."""
    moved = {name: (version, after.packages.get(name, "none")) for name, version in before.packages.items() if after.packages.get(name) != version}
    return ", ".join(f"{name} {old} became {new}" for name, (old, new) in moved.items())
