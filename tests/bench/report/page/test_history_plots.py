import pytest

from bench.history import ACCURACY, DURATION, Change, Point, Run, Series
from bench.report.page.drawing import ORANGE, svg_of
from bench.report.page.history_plots import history_plot


def series_of(changes=(), accuracies=(0.95,) * 8, timed_only=False):
    points = []
    for index, test in enumerate(accuracies):
        run = Run(f"run-{index}", f"{index}" * 40, False, "c", "2026-11-01", {}, 1.0)
        points.append(Point(run, {} if timed_only else {"train": 1.0, "validation": 1.0, "test": test}, 2.0 + index))
    return Series(1, "reference", {}, (123,), 300, tuple(points), tuple(changes))


def test_changes_are_lines_with_the_means_on_either_side():
    plot = history_plot(series_of([Change(DURATION, 4, 3.5, 7.5, 0.001, ""), Change(ACCURACY, 4, 0.95, 0.9, 0.001, "")]), "plot")
    above, below = plot.figure.axes
    assert [list(line.get_ydata()) for line in below.lines if line.get_color() == ORANGE] == [[3.5, 3.5], [7.5, 7.5]]
    assert [list(line.get_ydata()) for line in above.lines if line.get_color() == ORANGE] == [[95.0, 95.0], [90.0, 90.0]]
    assert [text.get_text() for text in below.texts] == ["x 2.14"]
    assert [text.get_text() for text in above.texts] == ["\N{MINUS SIGN}5.0"]
    assert "duration 3.5 to 7.5 s" in plot.description


def test_seconds_start_at_zero_and_accuracies_span_what_says_something():
    above, below = history_plot(series_of(), "plot").figure.axes
    assert below.get_ylim()[0] == 0
    low, high = above.get_ylim()
    assert high - low == pytest.approx(6)
    assert (low + high) / 2 == pytest.approx(95)


def test_commits_are_named_under_the_axis_and_units_at_its_side():
    plot = history_plot(series_of(), "plot")
    assert [axes.get_ylabel() for axes in plot.figure.axes] == ["test accuracy (%)", "seconds"]
    assert b"0000000" in svg_of(plot.figure)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_any_number_of_runs_can_be_drawn(n):
    assert svg_of(history_plot(series_of(accuracies=(0.95,) * n), "plot").figure)


def test_time_alone_can_be_drawn():
    plot = history_plot(series_of(timed_only=True), "plot")
    assert "accuracy" not in plot.description
    assert svg_of(plot.figure)
