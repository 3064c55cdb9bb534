import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from bench.history import ACCURACY, DURATION, Change, Group, History, Point, Run, Series
from bench.report.history import COLUMNS, METHOD, change_lines, history_json, render_history, series_cells, show_history
from bench.report.text import FORMATS


def point(index, seconds=2.0, test=0.95):
    run = Run(f"run-{index}", f"{index}" * 40, False, "c", f"2026-11-0{index + 1}T00:00:00+00:00", {"torch": "2.13.0"}, 1.0, f"subject | {index}")
    return Point(run, {"train": 1.0, "validation": 1.0, "test": test}, seconds)


@pytest.fixture
def series():
    points = tuple(point(index, 2.0 if index < 3 else 4.0) for index in range(6))
    change = Change(DURATION, 3, 2.0, 4.0, 1e-5, "torch 2.12.0 became 2.13.0")
    return Series(4, "last two blocks", {"data": "d"}, (123,), 300, points, (change,))


@pytest.fixture
def history(series):
    group = Group("smoke tier, cpu", tuple(one.run for one in series.points), (series,), 0.005, 0.25, ("run-1: row 2 has no figures for a history",))
    return History((group,), "in order of time", ("bad is not what a run writes",))


@pytest.fixture
def shown(history):
    def show(form):
        console = Console(file=io.StringIO(), width=200, highlight=False)
        show_history(console, history, form)
        return console.file.getvalue()

    return show


def test_a_series_is_one_line_from_first_to_last(series):
    assert series_cells(series) == ("4", "last two blocks", "6", "95.00", "95.00", "2.000", "4.000", "duration 2 to 4 s (x 2.00) at 3333333333")


def test_every_column_says_what_it_is(series):
    named = dict(zip(COLUMNS, series_cells(series), strict=True))
    assert len(named) == len(COLUMNS)
    assert [named[f"{metric} {end}"] for metric in ("test %", "seconds") for end in ("first", "last")] == ["95.00", "95.00", "2.000", "4.000"]


def test_a_change_is_a_sentence_with_both_commits(history):
    (line,) = change_lines(history.groups[0])
    assert line == (
        "row 4, duration 2 to 4 s (x 2.00): between 2222222222 and 3333333333 (subject | 3), p = 1e-05, level 0.005; besides, torch 2.12.0 became 2.13.0"
    )


def test_accuracies_change_in_percent(series):
    changed = replace(series, changes=(Change(ACCURACY, 3, 0.95, 0.9, 0.001, ""),))
    assert series_cells(changed)[-1] == "test accuracy 95.00 to 90.00 % at 3333333333"


def test_time_alone_has_no_accuracy_and_uncommitted_changes_are_told(series):
    first = series.points[0]
    dirty = replace(series, points=(replace(first, accuracies={}, run=replace(first.run, dirty=True, commit="")),), changes=(), variant="3 seeds from 123")
    assert series_cells(dirty) == ("4", "last two blocks (3 seeds from 123)", "1", "-", "-", "2.000", "2.000", "-")


def test_a_terminal_shows_tables_changes_and_what_was_left_out(shown):
    text = shown("text")
    assert "smoke tier, cpu: 6 runs, 2026-11-01 to 2026-11-06" in text
    assert "row 4, duration 2 to 4 s (x 2.00)" in text
    assert "run-1: row 2 has no figures" in text
    assert "left out: bad is not what a run writes" in text
    assert METHOD in text


def test_markdown_is_a_table(history, shown):
    lines = render_history(history).splitlines()
    assert lines[0].startswith("**smoke tier, cpu: 6 runs")
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")} == {9}
    assert shown("markdown").strip() == render_history(history).strip()


def test_json_holds_every_figure(history, shown):
    content = json.loads(shown("json"))
    assert content == json.loads(json.dumps(history_json(history)))
    (series,) = content["groups"][0]["series"]
    assert [one["seconds"] for one in series["points"]] == [2.0] * 3 + [4.0] * 3
    assert series["changes"][0]["index"] == 3
    assert content["method"] == METHOD


@pytest.mark.parametrize("form", FORMATS)
def test_few_runs_say_that_they_are_few(history, series, form):
    few = replace(series, points=series.points[:2], changes=())
    console = Console(file=io.StringIO(), width=400, highlight=False)
    show_history(console, replace(history, groups=(replace(history.groups[0], series=(few,)),)), form)
    if form != "json":
        assert "too few runs for changes: 6 of the same inputs are needed" in console.file.getvalue()
