import shlex
import socket
from dataclasses import replace

import pytest
import torch

import bench.executors.check
from bench.__main__ import main
from bench.executors.check import asked_of_slurm, check_address, check_executor, places_of, runs_here
from bench.executors.choice import Executor
from gptcore.errors import UsageError

CPU, GPUS = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fast GPU")


def test_one_row_at_a_time_runs_in_this_process(toy_request):
    assert runs_here(toy_request())
    assert runs_here(toy_request(executor=Executor(workers=1)))
    assert not runs_here(toy_request(executor=Executor(workers=2)))
    assert not runs_here(toy_request(executor=Executor("ray", workers=1)))


@pytest.mark.usefixtures("four_gpus")
def test_several_gpus_take_a_row_each(toy_request):
    each = [torch.device("cuda", index) for index in range(4)]
    request = replace(toy_request(), device=GPUS)
    assert places_of(request) == each
    assert places_of(replace(request, executor=Executor(workers=3))) == each[:3]
    assert places_of(replace(request, executor=Executor(workers=1))) == [GPUS]
    assert places_of(replace(request, device=torch.device("cuda:2"))) == [torch.device("cuda:2")]
    assert places_of(replace(request, timing_only=True)) == [GPUS]
    assert places_of(toy_request(executor=Executor(workers=2))) == [CPU, CPU]


def test_rows_of_one_table_run_on_gpus_of_one_kind(toy_request, monkeypatch):
    names = ["Fast GPU", "Old GPU", "Fast GPU"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    request = replace(toy_request(), device=GPUS)
    assert places_of(request) == [torch.device("cuda:0"), torch.device("cuda:2")]
    with pytest.raises(UsageError, match="--workers 3 is more than the 2 GPUs of this machine that are like its first one"):
        check_executor(replace(request, executor=Executor(workers=3)))
    names[2:] = []
    assert places_of(request) == [GPUS]
    assert runs_here(request)
    with pytest.raises(UsageError, match="--workers 2 is more than the 1 GPU of this machine that is like its first one"):
        check_executor(replace(request, executor=Executor(workers=2)))


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"device": GPUS, "executor": Executor(workers=5)}, "--workers 5 is more than the 4 GPUs of this machine that are like its first one"),
        ({"device": torch.device("cuda:1"), "executor": Executor(workers=2)}, "--device cuda:1 is one GPU"),
        ({"device": torch.device("mps"), "executor": Executor(workers=2)}, "the one GPU that mps has"),
        ({"timing_only": True, "executor": Executor(workers=2)}, "--timing-only judges seconds"),
        ({"perturbation": 1e-6, "executor": Executor(workers=2)}, "--perturb works in one process"),
    ],
)
def test_what_workers_cannot_do_is_refused(toy_request, asked, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_executor(replace(toy_request(), **asked))


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys, tmp_path, name, package):
    monkeypatch.setattr(bench.executors.check, "find_spec", lambda asked: None)
    assert main(["run", "--rows", "1", "--executor", name, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said == f"error: --executor {name} needs the package {package}: install it with `python -m pip install {package}`\n"
    assert not (tmp_path / "run").exists()


def test_an_unknown_executor_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--executor", "moon"])
    assert ended.value.code == 2
    assert "invalid choice: 'moon' (choose from" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_told_before_a_folder_is_made(capsys, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["run", "--rows", "1", "--executor", "ray", "--address", address, "--out", str(tmp_path / "run")]) == 2
    assert f"error: the Ray cluster {address} cannot be reached (" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_clusters_address_may_stand_in_the_environment(toy_request, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://there:10001")
    with pytest.raises(UsageError, match="that of a Ray client"):
        check_executor(toy_request(executor=Executor("ray")))


def test_an_address_that_answers_is_good():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check_address(f"127.0.0.1:{listener.getsockname()[1]}")
    check_address("auto")
    check_address(None)


def test_slurm_is_needed_for_its_executor(toy_request, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no Slurm on this machine"):
        check_executor(toy_request(executor=Executor("slurm")))


def test_what_is_asked_of_slurm_is_a_list():
    assert asked_of_slurm(None) == {}
    assert asked_of_slurm("partition=gpu, time=240") == {"partition": "gpu", "time": "240"}
    for wrong in ("partition", "=gpu", "a=1,b="):
        with pytest.raises(UsageError, match="is no list of KEY=VALUE"):
            asked_of_slurm(wrong)


@pytest.mark.parametrize("said", ["comment=a\ntouch /tmp/x #", "comment=a\x1bb", "comment=a\u2028b", "comment=a\rb"])
def test_a_value_that_would_break_out_of_its_line_is_refused(said):
    with pytest.raises(UsageError, match="is no list of KEY=VALUE") as error:
        asked_of_slurm(said)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("key", ["a b", "comment;touch", "x$(touch)", "Time", "a\nb", "ärger"])
def test_a_key_is_the_name_of_an_option(key):
    with pytest.raises(UsageError, match="is no list of KEY=VALUE"):
        asked_of_slurm(f"{key}=1")


def test_whatever_is_asked_of_slurm_stays_a_quoted_value():
    """As a script for sbatch says it: one line, that no shell runs."""
    from submitit.slurm.slurm import _make_sbatch_string

    value = "a'; touch x; $(touch y) `touch z` # \\"
    script = _make_sbatch_string("true", "folder", additional_parameters=asked_of_slurm(f"comment={value}"))
    assert f"#SBATCH --comment={shlex.quote(value)}" in script.splitlines()
    assert script.count("touch") == 3
