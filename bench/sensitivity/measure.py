"""How often the rows raise a false alarm, and what they notice: clean runs under other rounding and other seeds, and deliberate defects, all for real."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import TypeVar

from bench.environment import CHECKOUT
from bench.expectations import DEFAULT_PATH, Expectations
from bench.recording.repeats import KERNELS, PERTURBATIONS, Condition, run_under
from bench.results import Results, ResultsError, make_folder, read_results
from bench.rows import ROWS
from bench.sensitivity.defects import DEFECTS, Defect
from bench.statistics import highest_rate
from bench.verdicts.judge import judge
from bench.verdicts.verdict import SEVERITY, RowVerdict, Strictness, Verdict
from bench.wording import counted
from gptcore.device import allowed_cores
from gptcore.errors import UsageError
from gptcore.files import write_text_atomically

T = TypeVar("T")
Say = Callable[[str], None]
Runner = Callable[..., Results]  # as run_under

FLAGS = ("--tier", "smoke", "--rows", "all", "--device", "cpu")
CODE = ("gptcore", "bench")


@dataclass(frozen=True)
class CleanRun:
    """The code as it is, under a condition that moves rounding alone, with the rows' own seed or another one."""

    condition: Condition
    seed: int | None = None

    @property
    def name(self) -> str:
        """What differs, in words."""
        return self.condition.name if self.seed is None else f"seed {self.seed}, {self.condition.name}"


# None of them has a part in the bands: other perturbations, kernels combined otherwise, seeds that were not recorded.  The first one is as recorded.
CLEAN_RUNS = (
    CleanRun(Condition()),
    *(CleanRun(Condition(PERTURBATIONS[seed % 4], seed)) for seed in range(101, 113)),
    *(CleanRun(Condition(1e-6, seed)) for seed in range(113, 119)),
    *(CleanRun(Condition(1e-6, seed, variables=variables)) for seed, variables in enumerate(KERNELS, start=121)),
    *(CleanRun(Condition(), seed) for seed in (7, 42, 200, 1000)),
    *(CleanRun(Condition(1e-6, seed), seed) for seed in (201, 31337)),
    *(CleanRun(Condition(PERTURBATIONS[seed % 4], seed, threads=2)) for seed in range(125, 129)),
    *(CleanRun(Condition(threads=2, variables=variables)) for variables in KERNELS[:3]),
)


@dataclass(frozen=True)
class CleanOutcome:
    """What became of a clean run.  flagged: the rows, by verdict, that should have passed.  n_judged: rows that there was something to hold against."""

    name: str
    same_seed: bool
    n_judged: int
    flagged: Mapping[Verdict, tuple[int, ...]]

    @property
    def said(self) -> str:
        """The same as a sentence."""
        flagged = "; ".join(f"{verdict}: rows {', '.join(map(str, rows))}" for verdict, rows in self.flagged.items())
        return f"{counted(self.n_judged, 'row')} judged, {flagged or 'none flagged'}"


@dataclass(frozen=True)
class DefectOutcome:
    """What became of a run with a defect.

    caught: the rows that do not hold, with their verdicts.  told: the metrics that told first, and in how many of those rows.  broken: the invariants that do
    not hold.
    broke_off: why there are no rows at all, empty where there are.
    """

    name: str
    module: str
    caught: Mapping[int, Verdict]
    told: Mapping[str, int]
    broken: tuple[str, ...] = ()
    broke_off: str = ""

    @property
    def is_caught(self) -> bool:
        """Whether anybody would have noticed."""
        return bool(self.caught or self.broken or self.broke_off)

    @property
    def worst(self) -> Verdict:
        """The worst verdict of any row."""
        return Verdict.ERROR if self.broke_off else max((*self.caught.values(), Verdict.PASS), key=SEVERITY.index)


@dataclass(frozen=True)
class Sensitivity:
    """What was measured."""

    clean: tuple[CleanOutcome, ...]
    defects: tuple[DefectOutcome, ...]

    @property
    def holds(self) -> bool:
        """Whether no clean run was flagged and every defect was caught."""
        return not any(outcome.flagged for outcome in self.clean) and all(outcome.is_caught for outcome in self.defects)

    @property
    def highest_rate(self) -> float:
        """The share of clean runs that may be flagged, with 95 % confidence."""
        return highest_rate(sum(bool(outcome.flagged) for outcome in self.clean), len(self.clean))


def measure_sensitivity(expectations: Expectations, out: Path, said: Say = lambda line: None, *, only: str | None = None, again: bool = False) -> Sensitivity:
    """Every clean run and every defect, all rows of the smoke tier each; `said` hears a line as each ends.

    only: defects with this in their names or modules alone, after the clean run that is as recorded.  Every run keeps its folder in `out`, which must be new.
    again: nothing runs; the runs that a measurement left in `out` are judged once more, by the expectations of today.
    Raises UserError where a clean run breaks off, or a defect does not fit the code.
    """
    defects = [defect for defect in DEFECTS if only is None or only in defect.name or only in defect.module]
    if not defects:
        raise UsageError(f"no defect has '{only}' in its name or module: see bench/sensitivity/defects.py")
    for defect in defects:
        defect.changed(module_in(CHECKOUT, defect).read_text(encoding="utf-8"))  # rather now than after half an hour
    check_baselines(expectations)
    run = kept_run if again else run_under
    if not again:
        make_folder(out)
    clean_runs = CLEAN_RUNS if only is None else CLEAN_RUNS[:1]
    numbers = count(1)

    def told(line: str) -> None:
        said(f"[{next(numbers)}/{len(clean_runs) + len(defects)}] {line}")

    # Nothing can be told from rows that there is nothing to hold against.
    control = try_clean_run(clean_runs[0], expectations, out / "clean-01", told, run)
    if control.flagged or control.n_judged < len(ROWS):
        raise ResultsError(f"the code as it is does not pass all {len(ROWS)} rows ({control.said}): mend that, or record it, before looking for defects")
    clean = [control]
    for threads, runs in groupby(enumerate(clean_runs[1:], start=2), key=lambda numbered: numbered[1].condition.threads):
        tasks = [partial(try_clean_run, one, expectations, out / f"clean-{number:02d}", told, run) for number, one in runs]
        clean += side_by_side(tasks, max(1, allowed_cores() // threads))
    tasks_with_defects = [partial(try_defect, defect, expectations, out / f"defect-{number:03d}", told, run) for number, defect in enumerate(defects, start=1)]
    found = Sensitivity(tuple(clean), tuple(side_by_side(tasks_with_defects, allowed_cores())))
    write_text_atomically(out / "sensitivity.json", json.dumps(asdict(found), indent=2) + "\n")
    return found


def check_baselines(expectations: Expectations) -> None:
    """Raise ResultsError unless every row has numerical bands: without them little would be noticed."""
    baselines = expectations.baselines.get("smoke", {}).get("cpu", {})
    if not all(row.number in baselines and baselines[row.number].bands.traces for row in ROWS):
        raise ResultsError("the smoke tier's baselines lack numerical bands, so little would be noticed: record them with repeats first")


def try_clean_run(one: CleanRun, expectations: Expectations, out: Path, said: Say, run: Runner) -> CleanOutcome:
    """The rows under the run's condition, judged."""
    results = run(one.condition, [*FLAGS, *(() if one.seed is None else ("--seed", str(one.seed)))], out)
    verdicts = judge(as_if_unperturbed(results, expectations) if one.condition.perturbation else results, expectations, Strictness.STRICT)
    outcome = clean_outcome(one, verdicts)
    said(f"clean, {one.name}: {outcome.said}")
    return outcome


def try_defect(defect: Defect, expectations: Expectations, out: Path, said: Say, run: Runner) -> DefectOutcome:
    """The rows of a copy of the code with the defect in it, judged by the code without it."""
    with tempfile.TemporaryDirectory(prefix="defect-") as folder:
        copy = Path(folder).resolve()
        copy_code(copy)
        apply(defect, copy)
        try:
            results = run(Condition(), FLAGS, out, copy)
        except ResultsError as error:
            outcome = DefectOutcome(defect.name, defect.module, {}, {}, broke_off=str(error))
        else:
            broken = tuple(invariant.name for invariant in results.invariants or () if not invariant.holds)
            outcome = replace(defect_outcome(defect, judge(results, expectations, Strictness.STRICT)), broken=broken)
    said(f"defect, {defect.name}: {'broke off' if outcome.broke_off else f'caught by {len(outcome.caught)} of {len(ROWS)} rows'}")
    return outcome


def kept_run(condition: Condition, flags: Sequence[str], out: Path, checkout: Path = CHECKOUT) -> Results:  # noqa: ARG001 - called as run_under is
    """The results that an earlier measurement left in a folder.  Raises ResultsError where they are not whole."""
    results = read_results(out)
    if set(results.info.rows) != set(results.rows):
        raise ResultsError(f"{out} lacks rows: measure that again in a new folder")
    return results


def copy_code(to: Path) -> None:
    """Copy all that a run needs into a folder."""
    for package in CODE:
        shutil.copytree(CHECKOUT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(DEFAULT_PATH, to)


def apply(defect: Defect, copy: Path) -> None:
    """Put the defect into a copy of the code.  Raises DefectError where it does not fit."""
    path = module_in(copy, defect)
    path.write_text(defect.changed(path.read_text(encoding="utf-8")), encoding="utf-8")


def module_in(checkout: Path, defect: Defect) -> Path:
    """The file that the defect is for."""
    return checkout / "gptcore" / defect.module


def as_if_unperturbed(results: Results, expectations: Expectations) -> Results:
    """The results with the recorded digests of the weights: perturbed ones are other files on purpose, and all else is to be judged as if they were not."""
    recorded = expectations.baselines.get(results.info.tier, {}).get(results.info.kind, {})
    weights = {number: baseline.digests["weights"] for number, baseline in recorded.items()}
    rows = {number: replace(row, digests=row.digests | {"weights": weights.get(number, "")}) for number, row in results.rows.items()}
    return replace(results, rows=rows)


def clean_outcome(run: CleanRun, verdicts: Sequence[RowVerdict]) -> CleanOutcome:
    """What the verdicts on a clean run sum up to.  Random weights depend on the seed, so with another one their row is not comparable."""
    judged = [verdict for verdict in verdicts if not (verdict.verdict is Verdict.NOT_COMPARABLE and verdict.holds)]
    flagged: dict[Verdict, tuple[int, ...]] = {}
    for verdict in judged:
        if verdict.verdict is not Verdict.PASS:
            flagged[verdict.verdict] = (*flagged.get(verdict.verdict, ()), verdict.row)
    return CleanOutcome(run.name, run.seed is None, len(judged), flagged)


def defect_outcome(defect: Defect, verdicts: Sequence[RowVerdict]) -> DefectOutcome:
    """What the verdicts on a run with a defect sum up to."""
    failed = [verdict for verdict in verdicts if not verdict.holds]
    told = Counter(map(first_to_tell, failed))
    return DefectOutcome(defect.name, defect.module, {verdict.row: verdict.verdict for verdict in failed}, dict(told.most_common()))


def first_to_tell(verdict: RowVerdict) -> str:
    """The first metric, in the order of judging, that is no pass."""
    first = next(judgement for judgement in verdict.judgements if judgement.verdict is not Verdict.PASS and not judgement.advisory)
    return str(first.verdict) if first.metric == "row" else first.metric


def side_by_side(tasks: Sequence[Callable[[], T]], at_once: int) -> list[T]:
    """What the tasks return, in their order.  Where one raises, or the person interrupts, those that have not begun never do."""
    pool = ThreadPoolExecutor(at_once)
    try:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
    finally:
        pool.shutdown(cancel_futures=True)
