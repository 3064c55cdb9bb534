import subprocess
from dataclasses import replace

import numpy as np
import pytest

from bench.history import ACCURACY, DURATION, LEVEL, known_commits, read_history
from bench.results import ResultsError, create_folder, write_row
from gptcore.experiment import Experiment, settings_of


@pytest.fixture
def write_run(tmp_path, run_info, row_result, figures):
    """Writes a results folder with row 1 below `tmp_path/runs`."""

    def write(name, commit="", right=285, seconds=16.0, day=1, row=None, code=None, calibration=1.0, **info):
        info = run_info(**info)
        environment = replace(info.environment, git_commit=commit, git_dirty=False, date=f"2026-11-{day:02d}T00:00:00+00:00", code=code or name)
        folder = tmp_path / "runs" / name
        create_folder(folder, replace(info, environment=environment, calibration_seconds=calibration))
        write_row(folder, row or row_result(figures=figures(right=(1005, 148, right), seconds=seconds)))
        return folder

    return write


@pytest.fixture
def history(tmp_path, expectations):
    return lambda **settings: read_history(tmp_path / "runs", expectations, **settings)


def noise(n, scale=0.03):
    return np.exp(np.random.default_rng(3).normal(scale=scale, size=n))


# What is found


def test_a_run_of_another_suites_tier_is_left_out_and_told(write_run, history):
    write_run("known")
    write_run("other", tier="tiny")
    found = history()
    assert [run.folder for group in found.groups for run in group.runs] == ["known"]
    (sentence,) = found.skipped
    assert "other is of the tiny tier" in sentence


def test_a_slower_row_is_a_change_between_two_commits(write_run, history):
    for index, factor in enumerate(noise(12)):
        write_run(f"run-{index:02d}", day=index + 1, seconds=16 * factor * (2 if index >= 7 else 1))
    ((series,),) = ([*group.series] for group in history().groups)
    (change,) = series.changes
    assert (change.metric, change.index) == (DURATION, 7)
    assert (change.before, change.after) == (pytest.approx(16, rel=0.05), pytest.approx(32, rel=0.05))
    assert series.points[change.index].run.folder == "run-07"


def test_a_worse_row_is_a_change_of_accuracy(write_run, history):
    for index in range(8):
        write_run(f"run-{index}", day=index + 1, right=285 if index < 4 else 240)
    (change,) = history().groups[0].series[0].changes
    assert (change.metric, change.index, change.before, change.after) == (ACCURACY, 4, pytest.approx(0.95), pytest.approx(0.8))


def test_noise_is_no_change(write_run, history):
    for index, factor in enumerate(noise(20, scale=0.2)):
        write_run(f"run-{index:02d}", day=index + 1, seconds=16 * factor, right=285 + index % 2)
    assert history().groups[0].series[0].changes == ()


def test_the_level_is_shared_by_all_series_that_are_tested(write_run, history):
    for index in range(6):
        write_run(f"run-{index}", day=index + 1)
    assert history().groups[0].level == pytest.approx(LEVEL / 2)


def test_runs_of_the_same_code_have_no_change_between_them(write_run, history):
    for index in range(8):
        write_run(f"run-{index}", day=index + 1, seconds=16 if index < 4 else 32, code="one")
    assert history().groups[0].series[0].changes == ()


def test_what_else_changed_is_told(write_run, history, run_info):
    newer = run_info().environment.packages | {"torch": "9.0"}
    for index in range(8):
        write_run(f"run-{index}", day=index + 1, right=285 if index < 4 else 240, **({"packages": newer} if index >= 4 else {}))
    (change,) = history().groups[0].series[0].changes
    assert change.besides.startswith("torch ")
    assert change.besides.endswith(" became 9.0")


# What meets what


def test_other_machines_and_ways_never_meet(write_run, history):
    write_run("here")
    write_run("there", device_name="Slow CPU")
    write_run("threads", threads=7)
    write_run("plain", plain=True)
    write_run("chosen", chosen=("data",))
    groups = history().groups
    assert len(groups) == 5
    assert all(len(group.runs) == 1 for group in groups)
    assert len({group.title for group in groups}) == 5


def test_other_digests_never_meet(write_run, history, row_result):
    write_run("one")
    write_run("other", row=row_result(settings=settings_of(Experiment(batch_size=4))))
    (group,) = history().groups
    assert [len(series.points) for series in group.series] == [1, 1]
    assert {series.variant for series in group.series} == {f"settings {series.digests['settings'][:8]}" for series in group.series}


def test_other_seeds_never_meet(write_run, history, of_seeds, seeds):
    write_run("one")
    write_run("three", row=of_seeds(seeds(3)))
    assert {series.variant for series in history().groups[0].series} == {"seed 123", "3 seeds from 123"}


def test_a_row_that_failed_is_told_and_left_out(write_run, history, row_result):
    write_run("failed", row=row_result(figures=None, error="broken"))
    (group,) = history().groups
    assert group.series == ()
    assert group.failed == ("failed: row 1 has no figures for a history",)


def test_durations_are_at_the_pace_of_the_calibration(write_run, history):
    write_run("slow-day", seconds=32.0, calibration=2.0)
    write_run("usual", seconds=16.0, calibration=1.0, day=2)
    (group,) = history().groups
    assert group.pace == pytest.approx(1.5)
    assert [point.seconds for point in group.series[0].points] == pytest.approx([24.0, 24.0])


def test_time_alone_has_no_accuracies(write_run, history):
    write_run("timed", timing_only=True)
    assert history().groups[0].series[0].points[0].accuracies == {}


# Folders and order


def test_runs_are_in_order_of_time_where_git_knows_nothing(write_run, history, tmp_path):
    for name, day in (("b", 1), ("c", 3), ("a", 2)):
        write_run(name, day=day, commit="a" * 40)
    found = history(repository=tmp_path)
    assert [run.folder for run in found.groups[0].runs] == ["b", "a", "c"]
    assert "not every commit is known" in found.order


def test_commits_go_by_gits_order_whatever_the_clock_said(write_run, history, tmp_path, commits):
    first, second, third = commits
    for name, commit, day in (("x", third, 1), ("y", first, 2), ("z", second, 3)):
        write_run(name, commit=commit, day=day)
    found = history(repository=tmp_path / "repository")
    assert [run.folder for run in found.groups[0].runs] == ["y", "z", "x"]
    assert [run.subject for run in found.groups[0].runs] == ["one", "two", "three"]


@pytest.fixture
def commits(tmp_path, monkeypatch):
    """Three commits of a repository, oldest first."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*arguments):
        command = ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    hashes = []
    for subject in ("one", "two", "three"):
        git("commit", "--quiet", "--allow-empty", "--message", subject)
        hashes.append(git("rev-parse", "HEAD"))
    return hashes


def test_only_hashes_get_to_git(tmp_path, commits):
    hostile = {"--output=stolen", "HEAD", "a" * 40, ""}
    assert known_commits({commits[1], *hostile}, tmp_path / "repository") == {commits[1]: "two"}
    assert known_commits(hostile, tmp_path / "repository") == {}
    assert not list(tmp_path.rglob("stolen"))


def test_damaged_folders_are_skipped_with_a_sentence_each(write_run, history, tmp_path):
    write_run("whole")
    for name in ("bad", "worse"):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "run.json").write_text("{")
    found = history()
    assert [run.folder for run in found.groups[0].runs] == ["whole"]
    assert len(found.skipped) == 2
    assert all("is not what a run writes" in sentence for sentence in found.skipped)


def test_nothing_to_read_is_an_error(history, tmp_path):
    with pytest.raises(ResultsError, match="holds no results folder: name a folder"):
        history()
    (tmp_path / "runs" / "bad").mkdir(parents=True)
    (tmp_path / "runs" / "bad" / "run.json").write_text("{")
    with pytest.raises(ResultsError, match="the first problem: "):
        history()
