from dataclasses import replace

from bench.expectations import with_baselines
from bench.judge import judge
from bench.report.table import closing_line, explanations, seed_lines, table_cells
from bench.results import Results


def judged(expectations, run_info, rows, baseline_rows, **info):
    recorded = with_baselines(expectations, Results(run_info(), baseline_rows))
    results = Results(run_info(rows=tuple(rows), **info), {number: row for number, row in rows.items() if row})
    return results, judge(results, recorded)


def cells_of(verdicts):
    header, rows = table_cells(verdicts)
    return dict(zip(header, rows[0], strict=True))


def test_a_row_shows_found_expected_and_difference(expectations, run_info, row_result, figures):
    _, verdicts = judged(expectations, run_info, {1: row_result(figures=figures(right=(1004, 148, 286)))}, {1: row_result()})
    cells = cells_of(verdicts)
    assert cells["test %"] == "95.33"
    assert cells["expected %"] == "96.6 / 99.3 / 95.0"
    assert cells["difference"] == "-0.1 / +0.0 / +0.3"
    assert cells["verdict"] == "pass"


def test_a_moved_metric_is_told_with_from_to_band_and_command(expectations, run_info, row_result, figures):
    results, verdicts = judged(expectations, run_info, {1: row_result(figures=figures(train_loss=0.55))}, {1: row_result()})
    [(headline, sentences)] = explanations(results, verdicts)
    assert headline == "row 1 (reference): regressed"
    assert sentences[0].startswith("train loss regressed from 0.5000 to 0.5500, allowed 0.4900 to 0.5100 (baseline; 2 %")
    assert sentences[-1] == "again: python -m bench run --tier smoke --rows 1"


def test_a_slow_smoke_row_is_a_warning(expectations, run_info, row_result, figures):
    results, verdicts = judged(expectations, run_info, {1: row_result(figures=figures(seconds=99.0))}, {1: row_result()})
    assert cells_of(verdicts)["verdict"] == "pass, slower"
    [(_, sentences)] = explanations(results, verdicts)
    assert sentences[0].startswith("warning, duration regressed from 16.0000 to 99.0000")


def test_rows_without_figures_have_dashes(expectations, run_info, row_result):
    failed = row_result(figures=None, error="broken")
    _, verdicts = judged(expectations, run_info, {1: failed, 2: None}, {1: row_result()})
    assert [cells[2:] for cells in table_cells(verdicts)[1]] == [("-",) * 7 + ("error",), ("-",) * 7 + ("missing",)]
    assert closing_line(verdicts) == "0 of 2 judged rows hold"


def test_passing_rows_need_no_words(expectations, run_info, row_result):
    results, verdicts = judged(expectations, run_info, {1: row_result()}, {1: row_result()})
    assert explanations(results, verdicts) == []
    assert closing_line(verdicts) == "1 of 1 judged rows hold"


def test_rows_that_cannot_be_compared_are_counted_apart(expectations, run_info, row_result):
    other = row_result(digests={"settings": "other", "data": "d"})
    results, verdicts = judged(expectations, run_info, {1: other}, {1: row_result()}, chosen=("settings",))
    assert closing_line(verdicts) == "no row was judged; 1 not comparable (other inputs were named than the recorded ones)"
    assert explanations(results, verdicts) == []


def test_rows_that_should_have_been_comparable_are_told_one_by_one(expectations, run_info, row_result):
    other = row_result(digests={"settings": "other", "data": "d"})
    results, verdicts = judged(expectations, run_info, {1: other}, {1: row_result()})
    assert closing_line(verdicts) == "no row was judged; 1 not comparable"
    assert "row 1's settings changed" in explanations(results, verdicts)[0][1][0]


def test_a_row_shows_what_it_costs_alone_and_what_it_took(expectations, run_info, row_result, figures):
    spared = replace(figures(seconds=8.0), real_seconds=2.0)
    _, verdicts = judged(expectations, run_info, {1: row_result(figures=spared)}, {1: row_result()})
    assert (cells_of(verdicts)["seconds"], cells_of(verdicts)["this run"]) == ("8.00", "2.00")
    assert "x published" not in cells_of(verdicts)


def test_the_full_tier_says_how_many_times_faster_than_published(expectations, run_info, row_result, figures):
    _, (verdict,) = judged(expectations, run_info, {1: row_result(figures=figures(seconds=8.4))}, {1: row_result()}, tier="full")
    verdicts = [replace(verdict, published_seconds=0.28 * 60)]
    assert cells_of(verdicts)["x published"] == "2.00"
    assert cells_of(verdicts)["seconds"] == "8.40"


def test_several_seeds_are_summed_up(expectations, run_info, row_result, figures):
    result = row_result(others={124: figures(right=(1005, 148, 291)), 125: figures(right=(1005, 148, 288))})
    results, _ = judged(expectations, run_info, {1: result}, {1: row_result()})
    assert seed_lines(results) == ["row 1, 3 seeds: test accuracy 96.00 +- 1.00 % (95.00 to 97.00)"]
