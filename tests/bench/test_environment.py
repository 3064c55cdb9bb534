import subprocess
from dataclasses import replace

import pytest
import torch

import bench.environment
from bench.environment import describe_environment, differences, name_device


def test_the_snapshot_names_device_threads_and_versions():
    environment = describe_environment(torch.device("cpu"))
    assert environment.device_class == "cpu"
    assert environment.device_name == name_device(torch.device("cpu")) != ""
    assert environment.threads == torch.get_num_threads()
    assert environment.packages["torch"] == torch.__version__


def test_only_variables_that_bear_on_numbers_are_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    variables = describe_environment(torch.device("cpu")).environment_variables
    assert variables["OMP_NUM_THREADS"] == "2"
    assert "SECRET_TOKEN" not in variables


def test_a_machine_without_git_has_no_commit(monkeypatch):
    def no_git(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert bench.environment.describe_environment(torch.device("cpu")).git_commit == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"code": "0" * 64}, "the code is another one than at commit"),
        ({"threads": 9}, "threads were 9 and are 1"),
        ({"python": "3.10.1"}, "python was 3.10.1 and is"),
        ({"device_name": "Fast CPU"}, "device name was Fast CPU and is"),
        ({"environment_variables": {"MKL_CBWR": "AVX2"}}, "the environment variable MKL_CBWR was AVX2 and is not set"),
    ],
)
def test_what_would_move_figures_is_told(toy_run, change, sentence):
    here = toy_run.results.info.environment
    here = replace(here, environment_variables={})
    (told,) = differences(replace(here, **change), here)
    assert told.startswith(sentence)


def test_of_packages_those_are_told_that_changed(toy_run):
    here = toy_run.results.info.environment
    assert differences(replace(here, packages=here.packages | {"torch": "1.0"}), here) == [f"torch was 1.0 and is {torch.__version__}"]


def test_how_many_threads_were_asked_for_does_not_matter_where_as_many_ran(toy_run):
    here = replace(toy_run.results.info.environment, environment_variables={})
    other = replace(here, environment_variables={"OMP_NUM_THREADS": "7"})
    assert differences(here, other) == differences(other, here) == []
    assert differences(replace(other, threads=7), here) == [f"threads were 7 and are {here.threads}"]


def test_the_clock_and_the_commit_may_differ(toy_run):
    here = toy_run.results.info.environment
    assert differences(replace(here, date="1970-01-01", git_commit="0" * 40, git_dirty=not here.git_dirty, cores=99), here) == []
