import pytest
import torch

from gptcore.device import pick_device, reproducible
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
    with pytest.raises(UsageError, match=f"--device {name} is (unknown|not available)"):
        pick_device(name)


def test_the_body_runs_deterministically():
    with reproducible():
        assert torch.are_deterministic_algorithms_enabled()


def test_random_state_and_switches_come_back_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with reproducible():
            torch.manual_seed(99)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
