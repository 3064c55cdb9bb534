"""The regression checks: every row runs, is timed by pytest-benchmark, and is judged against what was expected of it."""

import pytest

from bench.report.table import explain, worth_telling


@pytest.mark.filterwarnings("default")  # a row runs as it does without pytest, where a warning is no error
def test_row(row, suite, benchmark, pytestconfig):
    with suite.showing(pytestconfig) as display:
        result = benchmark.pedantic(suite.run, args=(row,), rounds=1, iterations=1)
        verdict = suite.judge(row, result)
        display.end(result, verdict)
    if not verdict.holds:
        pytest.fail("; ".join(explain(judgement) for judgement in verdict.judgements if worth_telling(judgement)), pytrace=False)
