import pytest

from bench.report.page.stories import flips_table, moved_line, moved_rows, stories_of
from bench.verdicts.verdict import Judgement, Verdict


def test_what_moved_is_told_with_from_to_and_band_the_gravest_first(bad):
    story = stories_of(bad.results, bad.verdicts)[0]
    assert story.headline == "Row 1: reference"
    metrics = {line[0].text: [cell.text for cell in line[1:]] for line in story.moved.lines}
    assert metrics["test accuracy"][:2] == ["95.00 %", "85.00 %"]
    assert metrics["train loss"][:2] == ["0.5", "0.7"]
    verdicts = [Verdict(line[4].text) for line in story.moved.lines]
    assert verdicts == sorted(verdicts, key=list(Verdict).index, reverse=True)
    assert story.command == "python -m bench run --tier smoke --rows 1"


def test_flipped_messages_are_told_with_their_numbers(bad, hostile):
    story = stories_of(bad.results, bad.verdicts)[0]
    assert story.lost == tuple((number, hostile) for number in range(1, 31))
    assert story.gained == ()
    assert story.counted.startswith("30 test messages went from right to wrong, 0 from wrong to right")


def test_an_error_is_told_by_its_first_line_and_whole(bad, hostile):
    story = stories_of(bad.results, bad.verdicts)[1]
    assert story.error == f"RuntimeError: {hostile}"
    assert story.trace == f"RuntimeError: {hostile}\nTraceback {hostile}"
    assert story.moved is None


def test_a_row_that_never_came_is_told(bad):
    story = stories_of(bad.results, bad.verdicts)[2]
    assert story.verdict.text == "missing"
    assert story.sentences == ("missing: the run ended before this row did: go on with `run --resume FOLDER`",)


def test_nothing_is_told_of_rows_that_pass(good):
    assert stories_of(good.results, good.verdicts) == []
    assert flips_table(good.results, good.verdicts) is None
    assert list(moved_rows(good.verdicts)) == []


@pytest.mark.parametrize(
    ("judgement", "texts"),
    [
        (Judgement("test_accuracy", Verdict.REGRESSED, "baseline", 0.5, 0.75, 0.7, 0.8), ["50.00 %", "70.00 % to 80.00 %"]),
        (Judgement("duration", Verdict.REGRESSED, "baseline", 1234.5, 2.0, 1.0, 3.0, advisory=True), ["1234 s", "1.000 s to 3.000 s"]),
        (Judgement("peak_memory", Verdict.REGRESSED, "baseline", 95_000_000, 66_700_000, 0.0, 80_000_000, advisory=True), ["95.0 MB", "0.0 MB to 80.0 MB"]),
        (Judgement("train_accuracy_of_epochs", Verdict.DRIFTED, "baseline", 0.5, 0.75, 0.7, 0.8), ["50.00 %", "70.00 % to 80.00 %"]),
        (Judgement("weight_norm", Verdict.DRIFTED, "baseline", 1.5, 2.0), ["1.5", "-"]),
    ],
)
def test_numbers_have_their_units(judgement, texts):
    line = [cell.text for cell in moved_line(judgement)]
    assert line[2:4] == texts
    assert ("(warning)" in line[4]) is judgement.advisory


def test_messages_are_gathered_over_rows(bad, hostile):
    table = flips_table(bad.results, bad.verdicts)
    assert len(table.lines) == 30
    assert [cell.text for cell in table.lines[0]] == ["1", hostile, "row 1", "-"]
