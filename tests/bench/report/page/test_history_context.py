from dataclasses import replace

import pytest

from bench.history import read_history
from bench.report.page.history_context import history_page
from bench.results import create_folder, write_row


@pytest.fixture
def page(tmp_path, run_info, row_result, figures, expectations):
    """The page of eight runs of rows 1 and 2, of which row 2 got worse half-way, a run elsewhere, and a damaged folder."""

    def make(codes):
        for index, code in enumerate(codes):
            folder = tmp_path / "runs" / f"run-{index}"
            info = run_info(rows=(1, 2))
            create_folder(folder, replace(info, environment=replace(info.environment, code=code)))
            for row in (1, 2):
                right = 200 if row == 2 and index >= len(codes) / 2 else 285
                write_row(folder, row_result(row=row, name=f"row {row}", figures=figures(right=(1005, 148, right))))
        create_folder(tmp_path / "runs" / "there", run_info(threads=64))
        write_row(tmp_path / "runs" / "there", row_result())
        (tmp_path / "runs" / "bad").mkdir()
        (tmp_path / "runs" / "bad" / "run.json").write_text("[]")
        return history_page(read_history(tmp_path / "runs", expectations), "runs")

    return make


def test_runs_of_the_same_code_make_no_change(page):
    made = page("a" * 8)
    assert made.headline.words == "No change"
    assert made.headline.sentences == ("9 runs in 2 groups that may be compared", "1 folder could not be read")
    assert len(made.skipped) == 1


def test_every_row_has_a_plot_and_every_run_a_line(page):
    here, there = page("a" * 8).groups
    assert [plot.name for plot in here.plots] == ["group-1-row-01-1", "group-1-row-02-2"]
    assert len(here.runs.lines) == 8
    assert len(there.plots) == 1


def test_a_change_is_told_first_and_drawn_first(page):
    made = page("abcdefgh")
    assert made.headline.words == "1 change"
    group = made.groups[0]
    assert group.changes[0].startswith("row 2, test accuracy 95.00 to 66.67 %")
    assert [plot.name for plot in group.plots] == ["group-1-row-02-1", "group-1-row-01-2"]
    assert [line[-1].tone for line in group.table.lines] == ["", "notice"]
