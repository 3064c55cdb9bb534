"""Real processes that are killed, starved and locked out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def command(*arguments):
    return [sys.executable, "-m", *map(str, arguments)]


def start(*arguments, **options):
    """A child process of our own interpreter, from the checkout, with pipes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of processes that run tests side by side
    environment = {**inherited, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | options.pop("variables", {})
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*arguments), cwd=CHECKOUT, env=environment, encoding="utf-8", **streams | options)


def finish(process):
    """What a child process said, and how it ended."""
    said, complained = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


@pytest.fixture(scope="session")
def child():
    """Starts a child process: `child("bench", "run", ...)`."""
    return start


@pytest.fixture(scope="session")
def ended():
    """Waits for a child process."""
    return finish


@pytest.fixture
def run(child, ended):
    """Runs a child process to its end."""
    return lambda *arguments, **options: ended(child(*arguments, **options))
