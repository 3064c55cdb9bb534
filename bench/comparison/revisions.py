"""Running git revisions, each with its own code in a checkout of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.comparison.compare import Comparison, compare
from bench.results import Results, ResultsError, make_folder, read_results
from gptcore.errors import UserError

Echo = Callable[[str], object]
# What git tells its hooks about their repository would lead git astray in a checkout of ours.
REPOSITORY_VARIABLES = frozenset(("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE"))


class RevisionError(UserError):
    """A git revision that cannot be found, checked out, run or read."""


@dataclass(frozen=True)
class Revision:
    """A commit: what the person called it, its full hash, and the first line of its message."""

    name: str
    commit: str
    subject: str

    def __str__(self) -> str:
        short = self.commit[:10]
        return short if self.name == self.commit else f"{self.name} ({short})"


def is_results_folder(text: str) -> bool:
    """Whether an argument names a results folder rather than a git revision."""
    try:
        return (Path(text) / "run.json").exists()
    except (OSError, ValueError):  # too long for a name, or one that nobody may look at
        return False


def resolve(name: str, repository: Path) -> Revision:
    """The commit that a name means in a repository.  Raises RevisionError where it means none."""
    git(repository, "rev-parse", "--git-dir")
    try:
        commit = git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except RevisionError as error:
        raise RevisionError(
            f"{name} is no commit that git knows here: name a branch, a tag or a hash of `git log`, or, to compare results, a folder with a run.json"
        ) from error
    return Revision(name, commit, git(repository, "show", "--no-patch", "--format=%s", commit))


@contextmanager
def checkout(revision: Revision, repository: Path) -> Iterator[Path]:
    """A temporary folder with a revision's files, in which git works too; the person's own files, branches and bisection stay as they are.

    Raises RevisionError where it cannot be made.
    """
    # A linked worktree rather than a clone: it finds every commit the person can name, in shallow and partial clones too, and copies no history.
    # HEAD, index and bisection are its own.
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve() / "checkout"
        try:
            git(repository, "worktree", "add", "--quiet", "--detach", str(place), revision.commit)
            yield place
        finally:
            with suppress(RevisionError):
                git(repository, "worktree", "remove", "--force", str(place))


def switch(place: Path, revision: Revision) -> None:
    """Let a checkout hold another revision's files."""
    git(place, "checkout", "--quiet", "--force", "--detach", revision.commit)


def run_revision(revision: Revision, place: Path, arguments: Sequence[str], folder: Path) -> Results:
    """Run `bench run` with the code in a revision's checkout, into a new results folder; what it prints goes to a log beside that folder.

    Raises RevisionError where it does not run to its end, or its results cannot be read.  Rows that fail, or that moved, are results.
    """
    if not (place / "bench" / "__main__.py").is_file():
        raise RevisionError(f"revision {revision} has no bench/__main__.py to run: name a newer revision")
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench", "run", *arguments, "--out", str(folder)]
    with (folder.parent / f"{folder.name}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, cwd=place, env=_environment(place), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
        )
        log.write(done.stderr)
    said = _last_line(done.stderr) or "it said nothing"
    if done.returncode not in (0, 1):
        raise RevisionError(f"revision {revision} did not run (exit code {done.returncode}: {said}): name another revision, or options that it knows")
    try:
        results = read_results(folder)
    except ResultsError as error:
        problem = error if (folder / "run.json").exists() else said  # Python's own exit code for a crash is 1 too
        raise RevisionError(f"revision {revision} left no results that this version can read ({problem}): name a newer revision") from error
    unfinished = [number for number in results.info.rows if number not in results.rows]
    if unfinished:
        raise RevisionError(f"revision {revision} broke off before row {unfinished[0]} ({said}): see {folder.name}.log beside {folder}")
    if results.info.environment.git_commit != revision.commit:
        found = results.info.environment.git_commit[:10] or "no commit at all"
        raise RevisionError(f"revision {revision} was to run, but {found} did: unset what puts other code before it, such as a sitecustomize module")
    return results


def compare_revisions(
    base: str, head: str, arguments: Sequence[str], out: Path, *, repeats: int = 3, echo: Echo = print, repository: Path | None = None
) -> list[Comparison]:
    """Run two revisions in turn on this machine, BASE, HEAD, BASE, HEAD, ..., and compare what came out.

    arguments: options of `bench run`; paths in them must be absolute.  out: new folder for the results folders base-1, head-1, ... and their logs.
    repository: any folder inside it, by default the current one.  Raises UserError for what cannot run.
    """
    if repeats < 1:
        raise RevisionError(f"--repeats {repeats} runs nothing: give at least 1")
    repository = repository or Path.cwd()
    revisions = {"base": resolve(base, repository), "head": resolve(head, repository)}
    make_folder(out)
    if git(repository, "status", "--porcelain", "--untracked-files=no"):
        echo("uncommitted changes take no part: both revisions run as they were committed")
    found: dict[str, list[Results]] = {side: [] for side in revisions}
    with checkout(revisions["base"], repository) as base_place, checkout(revisions["head"], repository) as head_place:
        for repeat in range(1, repeats + 1):
            for side, place in (("base", base_place), ("head", head_place)):
                started = time.monotonic()
                found[side].append(run_revision(revisions[side], place, arguments, out / f"{side}-{repeat}"))
                echo(f"[{repeat}/{repeats}] {side.upper()}, {revisions[side]}: ran in {time.monotonic() - started:.1f} s")
    return compare(found["base"], found["head"])


def git(folder: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """What git says in a folder, in English and without hooks.  Raises RevisionError where it is missing or ends with an exit code that is not in `codes`."""
    environment = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES} | {"LC_ALL": "C"}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace")  # noqa: S603
    except (OSError, ValueError) as error:  # ValueError: an argument that no process can be given
        raise RevisionError(f"git cannot run in {folder} ({error}): install git, and run this inside a git checkout") from error
    if done.returncode not in codes:
        problem = _last_line(done.stderr) or f"exit code {done.returncode}"
        raise RevisionError(f"git {' '.join(arguments)} failed in {folder} ({problem}): run this inside a git checkout that you may write to")
    return done.stdout.strip()


def _environment(place: Path) -> dict[str, str]:
    """The environment in which a checkout's own code runs, whatever is installed."""
    paths = (str(place), *filter(None, (os.environ.get("PYTHONPATH"),)))
    # Bisection swaps files of the same size within a second, which Python's caches of compiled files do not notice.
    ours = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    return {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES} | ours


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
