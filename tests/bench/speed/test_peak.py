import math

import pytest
import torch

import bench.speed.peak
from bench.speed.peak import matmul_peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_peak_is_positive_and_leaves_the_random_state_alone(dtype, monkeypatch):
    monkeypatch.setattr(bench.speed.peak, "SHAPES", ((3, 4, 5), (8, 8, 8)))
    state = torch.get_rng_state()
    peak = matmul_peak(torch.device("cpu"), dtype, rounds=2)
    assert peak > 0
    assert math.isfinite(peak)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_best_round_of_the_best_shape_counts(monkeypatch):
    monkeypatch.setattr(bench.speed.peak, "SHAPES", ((2, 3, 5), (7, 1, 1)))
    seconds = iter([4.0, 3.0, 2.0, 1.0])
    monkeypatch.setattr(bench.speed.peak, "_time_product", lambda *matrices: next(seconds))
    assert matmul_peak(torch.device("cpu"), rounds=2) == max(2 * 30 / 3, 2 * 7 / 1)
