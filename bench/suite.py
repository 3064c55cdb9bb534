"""`Suite`: a table of rows with what it takes to run and judge it.  The published one is the default; another project brings its own."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bounds import TIER_NAME
from bench.expectations import DEFAULT_PATH, NOTHING_PUBLISHED, DurationPolicy, Expectations, TierPolicy, load_expectations
from bench.results import RunInfo
from bench.rows import LARGEST_NUMBER, ROWS, Row
from bench.tiers import TIERS, Tier
from gptcore.errors import UsageError
from gptcore.experiment import Experiment

# What is asked of a suite whose file does not exist yet: durations only warn, and only on machines that were recorded.
FIRST_POLICY = TierPolicy(drift_fails=True, duration=DurationPolicy(calibrated=True, advisory=True, at_most=None), against=("baseline",))


@dataclass(frozen=True)
class Suite:
    """Rows, the tiers they run at by name (the first one is the default), and the file of what is expected of them.

    program: the words behind `python` that start the suite's commands, in the folder of `expected`, which is a git checkout or part of one: it names the
    commit of what is recorded, and other processes that repeat rows start there.
    Raises UsageError for no rows or no tiers, for what is no row, for numbers that are not distinct, in order and from 1 to 999, and for a tier's name that
    cannot be one.
    """

    rows: Sequence[Row]
    tiers: Mapping[str, Tier]
    expected: Path
    program: Sequence[str] = ("-m", "bench")

    def __post_init__(self) -> None:
        if not (self.rows and self.tiers):
            raise UsageError("a suite has at least one row and one tier: add them")
        if wrong := [row for row in self.rows if not (isinstance(row, Row) and isinstance(row.experiment, Experiment) and type(row.number) is int)]:
            raise UsageError(f"{wrong[0]!r} is no row: write Row(number, name, Experiment(...))")
        numbers = [row.number for row in self.rows]
        if numbers != sorted(set(numbers)) or not 1 <= numbers[0] <= numbers[-1] <= LARGEST_NUMBER:
            raise UsageError(f"the numbers of a suite's rows are {', '.join(map(str, numbers))}: number them upwards, each once, from 1 to {LARGEST_NUMBER}")
        if misnamed := [name for name, tier in self.tiers.items() if name != tier.name]:
            raise UsageError(f"the tier under {misnamed[0]} is called {self.tiers[misnamed[0]].name}: give it one name")
        if unusable := [name for name in self.tiers if not re.fullmatch(TIER_NAME, name)]:
            raise UsageError(f"a tier is called {unusable[0]!r}: use small letters, digits, - and _, a letter first")

    @property
    def folder(self) -> Path:
        """Where the suite lives."""
        return self.expected.absolute().parent

    @property
    def command(self) -> str:
        """What a person types to start its commands."""
        return shlex.join(("python", *self.program))

    def check_own(self, info: RunInfo, folder: Path) -> None:
        """Raise UsageError where the run in a folder is of a tier that the suite does not have, with the way to read it."""
        if info.tier not in self.tiers:
            raise UsageError(
                f"{folder} is of the {info.tier} tier of another suite: read it with that suite's own commands, as it was run with `{info.command}`"
            )

    def expectations(self, path: Path | None = None) -> Expectations:
        """What is expected, of the suite's own file or another one; of a suite whose own file does not exist yet nothing, so that it can be recorded.

        Raises ExpectationError where the file is missing, breaks the schema or lacks the policy of a tier.
        """
        path = path or self.expected
        is_new = path == self.expected and path != DEFAULT_PATH and not path.exists()
        return blank_expectations(self.tiers) if is_new else load_expectations(path, None if self.expected == DEFAULT_PATH else self.tiers)


def blank_expectations(tiers: Mapping[str, Tier]) -> Expectations:
    """Nothing published, nothing recorded."""
    return Expectations(schema_version=2, published=NOTHING_PUBLISHED, policies=dict.fromkeys(tiers, FIRST_POLICY), methods={}, baselines={})


PUBLISHED = Suite(ROWS, TIERS, DEFAULT_PATH)


def run_command(suite: Suite | Callable[[], Suite], arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands `list`, `run`, `check`, `verify`, `record`, `show`, `summary`, `report`, `history` and `cache`: the one on this process's
    command line unless another is given.

    suite: a suite, or a function that makes it, whose UserErrors are then told in one sentence, too.
    Returns the exit code: 0 where every row holds, 1 where one does not, 2 for what the person can mend, 130 or 143 when stopped.
    """
    from bench.__main__ import main  # a package that imports its own __main__ cannot be run with -m

    return main(arguments, suite)
