import subprocess

import torch

import bench.environment
from bench.environment import describe_environment, name_device


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
