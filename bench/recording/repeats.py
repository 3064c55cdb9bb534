"""Running rows again with nothing changed but rounding: the stand-ins for other machines, threads and builds of torch."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.environment import CHECKOUT, NUMERICAL_VARIABLES
from bench.recording.baselines import RowRepeats, repeat_of
from bench.results import Results, ResultsError, read_results
from gptcore.device import allowed_cores
from gptcore.errors import UserError

TIMED_APART = 5
Program = tuple[Path, Sequence[str]]  # the folder to start in, and what stands behind `python` there
PUBLISHED_PROGRAM: Program = (CHECKOUT, ("-m", "bench"))


@dataclass(frozen=True)
class Condition:
    """One way to run the same rows: initial weights perturbed by this relative amount with this seed, CPU threads, variables of the mathematics libraries."""

    perturbation: float = 0.0
    seed: int = 0
    threads: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What differs, in words."""
        weights = f"weights x (1 + {self.perturbation:g} e{self.seed})" if self.perturbation else ""
        variables = " ".join(f"{name}={value}" for name, value in self.variables.items())
        return ", ".join(part for part in (weights, f"threads: {self.threads}", variables) if part)

    @property
    def flags(self) -> list[str]:
        """As flags of `bench run`."""
        return ["--threads", str(self.threads), *(["--perturb", f"{self.perturbation:g}", "--perturb-seed", str(self.seed)] if self.perturbation else [])]


# The last one limits libraries on Intel's processors; AMD's take no notice.
KERNELS = (
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"DNNL_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
)
PERTURBATIONS = (1e-7, 2e-7, 5e-7, 1e-6)
PERTURBED = tuple(Condition(relative, seed, 1 + seed % 2) for seed, relative in enumerate(PERTURBATIONS * 2, start=1))
ON_CPU = (
    Condition(threads=2),
    *PERTURBED,
    *(Condition(variables=variables) for variables in KERNELS),
    *(Condition(1e-6, seed, variables=variables) for seed, variables in enumerate(KERNELS[:3], start=len(PERTURBED) + 1)),
)
ON_GPU = tuple(replace(condition, threads=1) for condition in PERTURBED)


def conditions_for(device: str) -> tuple[Condition, ...]:
    """The conditions that can move figures on a kind of device."""
    return ON_CPU if device == "cpu" else ON_GPU


def measure_repeats(
    flags: Sequence[str],
    recorded: Results,
    conditions: Sequence[Condition],
    folder: Path,
    said: Callable[[str], None] = lambda line: None,
    program: Program = PUBLISHED_PROGRAM,
) -> RowRepeats:
    """How far each recorded row moves under each condition.  flags: of `bench run`, choosing tier, rows and device; each run keeps its folder in `folder`.

    Raises ResultsError where a run breaks off.
    """
    on_cpu = recorded.info.environment.device_class == "cpu"
    numbered = [*enumerate(conditions, start=1)]

    def run(condition: tuple[int, Condition]) -> tuple[Condition, Results]:
        number, one = condition
        results = run_under(one, flags, folder / f"repeat-{number:02d}", *program)
        said(f"repeated under {one.name}")
        return one, results

    repeated: list[tuple[Condition, Results]] = []
    for threads in sorted({condition.threads for condition in conditions}):
        with ThreadPoolExecutor(max(1, allowed_cores() // threads) if on_cpu else 1) as pool:
            repeated += pool.map(run, [condition for condition in numbered if condition[1].threads == threads])
    return {
        number: tuple(repeat_of(one.name, one.perturbation, one.seed, result, results.rows[number]) for one, results in repeated)
        for number, result in recorded.rows.items()
    }


def time_apart(flags: Sequence[str], recorded: Results, folder: Path, said: Callable[[str], None], program: Program = PUBLISHED_PROGRAM) -> list[Results]:
    """The recorded rows again, one run after another, each in a process of its own and with one seed, as a run is that will be judged.

    Runs that share a process do not tell how processes differ, and of memory a second one also holds what the first one's many seeds left there.
    Raises ResultsError where a run breaks off.
    """
    apart = []
    for number in range(1, TIMED_APART + 1):
        apart.append(run_under(Condition(threads=recorded.info.environment.threads), flags, folder / f"timed-{number:02d}", *program))
        said(f"timed {number} of {TIMED_APART} times in a process of its own")
    return apart


def run_under(condition: Condition, flags: Sequence[str], out: Path, checkout: Path = CHECKOUT, words: Sequence[str] = PUBLISHED_PROGRAM[1]) -> Results:
    """Run `bench run` of a checkout in a process of its own, since libraries read their variables when they start.  Raises ResultsError where it breaks.

    words: what stands between `python` and `run`.
    """
    environment = {name: value for name, value in os.environ.items() if name not in NUMERICAL_VARIABLES}
    environment |= {**condition.variables, "PYTHONPATH": os.pathsep.join(map(str, dict.fromkeys((checkout, CHECKOUT))))}
    command = [sys.executable, *words, "run", *flags, *condition.flags, "--out", str(out.resolve())]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode < 0:
        raise UserError(f"running rows under {condition.name} was killed by signal {-done.returncode}: free some memory, or stop what kills it, and run again")
    # 1 is the exit code of a row that moved, which is looked for, and of a traceback, which leaves rows out.
    results = read_results(out) if done.returncode in (0, 1) and (out / "run.json").is_file() else None
    if results is None or set(results.info.rows) != set(results.rows):
        raise ResultsError(f"running rows under {condition.name} failed ({(done.stderr.strip().splitlines() or ['no message'])[-1]}): mend that first")
    return results
