"""`nox` runs the rows and the tests.  Everything runs in the environment that nox is in, where `finetuning-benchmarks[rows]` is installed."""

import nox


@nox.session(venv_backend="none")
def rows(session: nox.Session) -> None:
    session.run("python", "rows.py", "run", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    session.run("python", "-m", "pytest", *session.posargs)
