"""Finding the commit that moved a row: `git bisect`, with the row's own figures for a judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bench.comparison.circumstances import common_seeds
from bench.comparison.compare import Comparison, Verdict, compare
from bench.comparison.contrasts import ROUNDING
from bench.comparison.revisions import Echo, Revision, RevisionError, checkout, git, resolve, run_revision, switch
from bench.results import Results, make_folder
from bench.rows import find_row
from gptcore.dataset import SPLITS
from gptcore.errors import UsageError
from gptcore.result import Result

Criterion = Literal["changed", "worse"]
DECIDED, UNDECIDED = "# first bad commit: [", "# possible first bad commit: ["


@dataclass(frozen=True)
class Bisection:
    """What `git bisect` came to.

    suspects: the first bad commit, or, where only commits that cannot run the row are left, all that may be it.
    comparisons: the row at GOOD against the row at the first bad commit; empty where there are several suspects.
    looked: every commit that ran on the way, or was skipped, with what git was told.
    """

    good: Revision
    bad: Revision
    row: int
    suspects: tuple[Revision, ...]
    comparisons: tuple[Comparison, ...]
    looked: tuple[tuple[Revision, str], ...]

    @property
    def is_decided(self) -> bool:
        """Whether one commit is left."""
        return len(self.suspects) == 1


def bisect(
    good: str,
    bad: str,
    row: int,
    arguments: Sequence[str],
    out: Path,
    *,
    criterion: Criterion = "changed",
    echo: Echo = print,
    repository: Path | None = None,
) -> Bisection:
    """Find the first commit after GOOD, up to BAD, whose row differs from GOOD's by the criterion.

    changed: by any count of right answers, or by a last loss beyond rounding.  worse: a metric is significantly worse (see `compare`).
    arguments: options of `bench run` besides `--rows`; paths in them must be absolute.  out: new folder for a results folder per commit that ran.
    repository: any folder inside it, by default the current one; its files, branches and own bisection stay as they are.
    Raises UserError where GOOD or BAD cannot run the row, BAD does not follow GOOD, or both have the same row.
    """
    if criterion not in get_args(Criterion):
        raise UsageError(f"{criterion} is no criterion: choose one of {', '.join(get_args(Criterion))}")
    find_row(row)
    repository = repository or Path.cwd()
    first, last = resolve(good, repository), resolve(bad, repository)
    _check_order(first, last, repository)
    make_folder(out)
    with checkout(first, repository) as place:
        options = ["--rows", str(row), *arguments]
        reference = _run(first, place, options, row, out)
        switch(place, last)
        found = {last.commit: _run(last, place, options, row, out)}
        if not _is_bad(criterion, reference, found[last.commit], row):
            raise UsageError(
                f"nothing to bisect: row {row} has not {_in_words(criterion)} from {first} to {last}; name other revisions, options or --criterion"
            )
        echo(f"row {row} has {_in_words(criterion)} from {first} to {last}")
        looked: list[tuple[Revision, str]] = []
        git(place, "bisect", "start", last.commit, first.commit)
        while not (suspects := _suspects(place)):
            revision = resolve(git(place, "rev-parse", "HEAD"), place)
            try:
                found[revision.commit] = _run(revision, place, options, row, out)
                word = "bad" if _is_bad(criterion, reference, found[revision.commit], row) else "good"
                reason = ""
            except RevisionError as error:
                word, reason = "skip", f" ({error})"
            looked.append((revision, word))
            echo(f"{word}: {revision} {revision.subject}{reason}")
            git(place, "bisect", word, codes=(0, 2))  # 2: only skipped commits are left
    comparisons = compare([reference], [found[suspects[0].commit]]) if len(suspects) == 1 else []
    return Bisection(first, last, row, suspects, tuple(comparisons), tuple(looked))


def is_changed(base: Result, head: Result) -> bool:
    """Whether any count of right answers differs, or a last loss by more than ROUNDING of itself."""
    if any(base.counts[split] != head.counts[split] for split in SPLITS):
        return True
    before, after = base.history[-1], head.history[-1]
    losses = ((before.train_loss, after.train_loss), (before.validation_loss, after.validation_loss))
    return any(abs(later - earlier) > ROUNDING * abs(earlier) for earlier, later in losses)


def _is_bad(criterion: Criterion, reference: Results, found: Results, row: int) -> bool:
    if criterion == "changed":
        pairs = common_seeds(reference.rows[row], found.rows[row])
        return not pairs or any(is_changed(base, head) for base, head in pairs)
    verdicts = {comparison.verdict for comparison in compare([reference], [found])}
    if verdicts == {Verdict.NOT_COMPARABLE}:
        raise RevisionError(f"row {row} has other texts there than at GOOD, so nothing tells whether it is worse: look for what changed instead")
    return Verdict.WORSE in verdicts


def _run(revision: Revision, place: Path, options: Sequence[str], row: int, out: Path) -> Results:
    """The row at the revision that is checked out.  Raises RevisionError where it has no figures."""
    results = run_revision(revision, place, options, out / revision.commit[:10])
    found = results.rows.get(row)
    if found is None or found.error or not found.figures:
        error = found.error if found and found.error else "it did not run"
        raise RevisionError(f"row {row} has no figures at {revision} ({error.splitlines()[0]}): name another revision")
    return results


def _check_order(first: Revision, last: Revision, repository: Path) -> None:
    if first.commit == last.commit:
        raise UsageError(f"nothing to bisect: {first} and {last} are the same commit; name two")
    if git(repository, "merge-base", first.commit, last.commit, codes=(0, 1)) != first.commit:
        raise UsageError(f"{last} does not follow {first}: name as --good a commit that --bad was built on, such as `git merge-base {first.name} {last.name}`")


def _suspects(place: Path) -> tuple[Revision, ...]:
    """What git's log of the bisection ends with: the first bad commit, or those that remain possible; none while it goes on."""
    lines = git(place, "bisect", "log").splitlines()
    hashes = [line.removeprefix(start).partition("]")[0] for start in (DECIDED, UNDECIDED) for line in lines if line.startswith(start)]
    return tuple(resolve(commit, place) for commit in hashes)


def _in_words(criterion: Criterion) -> str:
    return "become significantly worse" if criterion == "worse" else "changed"
