from dataclasses import replace

import pytest

from bench.estimates import estimate_row


def test_a_row_recorded_here_takes_what_it_took(recorded, run_info):
    found = estimate_row(1, run_info(tier="full", calibration_seconds=3.0), recorded(seconds=(10.0, 40.0), tier="full"))
    assert (found.seconds, found.basis) == (pytest.approx(20.0), "recorded on this machine")


def test_where_durations_are_judged_by_the_calibration_they_follow_it(recorded, run_info):
    assert estimate_row(1, run_info(calibration_seconds=3.0), recorded(seconds=(10.0,))).seconds == pytest.approx(30.0)


def test_another_cpu_is_scaled_by_its_calibration(recorded, run_info):
    found = estimate_row(1, run_info(tier="full", device_name="Slow CPU", calibration_seconds=3.0), recorded(seconds=(10.0,), tier="full"))
    assert (found.seconds, found.basis) == (pytest.approx(30.0), "recorded on Fast CPU, scaled by calibration")


def test_a_row_that_was_never_recorded_goes_by_the_published_minutes(expectations, run_info):
    found = estimate_row(5, run_info(tier="full"), expectations)
    assert (found.seconds, found.basis) == (pytest.approx(0.69 * 60), "published, on one A100")
    assert estimate_row(5, run_info(), expectations) is None


def test_the_published_minutes_are_taken_at_the_pace_of_rows_that_were_recorded(recorded, run_info):
    of_row_1 = recorded(seconds=(0.28 * 60 * 50,), tier="full")
    found = estimate_row(5, run_info(tier="full"), of_row_1)
    assert (found.seconds, found.basis) == (pytest.approx(0.69 * 60 * 50), "published, times 50 as recorded of row 1")
    info = run_info(tier="full")
    on_the_hardware = replace(info, environment=replace(info.environment, device_name="NVIDIA A100-SXM4-40GB"))
    assert estimate_row(5, on_the_hardware, of_row_1).seconds == pytest.approx(0.69 * 60)
