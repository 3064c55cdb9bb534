import os
import tempfile
from pathlib import Path

import pytest

from bench.comparison.compare import Verdict
from bench.comparison.revisions import RevisionError, checkout, compare_revisions, is_results_folder, resolve, run_revision
from bench.results import ResultsError, make_folder


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    """Where checkouts are made, so that a test sees what is left of them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def two_commits(repository, row_result, figures):
    """A commit, and one that loses 45 test texts and fails its own judge."""
    base = repository.commit("Begin", row_result())
    head = repository.commit("Break it", row_result(figures=figures(right=(1005, 148, 240))), code=1)
    return base, head


@pytest.fixture
def run(repository, tmp_path):
    """Runs a revision by name in a checkout of its own."""

    def run_it(name="HEAD", out="one"):
        revision = resolve(name, repository.folder)
        with checkout(revision, repository.folder) as place:
            return run_revision(revision, place, [], tmp_path / "out" / out)

    return run_it


def test_a_results_folder_is_told_from_a_revision(tmp_path, results_folder, run_info):
    from bench.results import Results

    assert is_results_folder(str(results_folder(Results(run_info(), {}))))
    assert not is_results_folder(str(tmp_path))
    assert not is_results_folder("HEAD~1")


# Names.


def test_branches_tags_and_hashes_are_commits(repository, two_commits):
    base, head = two_commits
    repository.git("tag", "--annotate", "v1", "--message", "a tag object", base)
    for name, commit in (("main", head), ("HEAD~1", base), ("v1", base), (base, base), (head[:12], head)):
        assert resolve(name, repository.folder).commit == commit
    assert resolve("main", repository.folder).subject == "Break it"
    assert str(resolve("v1", repository.folder)) == f"v1 ({base[:10]})"
    assert str(resolve(base, repository.folder)) == base[:10]


@pytest.mark.parametrize("name", ["nowhere", "--all", "-h", "", "HEAD:bench", "HEAD^{tree}", "main..HEAD"])
def test_what_is_no_commit_is_told(repository, two_commits, name):
    with pytest.raises(RevisionError, match="is no commit that git knows here: name a branch, a tag or a hash"):
        resolve(name, repository.folder)


def test_outside_a_checkout_it_is_told_what_to_do(tmp_path):
    with pytest.raises(RevisionError, match=r"not a git repository.*: run this inside a git checkout"):
        resolve("HEAD", tmp_path)


def test_without_git_it_is_told_what_to_do(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RevisionError, match="install git, and run this inside a git checkout"):
        resolve("HEAD", repository.folder)


# Running.


def test_revisions_run_in_turn_each_with_its_own_code(repository, two_commits, state_of, tmp_path):
    before, said = state_of(), []
    comparisons = compare_revisions("HEAD~1", "main", ["--rows", "1", "--seeds", "2"], tmp_path / "out", repeats=2, echo=said.append)
    test = next(comparison for comparison in comparisons if comparison.metric == "test_accuracy")
    assert (test.base, test.head, test.verdict) == (0.95, 0.8, Verdict.WORSE)
    assert [line.split(":")[0] for line in said] == [
        f"[{repeat}/2] {side} ({commit[:10]})" for repeat in (1, 2) for side, commit in zip(("BASE, HEAD~1", "HEAD, main"), two_commits, strict=True)
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{side}-{repeat}{end}" for side in ("base", "head") for repeat in (1, 2) for end in ("", ".log")
    }
    assert "a line for the log" in (tmp_path / "out" / "base-1.log").read_text()
    assert "run --rows 1 --seeds 2 --out" in (tmp_path / "out" / "base-1" / "run.json").read_text()
    assert state_of() == before


def test_a_commit_compared_with_itself_is_the_same(two_commits, tmp_path):
    assert {comparison.verdict for comparison in compare_revisions("main", "main", [], tmp_path / "out")} == {Verdict.SAME}


def test_neither_installed_nor_preferred_code_runs(repository, two_commits, run, tmp_path, monkeypatch):
    other = tmp_path / "other" / "bench"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "__main__.py").write_text("raise SystemExit('the wrong code ran')")
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    assert 1 in run().rows
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # Python then leaves the current folder out
    assert 1 in run(out="two").rows


def test_code_of_another_commit_is_noticed(repository, run):
    repository.commit("Pretend", pretends="f" * 40)
    with pytest.raises(RevisionError, match=r"was to run, but ffffffffff did"):
        run()


def test_what_git_tells_its_hooks_leads_nobody_astray(repository, two_commits, run, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.folder / ".git" / "index"))
    assert run("HEAD~1").info.environment.git_commit == two_commits[0]


def test_uncommitted_changes_are_told_and_left_alone(repository, two_commits, state_of, tmp_path):
    (repository.folder / "bench" / "__main__.py").write_text("raise SystemExit('uncommitted')")
    (repository.folder / "new.txt").touch()
    before, said = state_of(), []
    compare_revisions("HEAD~1", "HEAD", [], tmp_path / "out", repeats=1, echo=said.append)
    assert said[0].startswith("uncommitted changes take no part")
    assert state_of() == before


def test_hooks_of_the_person_do_not_run(repository, two_commits, run, tmp_path):
    hook = repository.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n")
    hook.chmod(0o755)
    run()
    assert not (tmp_path / "hooked").exists()


def test_a_shallow_clone_with_a_fetched_branch_will_do(repository, two_commits, tmp_path, monkeypatch):
    """As a runner has it: nothing but the last commit, and the base fetched beside it without a branch."""
    repository.git("branch", "base", "HEAD~1")
    url = f"file://{repository.folder}"
    repository.git("clone", "--quiet", "--depth", "1", url, str(tmp_path / "runner"))
    repository.git("fetch", "--quiet", "--depth", "1", url, "base:refs/remotes/origin/base", cwd=tmp_path / "runner")
    monkeypatch.chdir(tmp_path / "runner")
    comparisons = compare_revisions("origin/base", "HEAD", [], tmp_path / "out", repeats=1, echo=lambda line: None)
    assert Verdict.WORSE in {comparison.verdict for comparison in comparisons}


# What goes wrong.


def test_a_revision_that_refuses_is_told_with_its_last_line(repository, run):
    repository.commit("Refuse", code=2, says="usage: bench\nerror: unrecognized arguments: --seeds 3")
    with pytest.raises(RevisionError, match=r"revision HEAD \(\w{10}\) did not run \(exit code 2: error: unrecognized arguments: --seeds 3\): name another"):
        run()


def test_a_crash_is_told_with_its_last_line(repository, run):
    repository.commit("Crash", files={}, code=1, says="Traceback\nImportError: no torch")
    with pytest.raises(RevisionError, match=r"left no results that this version can read \(ImportError: no torch\)"):
        run()


def test_results_of_another_time_name_the_revision(repository, run, row_result):
    files = repository.prepare(row_result())
    repository.commit("Long ago", files=files | {"row-01.json": '{"row": 1}'})
    with pytest.raises(RevisionError, match=r"revision HEAD \(\w{10}\) left no results that this version can read \(.*row-01.json is not what a run writes"):
        run()


def test_a_run_that_broke_off_is_no_result(repository, run, row_result):
    files = repository.prepare(row_result())
    repository.commit("Killed", files={"run.json": files["run.json"]}, code=1, says="MemoryError")
    with pytest.raises(RevisionError, match=r"broke off before row 1 \(MemoryError\)"):
        run()


def test_a_revision_without_bench_never_runs_what_is_installed(repository, two_commits, run):
    repository.git("rm", "--quiet", "-r", "bench")
    repository.git("commit", "--quiet", "--message", "Remove bench")
    with pytest.raises(RevisionError, match=r"has no bench/__main__\.py to run"):
        run()


def test_a_folder_in_use_is_left_alone(two_commits, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ResultsError, match="is not empty or no folder"):
        compare_revisions("HEAD~1", "HEAD", [], tmp_path / "out")
    with pytest.raises(ResultsError, match="is not empty or no folder"):
        make_folder(tmp_path / "out" / "mine")
    with pytest.raises(ResultsError, match="cannot hold results"):
        make_folder(tmp_path / "out" / "mine" / "deeper")


def test_no_repeats_are_no_comparison(two_commits, tmp_path):
    with pytest.raises(RevisionError, match="--repeats 0 runs nothing"):
        compare_revisions("HEAD~1", "HEAD", [], tmp_path / "out", repeats=0)


@pytest.mark.parametrize("problem", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_no_checkout_behind(two_commits, state_of, tmp_path, own_temporary_folder, problem):
    def interrupt(line):
        assert len(list(own_temporary_folder.iterdir())) == 2
        raise problem

    before = state_of()
    with pytest.raises(problem):
        compare_revisions("HEAD~1", "HEAD", [], tmp_path / "out", echo=interrupt)
    assert state_of() == before
    assert list(own_temporary_folder.iterdir()) == []


def test_a_checkout_that_cannot_be_made_leaves_nothing_behind(repository, two_commits, state_of, own_temporary_folder):
    revision = resolve("HEAD", repository.folder)
    before = state_of()
    (repository.folder / ".git" / "worktrees").touch()
    with pytest.raises(RevisionError, match="git worktree add"), checkout(revision, repository.folder):
        pass
    (repository.folder / ".git" / "worktrees").unlink()
    assert state_of() == before
    assert list(own_temporary_folder.iterdir()) == []


def test_the_current_folder_may_be_any_inside_the_repository(repository, two_commits, tmp_path, monkeypatch):
    monkeypatch.chdir(repository.folder / "bench")
    out = Path(os.path.relpath(tmp_path / "out"))
    assert compare_revisions("main", "main", [], out, repeats=1, echo=lambda line: None)
    assert (tmp_path / "out" / "head-1").is_dir()
