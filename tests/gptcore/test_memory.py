import gc
import weakref

import pytest
import torch

import gptcore.memory
from gptcore.memory import free_memory, lifetime_peak, memory_at_rest, release_memory, resident_memory, resident_peak, total_memory, watch_memory

CPU = torch.device("cpu")
MIB = 2**20
needs_linux = pytest.mark.skipif(resident_peak() is None or not gptcore.memory.OWN_PEAK_RESET.exists(), reason="only Linux tells a peak that can be reset")


# How much there is


@pytest.mark.parametrize(
    ("limit", "used", "free", "total"),
    [("max", 0, 8000 * 2**10, 10000 * 2**10), (str(6 * MIB), MIB, 5 * MIB, 6 * MIB), ("100", 200, 0, 100)],
)
def test_memory_is_what_a_container_may_take(limit, used, free, total, machine):
    machine(limit, used)
    assert (free_memory(CPU), total_memory(CPU)) == (free, total)


def test_without_any_word_from_the_system_little_is_known(monkeypatch, tmp_path):
    for name in ("MEMORY", "MEMORY_LIMIT"):
        monkeypatch.setattr(gptcore.memory, name, tmp_path / "missing")
    monkeypatch.delattr("os.sysconf", raising=False)
    assert total_memory(CPU) is None
    assert free_memory(CPU) == 4 * 2**30


# What a computation held


@needs_linux
def test_the_peak_is_of_what_came_after_the_watch_began():
    large = bytearray(400 * MIB)
    start = resident_memory()
    del large
    peak = watch_memory(CPU)
    quiet = peak()
    assert quiet < start - 300 * MIB
    other = bytearray(b"x") * (100 * MIB)
    assert quiet + 90 * MIB < peak() < quiet + 110 * MIB
    del other
    assert peak() > quiet + 90 * MIB


def test_where_the_peak_cannot_be_reset_only_a_new_one_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(gptcore.memory, "OWN_PEAK_RESET", tmp_path / "missing" / "clear_refs")
    peaks = iter((500, 500, 500, 700))
    monkeypatch.setattr(gptcore.memory, "lifetime_peak", lambda: next(peaks))
    assert watch_memory(CPU)() is None
    assert watch_memory(CPU, at_rest=100)() == 600


@needs_linux
def test_what_the_program_holds_at_rest_is_not_counted():
    at_rest = memory_at_rest.__wrapped__(CPU)
    peak = watch_memory(CPU, at_rest)
    held = bytearray(b"x") * (100 * MIB)
    assert 90 * MIB < peak() < 130 * MIB
    del held


def test_what_a_first_run_leaves_loaded_is_not_the_programs_in_a_second():
    """Two runs in one process, as `record` makes them, must measure the same."""
    before = memory_at_rest(CPU)
    loaded = bytearray(b"x") * (100 * MIB)
    assert memory_at_rest(CPU) == before
    del loaded


def test_a_peak_below_what_the_program_held_at_rest_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(gptcore.memory, "OWN_PEAK_RESET", tmp_path / "clear_refs")
    monkeypatch.setattr(gptcore.memory, "resident_peak", lambda: 500)
    assert watch_memory(CPU, at_rest=500)() is None
    assert watch_memory(CPU, at_rest=499)() == 1


def test_an_accelerator_tells_of_tensors_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert memory_at_rest(torch.device("cuda")) == 0


def test_the_peak_of_a_process_is_at_least_what_it_holds():
    if (resident := resident_memory()) and (peak := lifetime_peak()):
        assert peak >= 0.9 * resident


def test_on_cuda_torch_tells_the_peak(monkeypatch):
    said = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: said.append("emptied"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: said.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123)
    assert watch_memory(torch.device("cuda"))() == 123
    assert said == ["emptied", "reset"]


def test_releasing_collects_what_is_in_cycles():
    class Node:
        pass

    node = Node()
    node.itself = node
    reference = weakref.ref(node)
    gc.disable()
    try:
        del node
        release_memory(CPU)
    finally:
        gc.enable()
    assert reference() is None
