import shlex

import pytest
import torch

import gptcore.device
from gptcore.device import check_precision, float32_products, pick_device, reproducible, usable_cores
from gptcore.errors import UsageError


@pytest.fixture
def machine_with(monkeypatch):
    """Pretends that the machine has these accelerators."""

    def pretend(*, cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(0, False, "cpu"), (0, True, "mps"), (2, False, "cuda"), (1, True, "cuda")])
def test_auto_prefers_cuda_then_mps(cuda, mps, chosen, machine_with):
    machine_with(cuda=cuda, mps=mps)
    assert pick_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_is_there_is_taken(name, machine_with):
    machine_with(cuda=2, mps=True)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_missing_is_refused_with_those_that_are_there(name, machine_with):
    machine_with()
    with pytest.raises(UsageError, match=f"--device {name} is not available on this machine: choose one of cpu, or auto"):
        pick_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:x", "cuda:-1", "cuda:2"])
def test_an_unknown_device_is_refused(name, machine_with):
    machine_with(cuda=2)
    with pytest.raises(UsageError, match=f"--device {shlex.quote(name)} is (unknown|not available)"):
        pick_device(name)


def test_the_body_runs_deterministically():
    with reproducible():
        assert torch.are_deterministic_algorithms_enabled()


def test_random_state_and_switches_come_back_after_an_error():
    before = torch.get_rng_state()
    filling = torch.utils.deterministic.fill_uninitialized_memory

    def fail():
        with reproducible():
            torch.manual_seed(99)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == filling


@pytest.mark.parametrize(("precision", "inside"), [("fp32", "highest"), ("tf32", "high"), ("bf16", "highest")])
def test_products_of_float32_are_full_unless_tf32_is_asked_for(precision, inside):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with float32_products(precision):
            assert torch.get_float32_matmul_precision() == inside
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_tf32_is_refused_where_nothing_computes_in_it():
    check_precision("tf32", torch.device("cuda"))
    check_precision("bf16", torch.device("cpu"))
    with pytest.raises(UsageError, match="--precision tf32 needs a CUDA device and this runs on cpu: use fp32 or bf16"):
        check_precision("tf32", torch.device("cpu"))


@pytest.mark.parametrize(
    ("allowed", "quota", "threads", "cores"),
    [(8, None, 4, 4), (2, None, 4, 2), (8, "max 100000", 8, 8), (8, "150000 100000", 8, 1), (8, "400000 100000", 8, 4), (8, "50000 100000", 8, 1)],
)
def test_threads_fit_what_this_process_may_use(allowed, quota, threads, cores, monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(allowed)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(gptcore.device, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores() == cores
