import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.progress import RowProgress, RunProgress, watch
from bench.rows import find_row, select_rows
from bench.verdicts.verdict import RowVerdict, Verdict
from gptcore.experiment import Experiment
from gptcore.result import EpochAccuracy, Evaluation, Progress


def row_progress(number=1, expected=100.0):
    return RowProgress(find_row(number), n_epochs=2, expected=expected)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def run(clock):
    """Rows 1 to 3, of which 100, 200 and an unknown number of seconds are expected."""
    return RunProgress({number: row_progress(number, expected) for number, expected in ((1, 100.0), (2, 200.0), (3, None))}, clock)


def verdict(number, holds=True):
    return RowVerdict(number, "some row", Verdict.PASS if holds else Verdict.REGRESSED, holds, (), None)


def test_a_row_tells_where_it_is():
    row = row_progress()
    phases = []
    for event in (
        Progress("frozen pass", 0, 2),
        Progress("frozen pass", 1, 2),
        Progress("training", 1, 8),
        Evaluation(1, 0, 0.75, 0.8, 1.0),
        Progress("training", 4, 8),
        EpochAccuracy(1, 0.9, 0.8),
        Progress("training", 5, 8),
        Progress("final counts", 0, 3),
        Progress("further seeds", 1, 3),
    ):
        row.hear(event, 1.0)
        phases.append((row.phase, row.epoch))
    assert phases == [
        ("frozen pass 0%", 0),
        ("frozen pass 50%", 0),
        ("training 12%", 1),
        ("training 12%", 1),
        ("training 50%", 1),
        ("training 50%", 1),
        ("training 62%", 2),
        ("counting 0/3", 2),
        ("seeds 1/3", 2),
    ]
    assert (row.loss, row.accuracies) == (0.75, (0.9, 0.8))


def test_before_it_begins_a_row_needs_what_is_expected_at_the_pace_of_the_run():
    assert row_progress().rest(pace=1.5, now=7.0) == 150.0
    assert row_progress(expected=None).rest(pace=1.5, now=7.0) is None


@given(expected=st.floats(1, 1e4), passes=st.floats(0, 1), steps=st.integers(1, 50), data=st.data())
def test_the_rest_is_exact_where_the_row_takes_what_was_expected(expected, passes, steps, data):
    done = data.draw(st.integers(0, steps))
    row = row_progress(expected=expected)
    in_passes, stepping = expected * passes, expected * (1 - passes)
    row.hear(Progress("frozen pass", 0, 1), 0.0)
    row.hear(Progress("frozen pass", 1, 1), in_passes)
    now = in_passes + stepping * done / steps
    if done:
        row.hear(Progress("training", done, steps), now)
    assert row.rest(1.0, now) == pytest.approx(expected - now, abs=1e-6 * expected)


@given(expected=st.one_of(st.none(), st.floats(0.1, 1e4)), took=st.floats(0.1, 1e5), steps=st.integers(1, 50))
def test_the_last_steps_of_a_row_tell_more_than_any_expectation(expected, took, steps):
    row = row_progress(expected=expected)
    row.hear(Progress("training", steps, steps), 0.0)
    assert row.rest(1.0, took) == 0.0


def test_without_an_expectation_the_steps_alone_tell():
    row = row_progress(expected=None)
    row.hear(Evaluation(1, 0, 0.7, 0.7, 1.0), 10.0)
    assert row.rest(1.0, 20.0) is None
    row.hear(Progress("training", 1, 4), 20.0)
    assert row.rest(1.0, 20.0) == pytest.approx(30.0)


def test_a_pass_under_way_is_no_training():
    row = row_progress(expected=None)
    row.hear(Progress("training", 1, 2), 0.0)
    row.hear(Progress("frozen pass", 1, 2), 10.0)
    assert row.rest(1.0, 500.0) == pytest.approx(10.0)


def test_rows_that_ended_set_the_pace_of_those_that_wait(run, clock, row_result):
    assert run.rest() == (300.0, False)
    run.begin(find_row(1))(Progress("training", 1, 2))
    clock.now = 150.0
    run.end(row_result(), verdict(1))
    assert run.pace == 1.5
    assert run.rest() == (300.0, False)
    assert run.rows[1].elapsed(1000.0) == 150.0
    assert run.elapsed() == 150.0


def test_a_row_that_failed_or_was_there_already_sets_no_pace(run, clock, row_result):
    run.begin(find_row(1))  # the folder holds it: it reports nothing
    clock.now = 1.0
    run.end(row_result(), verdict(1))
    run.begin(find_row(2))(Progress("training", 1, 2))
    clock.now = 2.0
    run.end(row_result(row=2, figures=None, error="broken"), verdict(2, holds=False))
    assert run.pace == 1.0
    assert [row.holds for row in run.rows.values()] == [True, False, True]
    assert run.n_ended == 2


def test_rows_side_by_side_share_the_rest(run, clock, row_result):
    for number in (1, 2):
        run.begin(find_row(number))
    assert run.rest() == (150.0, False)


def test_a_row_that_ended_shows_its_final_accuracies(run, row_result):
    run.begin(find_row(1))
    run.end(row_result(), verdict(1))
    row = run.rows[1]
    assert (row.phase, row.loss) == ("pass", 0.5)
    assert row.accuracies == pytest.approx((1005 / 1040, 148 / 149, 285 / 300))


def test_expectations_are_looked_up_once(recorded, run_info):
    run = watch(select_rows("1-2"), lambda row: Experiment(num_epochs=3), run_info(), recorded())
    assert [(row.expected, row.n_epochs) for row in run.rows.values()] == [(pytest.approx(16.0), 3), (None, 3)]
