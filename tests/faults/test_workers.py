"""Rows in workers, for real: processes, a Ray cluster of two workers, and jobs of submitit, some of them killed in the middle of a row."""

import os
import select
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from bench.executors.choice import Executor
from bench.executors.on_slurm import run_on_slurm
from bench.executors.running import run_in_workers
from bench.recording.baselines import repeatable_figures
from bench.request import Request
from bench.results import read_results
from bench.rows import select_rows
from bench.run import start_run
from bench.tiers import TIERS

pytestmark = pytest.mark.faults

ASKED = ("--rows", "1-2,9", "--seeds", "2")  # one task of two rows that share, and two of a long one with a seed each
WORKERS = {"local": "spawn_main", "ray": "ray::work_on"}  # what a worker's process is called


def figures_in(folder):
    rows = read_results(folder).rows
    return {
        number: (row.settings, row.digests, row.error, repeatable_figures(row.figures), [(seed, repeatable_figures(one)) for seed, one in row.others.items()])
        for number, row in rows.items()
    }


def descendants(first):
    """The processes that a process started, and those that they started: names of them all by their number."""
    parents, names = {}, {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                status = dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line)
                names[int(path.name)] = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                parents[int(path.name)] = int(status["PPid"]) if not status["State"].startswith("Z") else 0
            except (OSError, KeyError):  # it ended meanwhile
                continue
    found = {first}
    while more := {number for number, parent in parents.items() if parent in found} - found:
        found |= more
    return {number: names[number] for number in found - {first}}


def started(child, executor, folder, *more):
    """A run in two workers, when its first row is over: the other worker is in the middle of row 9."""
    process = child("bench", "run", *ASKED, "--executor", executor, "--workers", "2", "--out", folder, *more)
    said = ""
    while "[1/3] row 1" not in said:
        line = process.stdout.readline()
        assert line, f"it ended early: {said}{process.stderr.read()}"
        said += line
    return process


def are_gone(numbers):
    """Whether the processes have ended, or do at once: one that has closed its output is heard of no more, and may still be about to."""
    for number in numbers:
        with suppress(ProcessLookupError), os.fdopen(os.pidfd_open(number)) as process:
            if not select.select([process], [], [], 10)[0]:
                return False
    return True


@pytest.fixture(scope="module")
def alone(child, ended, tmp_path_factory):
    """The figures of a run in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = ended(child("bench", "run", *ASKED, "--out", folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return figures_in(folder)


@pytest.mark.parametrize("executor", WORKERS)
def test_workers_that_are_killed_in_mid_row_give_the_same_table(child, ended, alone, tmp_path, executor):
    folder = tmp_path / "run"
    process = started(child, executor, folder)
    workers = [number for number, name in descendants(process.pid).items() if WORKERS[executor] in name]
    assert len(workers) == 2
    for number in workers:
        os.kill(number, signal.SIGKILL)
    done = ended(process)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a worker is lost, " in done.stderr
    assert "row 9, part 1 of its seeds starts again, 1 of 3 times" in done.stderr
    assert "3 of 3 judged rows hold" in done.stdout
    assert figures_in(folder) == alone


@pytest.mark.parametrize("executor", WORKERS)
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_a_run_in_workers_stops_cleanly_and_goes_on(child, ended, alone, tmp_path, executor, number, code, word):
    folder = tmp_path / "run"
    process = started(child, executor, folder)
    others = descendants(process.pid)
    process.send_signal(number)
    done = ended(process)
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{word}: finished rows stay in {folder}; go on with `python -m bench run --resume {folder}`" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert are_gone(others)
    if number == signal.SIGTERM:
        again = ended(child("bench", "run", "--resume", folder, "--executor", "local"))  # a run begun on a cluster may end without it
        assert again.returncode == 0, again.stdout + again.stderr
        assert figures_in(folder) == alone
        assert not read_results(folder).rows[1].alone


def test_a_killed_run_leaves_no_worker_behind(child, ended, tmp_path):
    process = started(child, "local", tmp_path / "run")
    workers = [number for number, name in descendants(process.pid).items() if WORKERS["local"] in name]
    process.kill()
    ended(process)  # which waits until nobody is left that could write
    assert len(workers) == 2
    assert are_gone(workers)


def test_pytest_runs_rows_in_workers(child, ended, alone, tmp_path):
    folder = tmp_path / "run"
    done = ended(child("pytest", "tests/rows", *ASKED, "--workers", "2", "--out", folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert figures_in(folder) == alone


def test_jobs_of_submitit_give_the_same_table(alone, tmp_path):
    executor = Executor("slurm", workers=2)
    request = Request(TIERS["smoke"], select_rows("1-2,9"), torch.device("cpu"), n_seeds=2, executor=executor)
    folder = start_run(request, tmp_path / "run")
    on_submitit = partial(run_on_slurm, executor=executor, device=request.device, threads=1, folder=folder, cluster="local")
    list(run_in_workers(request, folder, on_submitit))
    assert figures_in(folder) == alone
    assert not (folder / "jobs").exists()
