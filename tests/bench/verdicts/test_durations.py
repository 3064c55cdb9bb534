import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.expectations import DurationPolicy
from bench.statistics import pooled_reach
from bench.verdicts.durations import judge_published_duration, judge_recorded_duration, judge_seconds
from bench.verdicts.verdict import Verdict

SECONDS = DurationPolicy(calibrated=False, advisory=False, at_most=1.25)
CALIBRATIONS = DurationPolicy(calibrated=True, advisory=True, at_most=None)
TIMED = (16.0, 16.1, 16.2, 16.3)
MIDDLE = math.prod(TIMED) ** (1 / 4)
groups = st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=5), min_size=1, max_size=5).filter(lambda drawn: any(len(group) > 1 for group in drawn))


@pytest.fixture(scope="session")
def timed(recorded):
    """Row 1 of the full tier as recorded in four timings."""
    return recorded(seconds=TIMED, tier="full").baselines["full"]["cpu"][1]


@pytest.fixture(scope="session")
def against_recorded(timed, row_result, figures, run_info):
    """Judges seconds against four timings; keyword arguments are the run's."""

    def judge(seconds, baseline=timed, policy=SECONDS, **info):
        return judge_recorded_duration(row_result(), figures(seconds=seconds), baseline, run_info(tier="full", **info), policy)

    return judge


# Against our own timings


def test_the_spread_of_the_timings_decides_both_ways(timed, against_recorded):
    low, high = (MIDDLE * factor for factor in timed.bands.duration)
    assert low < min(TIMED) < max(TIMED) < high
    for seconds, verdict in (
        (MIDDLE, Verdict.PASS),
        (high * 0.9999, Verdict.PASS),
        (high * 1.0001, Verdict.REGRESSED),
        (low * 1.0001, Verdict.PASS),
        (low * 0.9999, Verdict.IMPROVED),
    ):
        judgement = against_recorded(seconds)
        assert (judgement.verdict, judgement.found, judgement.advisory) == (verdict, seconds, False)
        assert (judgement.expected, judgement.low, judgement.high) == pytest.approx((MIDDLE, low, high))
        assert judgement.explanation == "spread of 4 timings"


def test_a_row_timed_once_is_not_comparable(recorded, against_recorded):
    judgement = against_recorded(99.0, recorded(tier="full").baselines["full"]["cpu"][1])
    assert (judgement.verdict, judgement.advisory) == (Verdict.NOT_COMPARABLE, True)
    assert "timed once" in judgement.explanation


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"device_name": "Slow CPU"}, "measured on Fast CPU, threads: 2; this is another machine"),
        ({"threads": 3}, "measured on Fast CPU, threads: 2; this is another machine"),
        ({"plain": True}, "the plain way is for audits"),
    ],
)
def test_another_machine_other_threads_and_the_plain_way_are_not_comparable(against_recorded, info, reason):
    judgement = against_recorded(9999.0, **info)
    assert (judgement.verdict, judgement.explanation, judgement.advisory) == (Verdict.NOT_COMPARABLE, reason, True)


def test_a_pace_that_the_calibration_tells_is_allowed_for_where_the_tier_says_so(recorded, against_recorded):
    """A machine that is busy takes twice as long for the calibration, too."""
    baseline = recorded(seconds=TIMED).baselines["smoke"]["cpu"][1]
    busy = against_recorded(2 * MIDDLE, baseline, CALIBRATIONS, calibration_seconds=2.0)
    assert (busy.verdict, busy.advisory) == (Verdict.PASS, True)
    assert busy.expected == pytest.approx(2 * MIDDLE)
    assert against_recorded(2 * MIDDLE, baseline, CALIBRATIONS).verdict is Verdict.REGRESSED
    assert against_recorded(2 * MIDDLE, calibration_seconds=2.0).verdict is Verdict.REGRESSED  # plain seconds


# Against the published minutes


@pytest.fixture(scope="session")
def against_published(expectations, row_result, figures, run_info):
    """Judges seconds against row 1's 0.28 published minutes; keyword arguments are the run's."""

    def judge(seconds, device_name="NVIDIA A100-SXM4-40GB", tier="full", **info):
        published, run = expectations.published.rows[1], run_info(tier=tier, device_name=device_name, **info)
        return judge_published_duration(row_result(), figures(seconds=seconds), published, run, expectations)

    return judge


@pytest.mark.parametrize(("minutes", "verdict"), [(0.28 * 1.249, Verdict.PASS), (0.28 * 1.251, Verdict.REGRESSED), (0.28, Verdict.PASS), (0.001, Verdict.PASS)])
def test_published_minutes_are_judged_from_above_only(against_published, minutes, verdict):
    judgement = against_published(minutes * 60)
    assert (judgement.verdict, judgement.against, judgement.low) == (verdict, "published", 0.0)
    assert judgement.high == pytest.approx(1.25 * 0.28 * 60)


@pytest.mark.parametrize("info", [{"device_name": "Fast CPU"}, {"plain": True}, {"tier": "smoke"}])
def test_published_minutes_are_no_yardstick_elsewhere(against_published, info):
    judgement = against_published(9999.0, **info)
    assert (judgement.verdict, judgement.advisory, judgement.found, judgement.expected) == (Verdict.NOT_COMPARABLE, True, 9999.0, pytest.approx(0.28 * 60))


@given(st.floats(0.1, 10), st.floats(0.1, 5), st.floats(0, 5))
def test_a_duration_is_inside_its_band_or_outside_on_one_side(found, low, width):
    judgement = judge_seconds(found, low, (low, low + width), "baseline", "", SECONDS)
    expected = Verdict.IMPROVED if found < low else Verdict.REGRESSED if found > low + width else Verdict.PASS
    assert judgement.verdict is expected


# How far one more timing strays


def test_the_pooled_reach_is_students(timed):
    """Three timings around 2 and two around 5: three degrees of freedom, and the smaller group tells how well a mean is known."""
    squares = 0.02 + 0.005
    assert pooled_reach([[1.9, 2.0, 2.1], [4.95, 5.05], [7.0]], 0.01) == pytest.approx(stats.t.isf(0.005, 3) * math.sqrt(squares / 3 * (1 + 1 / 2)))


@given(groups, st.floats(1e-4, 0.5), st.floats(-3, 3))
def test_the_pooled_reach_widens_with_a_smaller_level_and_feels_no_shift(drawn, level, shift):
    reach = pooled_reach(drawn, level)
    assert 0 <= reach <= pooled_reach(drawn, level / 2)
    assert pooled_reach([[value + shift for value in group] for group in drawn], level) == pytest.approx(reach, rel=1e-6, abs=1e-9)


def test_groups_that_agree_leave_no_reach_and_single_values_tell_none():
    assert pooled_reach([[2.0, 2.0], [3.0, 3.0]], 0.01) == 0.0
    with pytest.raises(ValueError, match="no group has two values"):
        pooled_reach([[1.0], [2.0]], 0.01)


def test_what_a_worker_took_is_not_judged(timed, row_result, figures, run_info, expectations):
    slow, alone, beside_others = figures(seconds=1000.0), row_result(), row_result(alone=False)
    judgement = judge_recorded_duration(beside_others, slow, timed, run_info(tier="full"), SECONDS)
    assert (judgement.verdict, judgement.advisory) == (Verdict.NOT_COMPARABLE, True)
    assert "measured in a worker" in judgement.explanation
    hardware, published = run_info(tier="full", device_name=expectations.published.hardware), expectations.published.rows[1]
    assert judge_published_duration(alone, slow, published, hardware, expectations).verdict is Verdict.REGRESSED
    assert judge_published_duration(beside_others, slow, published, hardware, expectations).verdict is Verdict.NOT_COMPARABLE
