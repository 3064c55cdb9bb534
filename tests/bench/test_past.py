import pytest

from bench.options import make_parser
from bench.past import judged
from bench.results import Results, read_results
from gptcore.errors import UsageError


@pytest.fixture
def asked():
    return lambda *words: make_parser().parse_args(["check", *map(str, words)])


def test_a_past_result_is_judged_by_what_is_expected(toy_run, recorded_file, asked):
    results, expectations, verdicts = judged(toy_run.folder, asked(toy_run.folder, "--expected", recorded_file))
    assert results == read_results(toy_run.folder)
    assert expectations == toy_run.expectations
    assert [(verdict.row, verdict.holds) for verdict in verdicts] == [(1, True), (2, True)]


def test_it_is_judged_as_strictly_as_was_asked(toy_run, drifted_file, asked):
    for flag, holds in (("--strict", False), ("--lenient", True)):
        _, _, verdicts = judged(toy_run.folder, asked(toy_run.folder, "--expected", drifted_file, flag))
        assert verdicts[0].holds is holds


def test_a_run_of_another_suite_is_refused_before_its_expectations_are_read(run_info, row_result, results_folder, asked, tmp_path):
    folder = results_folder(Results(run_info(tier="own", command="python mine.py run --tier own"), {1: row_result()}))
    with pytest.raises(UsageError, match=r"is of the own tier of another suite: .* it was run with `python mine.py run --tier own`"):
        judged(folder, asked(folder, "--expected", tmp_path / "none.json"))
