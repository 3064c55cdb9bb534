import torch

from bench.calibration import calibrate


def test_calibration_takes_time_and_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert calibrate() > 0
    assert torch.equal(torch.rand(1), expected)
