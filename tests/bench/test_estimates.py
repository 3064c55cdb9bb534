from dataclasses import replace

import pytest

from bench.estimates import estimate_row
from bench.expectations import load_expectations


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


def test_other_rows_go_by_their_arithmetic_at_the_pace_of_rows_that_were_recorded(recorded, run_info):
    of_row_1 = recorded(seconds=(100.0,), tier="full")
    info = run_info(tier="full")
    found = estimate_row(18, info, of_row_1)
    assert (found.seconds, found.basis) == (pytest.approx(100.0), "its arithmetic alone, at the pace recorded of row 1")
    assert estimate_row(3, info, of_row_1).seconds < 100 < 200 < estimate_row(4, info, of_row_1).seconds
    on_the_hardware = replace(info, environment=replace(info.environment, device_name="NVIDIA A100-SXM4-40GB"))
    assert estimate_row(5, on_the_hardware, of_row_1).seconds == pytest.approx(0.69 * 60)


def test_the_row_that_was_recorded_with_nothing_frozen_tells_of_rows_with_frozen_blocks(run_info):
    info = run_info(tier="full", device_name="AMD EPYC")
    committed = load_expectations()
    assert estimate_row(10, info, committed).seconds == pytest.approx(2380, abs=1)
    assert estimate_row(1, info, committed).seconds == pytest.approx(2.2 * 60, rel=0.2)  # as measured with random weights


def test_fewer_threads_are_never_promised_to_be_faster(recorded, run_info):
    expected = recorded(seconds=(10.0,), tier="full")
    one, two, four = (estimate_row(1, run_info(tier="full", threads=threads, calibration_seconds=0.1), expected) for threads in (1, 2, 4))
    assert [found.seconds for found in (one, two, four)] == [pytest.approx(seconds) for seconds in (20.0, 10.0, 10.0)]
    assert one.basis == "recorded on this machine with 2 threads"
    elsewhere = estimate_row(1, run_info(tier="full", device_name="Slow CPU", threads=1, calibration_seconds=0.1), expected)
    assert (elsewhere.seconds, elsewhere.basis) == (pytest.approx(20.0), "recorded on Fast CPU with 2 threads")
