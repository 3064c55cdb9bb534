import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rows import ROWS, select_rows
from bench.wording import counted, duration, row_ranges, rows_named, share


@pytest.mark.parametrize(
    ("numbers", "ranges", "named"),
    [
        ((7,), "7", "row 7"),
        ((7, 1, 3, 2), "1-3,7", "rows 1-3, 7"),
        ((1, 2), "1-2", "rows 1-2"),
        ((19, 1, 1, 19), "1,19", "rows 1, 19"),
        ((5, 5), "5", "row 5"),
        (range(1, 20), "1-19", "rows 1-19"),
    ],
)
def test_rows_are_named_by_ranges(numbers, ranges, named):
    assert row_ranges(numbers) == ranges
    assert rows_named([*numbers]) == named


@pytest.mark.parametrize(("number", "words"), [(0, "0 rows, 0 entries"), (1, "1 row, 1 entry"), (2, "2 rows, 2 entries")])
def test_one_is_no_plural(number, words):
    assert f"{counted(number, 'row')}, {counted(number, 'entry', 'entries')}" == words


@pytest.mark.parametrize(
    ("number", "total", "words"), [(1, 1, "1 of 1 row holds"), (0, 1, "0 of 1 row holds"), (1, 3, "1 of 3 rows holds"), (3, 3, "3 of 3 rows hold")]
)
def test_a_share_is_a_sentence(number, total, words):
    assert share(number, total, "row") == words


def test_no_rows_are_no_range():
    assert row_ranges(()) == ""


@given(st.sets(st.sampled_from([row.number for row in ROWS]), min_size=1))
def test_the_command_line_takes_ranges(numbers):
    assert [row.number for row in select_rows(row_ranges(numbers))] == sorted(numbers)


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0.0 s"), (9.46, "9.5 s"), (59.96, "1:00"), (245, "4:05"), (3599.7, "1:00:00"), (3723, "1:02:03")])
def test_durations_are_written_as_people_read_them(seconds, text):
    assert duration(seconds) == text
