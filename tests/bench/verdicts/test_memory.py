import math
from dataclasses import replace

import pytest

from bench.expectations import DurationPolicy, Timing
from bench.recording.baselines import with_cost_bands
from bench.report.table import explain, own_command, table_cells
from bench.results import Results
from bench.rows import find_row
from bench.verdicts.judge import judge_row
from bench.verdicts.memory import GRAIN, judge_peak_memory
from bench.verdicts.verdict import Verdict

FAILS = DurationPolicy(calibrated=False, advisory=False, at_most=None)
WARNS = DurationPolicy(calibrated=True, advisory=True, at_most=None)
PEAKS = (1_000_000_000, 1_004_000_000, 1_007_000_000, 1_010_000_000)
MIDDLE = math.prod(map(float, PEAKS)) ** (1 / 4)


def with_peaks(expectations, peaks):
    """The expectations with row 1 measured so often."""
    tier = "smoke"
    baseline = expectations.baselines[tier]["cpu"][1]
    measured = replace(baseline, timings=tuple(Timing(16.0 + number, 1.0, peak) for number, peak in enumerate(peaks)))
    return replace(expectations, baselines={tier: {"cpu": with_cost_bands({1: measured}, expectations.policies[tier].duration)}})


@pytest.fixture(scope="session")
def measured(recorded):
    """Expectations with row 1 measured four times."""
    return with_peaks(recorded(), PEAKS)


@pytest.fixture(scope="session")
def judged(measured, row_result, run_info):
    """Judges a peak against four measured ones; keyword arguments are the run's."""

    def judge(peak, expectations=measured, policy=FAILS, **info):
        return judge_peak_memory(row_result(peak_memory=peak), expectations.baselines["smoke"]["cpu"][1], run_info(**info), policy)

    return judge


def test_the_spread_of_the_measurements_decides_upwards_only(measured, judged):
    high = MIDDLE * measured.baselines["smoke"]["cpu"][1].bands.peak_memory[1] + GRAIN
    assert high > max(PEAKS)
    for peak, verdict in ((int(MIDDLE), Verdict.PASS), (int(high) - 1, Verdict.PASS), (int(high) + 1, Verdict.REGRESSED), (1, Verdict.PASS)):
        judgement = judged(peak)
        assert (judgement.verdict, judgement.found, judgement.advisory) == (verdict, peak, False)
        assert (judgement.expected, judgement.high) == pytest.approx((MIDDLE, high))
        assert judgement.explanation == "spread of 4 measurements"
    assert judged(10**12, policy=WARNS).advisory


def test_what_was_not_measured_is_not_judged(recorded, judged):
    assert judged(None) is None
    assert judged(10**9, recorded()) is None


def test_measurements_that_agree_to_the_byte_leave_the_grain(recorded, judged):
    same = with_peaks(recorded(), (10**9, 10**9))
    assert judged(10**9 + GRAIN - 1, same).verdict is Verdict.PASS
    assert judged(10**9 + GRAIN + 1, same).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"device_name": "Slow CPU"}, "measured on Fast CPU, threads: 2; this is another machine"),
        ({"threads": 3}, "measured on Fast CPU, threads: 2; this is another machine"),
        ({"plain": True}, "the plain way is for audits"),
        ({"rows": (1, 2)}, "recorded in a run of rows 1; a row holds what others left, too"),
    ],
)
def test_another_machine_other_threads_other_rows_and_the_plain_way_are_not_comparable(judged, info, reason):
    judgement = judged(10**12, **info)
    assert (judgement.verdict, judgement.explanation, judgement.advisory) == (Verdict.NOT_COMPARABLE, reason, True)


def test_a_row_measured_once_is_not_comparable(recorded, judged):
    judgement = judged(10**12, with_peaks(recorded(), (10**9, None)))
    assert (judgement.verdict, judgement.advisory) == (Verdict.NOT_COMPARABLE, True)
    assert "measured once" in judgement.explanation


def test_more_memory_is_told_in_the_table_and_under_it(measured, verdict_on, row_result):
    verdict = verdict_on(row_result(peak_memory=2 * 10**9), measured)
    assert (verdict.verdict, verdict.holds) == (Verdict.PASS, True)
    header, (cells,) = table_cells([verdict])
    row = dict(zip(header, cells, strict=True))
    assert (row["peak MB"], row["verdict"]) == ("2000", "pass, more memory")
    (memory,) = (judgement for judgement in verdict.judgements if judgement.metric == "peak_memory")
    assert explain(memory).startswith("warning, peak memory regressed from 1005 MB to 2000 MB, allowed 0.0 MB to ")


def test_without_any_peak_the_table_has_no_such_column(recorded, verdict_on, row_result):
    header, _ = table_cells([verdict_on(row_result(), recorded())])
    assert "peak MB" not in header


def test_what_a_worker_held_is_not_judged(measured, row_result, run_info):
    judgement = judge_peak_memory(row_result(peak_memory=10**12, alone=False), measured.baselines["smoke"]["cpu"][1], run_info(), FAILS)
    assert (judgement.verdict, judgement.advisory) == (Verdict.NOT_COMPARABLE, True)
    assert "measured in a worker" in judgement.explanation


def test_where_memory_is_all_that_moved_the_command_runs_all_rows_that_share_it(measured, row_result, run_info):
    run = run_info(rows=(1,))
    result = row_result(peak_memory=2 * 10**9)
    baseline = measured.baselines["smoke"]["cpu"][1]
    beside = replace(baseline, provenance=replace(baseline.provenance, rows="1-3"))
    expectations = replace(measured, baselines={"smoke": {"cpu": {1: beside}}})
    info = replace(run, rows=(1, 2, 3))
    verdict = judge_row(find_row(1), result, info, expectations)
    assert own_command(verdict, Results(info, {1: result})).endswith(" --rows 1-3")
    fallen = judge_row(find_row(1), row_result(figures=None, error="broken"), info, expectations)
    assert own_command(fallen, Results(info, {1: result})).endswith(" --rows 1")
