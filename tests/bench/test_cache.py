import io
import os
import time
from datetime import datetime

import pytest
import torch
from rich.console import Console

from bench.cache import clear_cache, print_cache
from gptcore.state_cache import StateCache


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=50, highlight=False)


@pytest.fixture
def cache(tmp_path):
    return StateCache(tmp_path / "a folder [/] whose name is longer than a line of the console", 10**7)


def keep(cache, letter, n_rows, last_used):
    cache.save(letter * 64, torch.zeros(n_rows, 1000), 1.5)
    os.utime(cache.folder / f"{letter * 64}.safetensors", (last_used.timestamp(),) * 2)


@pytest.fixture
def new_york(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_list_names_every_entry_and_the_whole(console, cache, new_york):
    keep(cache, "b", 300, datetime.fromisoformat("2025-03-04T05:06:00+00:00"))
    keep(cache, "a", 100, datetime.fromisoformat("2025-07-04T05:06:00+00:00"))
    print_cache(console, cache)
    lines = console.file.getvalue().splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [["b" * 12, "1.2", "2025-03-04 00:06"], ["a" * 12, "0.4", "2025-07-04 01:06"]]
    assert lines[-1] == f"{cache.folder}: 2 entries, 1.6 MB"


def test_an_empty_cache_is_one_sentence(console, cache):
    print_cache(console, cache)
    assert console.file.getvalue() == f"{cache.folder} keeps no computed states\n"


@pytest.mark.parametrize(("letters", "said"), [("", "0 entries, 0.0 MB"), ("a", "1 entry, 0.4 MB"), ("ab", "2 entries, 0.8 MB")])
def test_clearing_says_what_went(letters, said, console, cache):
    for letter in letters:
        keep(cache, letter, 100, datetime.fromisoformat("2025-03-04T05:06:00+00:00"))
    clear_cache(console, cache)
    assert console.file.getvalue() == f"removed {said}, from {cache.folder}\n"
    assert cache.entries() == []
