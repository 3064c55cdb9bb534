import pytest

import gptcore.stopwatch
from gptcore.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(gptcore.stopwatch.time, "perf_counter", lambda: now[0])
    return now


def test_it_runs_from_the_start(clock):
    watch = Stopwatch()
    clock[0] += 7
    assert (watch.seconds, watch.lap) == (7, 7)


def test_it_goes_on_from_where_it_is_told_to(clock):
    watch = Stopwatch()
    clock[0] += 1000
    watch.go_on(12.0)
    assert (watch.seconds, watch.lap) == (12, 0)
    clock[0] += 3
    assert (watch.seconds, watch.lap) == (15, 3)
