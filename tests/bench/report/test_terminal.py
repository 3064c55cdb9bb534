import io

import pytest
from rich.console import Console

from bench.expectations import with_baselines
from bench.judge import judge
from bench.report.terminal import print_environment, print_progress, print_report, print_rows
from bench.results import Results
from bench.rows import ROWS
from bench.tiers import TIERS


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=140, highlight=False)


def test_a_finished_row_is_one_line(console, row_result):
    print_progress(console, row_result(), 1, 19)
    print_progress(console, row_result(figures=None, error="broken [/]\nTraceback"), 2, 19)
    assert console.file.getvalue().splitlines() == [
        "[1/19] row 1 (reference): train 96.6%, validation 99.3%, test 95.0%, 16.00 s",
        "[2/19] row 1 (reference): failed: broken [/]",
    ]


def test_the_report_ends_with_failures_and_the_count(console, expectations, run_info, row_result, figures):
    recorded = with_baselines(expectations, Results(run_info(), {1: row_result()}))
    results = Results(run_info(), {1: row_result(figures=figures(right=(900, 148, 285)))})
    print_report(console, results, judge(results, recorded))
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("smoke tier on Fast CPU")
    assert lines[-1] == "0 of 1 judged rows hold"
    assert any(line.startswith("  train accuracy regressed from 96.63 % to 86.54 %, allowed 96.44 % to 96.83 %") for line in lines)


def test_the_list_names_every_row_and_its_flags(console):
    for tier in TIERS.values():
        print_rows(console, tier)
    text = console.file.getvalue()
    assert all(row.name in text for row in ROWS)
    assert "--trainable_token_pos first" in text


def test_the_environment_is_one_line(console, run_info):
    print_environment(console, Results(run_info(), {}))
    assert "Fast CPU, 2 threads" in console.file.getvalue()
