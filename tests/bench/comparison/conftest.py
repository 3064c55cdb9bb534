"""A throw-away git repository whose `bench` writes prepared results: real git and real processes, and no torch."""

import subprocess
from types import SimpleNamespace

import pytest

from bench.results import create_folder, row_file, write_row

FAKE_BENCH = """
import hashlib, json, pathlib, subprocess, sys
from bench.prepared import CODE, COMMIT, FILES, SAYS

out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir()
for name, text in FILES.items():
    if name == "run.json":
        run = json.loads(text) | {"command": " ".join(sys.argv[1:])}
        run["environment"]["git_commit"] = COMMIT or subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
        del run["sha256"]
        canonical = json.dumps(run, sort_keys=True, separators=(",", ":"))
        text = json.dumps(run | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()})
    (out / name).write_text(text)
print("a line for the log")
print(SAYS, file=sys.stderr)
sys.exit(CODE)
"""


@pytest.fixture
def repository(tmp_path, monkeypatch, run_info, row_result):
    """An empty repository in the current folder.

    `commit(subject, ...)` commits a `bench` that writes `row`, or `files`, says something to stderr and ends with an exit code; returns the hash.
    """
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def git(*arguments, cwd=folder):
        command = ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "init.defaultBranch=main", *arguments]
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()

    def prepare(row):
        prepared = tmp_path / "prepared" / str(len(list((tmp_path / "prepared").glob("*"))))
        create_folder(prepared, run_info(rows=(row.row,)))
        write_row(prepared, row)
        return {path.name: path.read_text() for path in (prepared / "run.json", row_file(prepared, row.row))}

    def commit(subject, row=None, *, files=None, code=0, says="", pretends=""):
        (folder / "bench").mkdir(exist_ok=True)
        (folder / "bench" / "__init__.py").touch()
        (folder / "bench" / "__main__.py").write_text(FAKE_BENCH)
        prepared = prepare(row or row_result()) if files is None else files
        (folder / "bench" / "prepared.py").write_text(f"FILES = {prepared!r}\nCODE = {code}\nSAYS = {says!r}\nCOMMIT = {pretends!r}\n")
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", subject)
        return git("rev-parse", "HEAD")

    git("init", "--quiet")
    return SimpleNamespace(folder=folder, git=git, commit=commit, prepare=prepare)


@pytest.fixture
def state_of(repository):
    """What must be the same after any work on revisions: branches, HEAD, working tree, worktrees, a bisection that goes on."""

    def state():
        refs = repository.git("for-each-ref")
        head = (repository.folder / ".git" / "HEAD").read_text()
        status = repository.git("status", "--porcelain", "--ignored")
        files = {path.name: path.read_text() for path in (repository.folder / ".git").glob("BISECT_*")}
        return refs, head, status, repository.git("worktree", "list"), repository.git("stash", "list"), files

    return state
