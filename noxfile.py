"""Every check of the project as one command; `nox` alone runs lint, types, tests and smoke.  Arguments after `--` go through."""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "smoke"]
nox.options.reuse_existing_virtualenvs = True

# torch is too large for a copy per session: all but lint share one environment.
SHARED = Path(".nox", "shared").resolve()
PYTHON = str(SHARED / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
SIDE_BY_SIDE = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--benchmark-disable")
INTERRUPT_SECONDS = 30  # for an interrupted run to print what it has
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
OLDEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")
PINNED = ("--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt")


def install(session: nox.Session, extra: str) -> None:
    """Make the shared environment if need be, and install this checkout anew where what it asks for has changed."""
    asked_for = Path("pyproject.toml").read_bytes() + Path("constraints.txt").read_bytes() + str(SHARED).encode()
    stamp = SHARED / f"{extra}-{hashlib.sha256(asked_for).hexdigest()[:16]}"
    if stamp.exists():
        return
    if not Path(PYTHON).exists():
        session.run(sys.executable, "-m", "venv", str(SHARED), external=True)
    session.run(PYTHON, "-m", "pip", "install", *PINNED, "--editable", f".[{extra}]", external=True)
    stamp.touch()


def lower_bounds(project: Mapping[str, Any]) -> list[str]:
    """Constraints that pin whatever `project` and its extras ask for to the oldest version they allow."""
    asked_for: Iterable[str] = chain(project["dependencies"], *project.get("optional-dependencies", {}).values())
    bounds = ((requirement.name, bound) for requirement in map(Requirement, asked_for) for bound in requirement.specifier)
    return sorted({f"{name}=={bound.version}" for name, bound in bounds if bound.operator == ">="})


def run_rows(session: nox.Session, tier: str) -> None:
    """The row tests at one tier."""
    install(session, "rows")
    session.run(PYTHON, "-m", "pytest", "tests/rows", "--tier", tier, *session.posargs, external=True, interrupt_timeout=INTERRUPT_SECONDS)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and style, and the workflows: their schema, and an audit of what an attacker could do with them."""
    session.install(*PINNED, "ruff", "check-jsonschema", "zizmor")
    session.run("ruff", "format", "--check", *session.posargs)
    session.run("ruff", "check", *session.posargs)
    workflows = sorted(map(str, Path(".github", "workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("zizmor", "--offline", "--no-progress", "--persona", "pedantic", ".github")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Strict types in both packages."""
    install(session, "types")
    session.run(PYTHON, "-m", "mypy", *session.posargs, external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The test suite, a file at a time on each of up to four cores."""
    install(session, "test")
    session.run(PYTHON, "-m", "pytest", *SIDE_BY_SIDE, *session.posargs, external=True)


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """Kills, full disks, misbehaving servers and hostile files, for real: under ten minutes on two cores."""
    install(session, "test")
    session.run(PYTHON, "-m", "pytest", "-m", "faults", *SIDE_BY_SIDE, *session.posargs, external=True)


@nox.session(venv_backend="none")
def smoke(session: nox.Session) -> None:
    """Nineteen rows in miniature, judged against the recorded baseline."""
    run_rows(session, "smoke")


@nox.session(venv_backend="none")
def full(session: nox.Session) -> None:
    """The real experiments, judged against the published figures."""
    run_rows(session, "full")


@nox.session(venv_backend="none")
def summary(session: nox.Session) -> None:
    """What a pull request shows of a results folder."""
    install(session, "rows")
    session.run(PYTHON, "-m", "bench", "summary", *session.posargs, external=True)


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """A past result as a page for a browser: nox -s report -- RESULTS."""
    install(session, "report")
    session.run(PYTHON, "-m", "bench", "report", *session.posargs, external=True)


@nox.session(venv_backend="none")
def speed(session: nox.Session) -> None:
    """Plain against fast, in turn, at GPT-2's size with random weights."""
    install(session, "rows")
    session.run(PYTHON, "-m", "bench", "speed", *session.posargs, external=True)


@nox.session(venv_backend="none")
def sensitivity(session: nox.Session) -> None:
    """How often clean runs are flagged, and which deliberate defects are caught: half an hour on two cores."""
    install(session, "rows")
    session.run(PYTHON, "-m", "bench", "sensitivity", *session.posargs, external=True)


@nox.session(venv_backend="none")
def record(session: nox.Session) -> None:
    """Run rows twice, with other seeds and under other rounding, and record them as the new baselines."""
    install(session, "rows")
    session.run(PYTHON, "-m", "bench", "record", *session.posargs, external=True)


@nox.session(venv_backend="virtualenv")  # pip's own flags and variables
@nox.parametrize(("end", "python"), [("oldest", OLDEST_PYTHON), ("newest", None)], ids=["oldest", "newest"])
def decay(session: nox.Session, end: str) -> None:
    """Smoke rows and gptcore's tests, warnings as errors, on the oldest and on the newest packages allowed: an environment each, with its own torch."""
    constraints: tuple[str, ...] = ()
    if end == "oldest":
        lowest = Path(session.virtualenv.location, "lowest.txt")
        lowest.write_text("\n".join(lower_bounds(PROJECT)), encoding="utf-8")
        constraints = ("--constraint", str(lowest))
    session.install("--upgrade", "--upgrade-strategy", "eager", *constraints, "--editable", ".[test]")
    session.run("python", "-m", "pip", "list")
    session.run("python", "-W", "error", "-m", "bench", "run", *session.posargs)
    session.run("python", "-W", "error", "-m", "pytest", "tests/gptcore")
