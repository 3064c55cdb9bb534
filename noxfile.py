"""Every check of the project as one command; `nox` alone runs lint, types, tests and smoke.  Arguments after `--` go through."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "smoke"]
nox.options.reuse_existing_virtualenvs = True

TORCH_ENVIRONMENT = ".nox/torch"


def install(session: nox.Session, extra: str) -> None:
    session.install("--quiet", "--constraint", "constraints.txt", "--editable", f".[{extra}]")


def run_rows(session: nox.Session, tier: str) -> None:
    install(session, "rows")
    session.run("python", "-m", "pytest", "tests/rows", "--tier", tier, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and style."""
    session.install("--quiet", "--constraint", "constraints.txt", "ruff")
    session.run("ruff", "format", "--check", *session.posargs)
    session.run("ruff", "check", *session.posargs)


@nox.session(venv_location=TORCH_ENVIRONMENT)
def types(session: nox.Session) -> None:
    """Strict types in both packages."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session(venv_location=TORCH_ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """The test suite."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_location=TORCH_ENVIRONMENT)
def smoke(session: nox.Session) -> None:
    """Nineteen rows in miniature, judged against the recorded baseline."""
    run_rows(session, "smoke")


@nox.session(venv_location=TORCH_ENVIRONMENT)
def full(session: nox.Session) -> None:
    """The real experiments, judged against the published figures."""
    run_rows(session, "full")


@nox.session(venv_location=TORCH_ENVIRONMENT)
def record(session: nox.Session) -> None:
    """Run rows twice and record them as the new baselines."""
    install(session, "rows")
    session.run("python", "-m", "bench", "record", *session.posargs)
