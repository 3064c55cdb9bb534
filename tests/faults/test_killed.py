"""A run that is killed at any moment goes on to the same table.  (kill -9, for real, thirty times)"""

import json
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors import safe_open

from bench.recording.baselines import repeatable_figures
from bench.results import read_results, row_file

pytestmark = pytest.mark.faults

CHAINS, KILLS = 6, 5  # each chain is one run that is killed five times on its way
N_ROWS = 19
TIMES = ("seconds", "this run", "peak MB")


@dataclass(frozen=True)
class Undisturbed:
    """A smoke run that nobody killed.  pauses: seconds from its start, or from a row's end, to the next row's end, or its own."""

    folder: Path
    pauses: tuple[float, ...]


@pytest.fixture(scope="module")
def whole(child, ended, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = child("bench", "run", "--out", folder)
    clock = [time.monotonic()]
    while line := process.stdout.readline():
        if is_progress(line):
            clock.append(time.monotonic())
    done = ended(process)
    assert done.returncode == 0, done.stderr
    assert len(clock) == 1 + N_ROWS
    return Undisturbed(folder, tuple(later - earlier for earlier, later in pairwise([*clock, time.monotonic()])))


def is_progress(line):
    """Whether a line tells of a row that ended."""
    return line.startswith("[")


def table_of(folder: Path):
    """The final table without the columns that are times."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    kept = [index for index, name in enumerate(lines[0]) if name not in TIMES]
    # A row may be slower than recorded on a busy machine, which is said in its verdict.
    return [[line[index].split(",")[0] for index in kept] for line in lines]


def kill_at(process, moment: float, pauses) -> None:
    """Kill a run at a moment between 0, its start, and 19, its end: the whole part counts rows that ended, the rest is a part of the pause that follows."""
    rows, rest = int(moment), moment % 1
    while rows and (line := process.stdout.readline()):
        rows -= is_progress(line)
    try:
        process.wait(timeout=rest * pauses[int(moment)])
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)


def positions_in(folder: Path):
    """How far the training of each row has come that left a checkpoint, by the row's number."""
    found = {}
    for path in folder.glob("checkpoints/row-*/*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found[int(path.parent.name.removeprefix("row-"))] = json.loads(file.metadata()["said"])["course"]["position"]
    return found


@dataclass(frozen=True)
class Kill:
    """A SIGKILL that hit a living run.  finished: how many rows that had in its folder.  went_on: rows of which it had gone on from a checkpoint by then."""

    finished: int
    went_on: tuple[int, ...]


def kill_over_and_over(child, ended, folder: Path, draw: random.Random, pauses):
    """One run that is killed at moment after moment, and continued until it ends; a moment that comes too late, as it has ended, does not count."""
    found: list[Kill] = []
    arguments = ("bench", "run", "--checkpoint-every", "0.2", "--out", folder)
    finished: dict[str, bytes] = {}
    for moment in [*sorted(draw.uniform(0, N_ROWS) for _ in range(KILLS)), *(draw.uniform(0, 1) for _ in range(KILLS))]:
        begun = positions_in(folder)
        process = child(*arguments)
        kill_at(process, moment, pauses)
        done = ended(process)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert "it starts from the beginning" not in done.stderr  # as a checkpoint says that is of no use
        now = {path.name: path.read_bytes() for path in folder.glob("row-*.json")}
        assert {name: now.get(name) for name in finished} == finished, "a finished row was lost or changed"
        finished = now
        if (folder / "run.json").is_file():
            read_results(folder)  # whatever stands there is whole
            arguments = ("bench", "run", "--resume", folder)
        if done.returncode == -signal.SIGKILL:
            reached = positions_in(folder)
            furthered = (number for number, position in begun.items() if row_file(folder, number).name in now or reached.get(number, 0) > position)
            found.append(Kill(len(now), tuple(furthered)))
        if len(found) == KILLS:
            break
    done = ended(child(*arguments))
    assert done.returncode == 0, done.stdout + done.stderr
    return found


def test_a_run_killed_thirty_times_ends_with_the_same_table(child, ended, whole, tmp_path):
    folders = [tmp_path / str(number) for number in range(CHAINS)]
    draws = [random.Random(f"chain {number}") for number in range(CHAINS)]
    with ThreadPoolExecutor(2) as pool:
        chains = [*pool.map(lambda folder, draw: kill_over_and_over(child, ended, folder, draw, whole.pauses), folders, draws)]
    kills = [kill for chain in chains for kill in chain]
    assert len(kills) == 30
    assert len({kill.finished for kill in kills}) > N_ROWS // 2, f"the kills fell on too few places: {kills}"
    assert any(kill.went_on for kill in kills), f"no run went on from within a row: {kills}"
    expected = read_results(whole.folder)
    for folder in folders:
        results = read_results(folder)
        for number, result in expected.rows.items():
            assert repeatable_figures(results.rows[number].figures) == repeatable_figures(result.figures), f"row {number} in {folder}"
        assert results.invariants == expected.invariants
        assert table_of(folder) == table_of(whole.folder)
        assert not [*folder.glob(".*.tmp"), *folder.glob("checkpoints")]
        assert row_file(folder, 19).is_file()


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
@pytest.mark.parametrize("nox", [False, True], ids=["bench", "pytest"])
def test_ctrl_c_and_sigterm_stop_cleanly_and_say_how_to_go_on(child, ended, tmp_path, number, code, word, nox):
    folder = tmp_path / "run"
    start = ("pytest", "tests/rows", "--tier", "smoke") if nox else ("bench", "run")
    process = child(*start, "--rows", "1-3,9", "--out", folder)
    said = ""
    while "[1/4] row 1" not in said:
        line = process.stdout.readline()
        assert line, f"it ended early: {said}{process.stderr.read()}"
        said += line
    process.send_signal(number)
    done = ended(process)
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{word}: " in done.stdout + done.stderr
    assert f"go on with `python -m bench run --resume {folder}`" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    again = ended(child(*start, "--resume", folder))
    assert again.returncode == 0, again.stdout + again.stderr
    assert sorted(read_results(folder).rows) == [1, 2, 3, 9]


def test_a_second_run_in_the_same_folder_waits_and_says_so(child, ended, tmp_path):
    folder = tmp_path / "run"
    first = child("bench", "run", "--rows", "1-3,9,12", "--out", folder)
    while "[1/5] row 1" not in first.stdout.readline():
        assert first.poll() is None
    second = ended(child("bench", "run", "--resume", folder))
    assert ended(first).returncode == 0
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"waiting for the run that is at work in {folder}" in second.stderr
    assert "5 of 5 judged rows hold" in second.stdout


def test_two_runs_that_share_kept_states_do_not_disturb_each_other(child, ended, tmp_path):
    variables = {"GPTCORE_STATE_CACHE": str(tmp_path / "states")}
    both = [child("bench", "run", "--rows", "1-4,6,13-19", "--keep-states", "1", "--out", tmp_path / str(number), variables=variables) for number in range(2)]
    for process in both:
        done = ended(process)
        assert done.returncode == 0, done.stdout + done.stderr
    one, other = (read_results(tmp_path / str(number)) for number in range(2))
    assert {number: repeatable_figures(row.figures) for number, row in one.rows.items()} == {
        number: repeatable_figures(row.figures) for number, row in other.rows.items()
    }
