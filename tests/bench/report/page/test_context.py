import shlex
from dataclasses import replace

import pytest

from bench.comparison.compare import CompareError
from bench.options import make_parser
from bench.report.page.context import headline_of
from bench.results import Invariant

BROKEN = (Invariant("row 18 equals row 1", (1, 18), False, "they differ"),)


@pytest.fixture
def headline(run):
    def make(rows, **settings):
        made = run(rows, **settings)
        return headline_of(made.results, made.verdicts)

    return make


def test_a_clean_run_says_that_its_rows_hold(headline, good, row_result):
    found = headline_of(good.results, good.verdicts)
    assert (found.words, found.tone) == ("The row holds", "good")
    assert found.sentences == ("1 of 1 judged row holds", "1 of 1 invariant holds")


def test_failing_rows_are_counted_and_named_by_verdict(bad):
    found = headline_of(bad.results, bad.verdicts)
    assert (found.words, found.tone) == ("4 of 4 rows do not hold", "bad")
    assert "error: row 2" in found.sentences
    assert "missing: rows 3-4" in found.sentences
    assert "drifted: row 1" in found.sentences or "regressed: row 1" in found.sentences
    assert "invariant broken: row 18 equals row 1" in found.sentences


@pytest.mark.parametrize(
    ("invariants", "rows", "words"),
    [
        (None, (1,), "The run broke off before its invariants were checked"),
        (None, (1, 2, 3), "The run broke off: rows 2-3 missing"),
        (BROKEN, (1,), "Every row holds, but an invariant is broken"),
    ],
)
def test_what_else_can_be_wrong(headline, good, invariants, rows, words):
    results = {number: good.results.rows.get(number) for number in rows}
    found = headline(results, invariants=invariants)
    assert (found.words, found.tone) == (words, "bad")


def test_other_inputs_are_no_verdict(headline, row_result):
    found = headline({1: row_result(digests={"settings": "s", "data": "mine"})}, chosen=("data", "settings"))
    assert (found.words, found.tone) == ("Nothing was judged", "apart")


def test_failing_and_warning_rows_are_told_apart(page_context, bad, run, good, row_result, figures):
    page = page_context(bad)
    assert [story.anchor for story in page.failing] == ["row-1", "row-2", "row-3", "row-4"]
    assert page.warning == ()
    slow = run({1: replace(good.results.rows[1], figures=figures(seconds=99.0))})
    page = page_context(slow)
    assert page.failing == ()
    assert [story.verdict.text for story in page.warning] == ["pass, slower"]


def test_another_run_is_compared_and_the_gravest_comes_first(page_context, bad, base_of, figures):
    against = page_context(bad, base=base_of(bad, figures)).against
    assert against.line.startswith("the base -> ")
    verdicts = [line[-1].text for line in against.table.lines]
    assert verdicts[0] in ("error", "missing", "worse")
    assert verdicts.index("worse") < verdicts.index("not tested")
    assert against.sentences


def test_runs_of_other_tiers_cannot_be_compared(page_context, good, run, row_result):
    other = run({1: row_result()}, tier="full")
    with pytest.raises(CompareError, match="no figure in common"):
        page_context(good, base=("base", other.results))


def test_commands_can_be_typed(page_context, bad):
    page = page_context(bad, base=None)
    commands = (*page.commands, *page.row_commands)
    assert commands[0].text == "python -m bench run --tier smoke --rows 1-4"
    assert commands[-1].text == "python -m bench run --tier smoke --rows 4"
    for command in commands:
        words = shlex.split(command.text)
        assert words[:3] == ["python", "-m", "bench"]
        make_parser().parse_args(words[3:])


def test_commands_judge_as_the_page_does_and_the_verdict_says_how(page_context, bad):
    flags = ("--lenient", "--expected", "my file.json")
    page = page_context(bad, judging=flags)
    for text in (page.resuming, *(command.text for command in (*page.commands, *page.row_commands)), *(story.command for story in page.failing)):
        options = make_parser().parse_args(shlex.split(text)[3:])
        assert (options.lenient, str(options.expected)) == (True, "my file.json")
    assert "judged with --lenient --expected 'my file.json'" in page.headline.sentences
    assert not any("judged with" in sentence for sentence in page_context(bad).headline.sentences)


def test_a_run_that_broke_off_can_be_gone_on_with(page_context, run, good):
    row = good.results.rows[1]
    for made in (run({1: row, 2: None}), run({1: row}, invariants=None)):
        words = shlex.split(page_context(made).resuming)
        assert words == ["python", "-m", "bench", "run", "--resume", str(made.folder)]
        assert shlex.split(page_context(made, command="python mine.py").resuming)[:2] == ["python", "mine.py"]
    assert page_context(good).resuming == ""


def test_findings_that_nothing_is_said_of_stand_apart(page_context, bad, run, row_result):
    page = page_context(run({1: row_result(), 2: row_result(row=2)}))
    assert {line[0].text for line in page.findings.lines} == {"1"}
    assert "1" not in {line[0].text for line in page.untold_findings.lines}
    alone = page_context(run({1: row_result()}))
    assert alone.findings is None
    assert {line[0].text for line in alone.untold_findings.lines} == {str(number) for number in range(1, 13)}


def test_the_environment_is_told_whole(page_context, good):
    told = dict(page_context(good).environment)
    environment = good.results.info.environment
    assert told["commit"].startswith(environment.git_commit)
    assert told["torch"] == environment.packages["torch"]
    assert told["threads"] == "2"
    assert "baseline of row 1" in told


def test_digests_of_what_went_in_and_came_out(page_context, good):
    went_in, came_out = page_context(good).digests
    assert ("data", "d" * 16, "1") in [tuple(cell.text for cell in line) for line in went_in.lines]
    assert [tuple(cell.text for cell in line) for line in came_out.lines] == [("1", "a" * 16, "b" * 16)]
