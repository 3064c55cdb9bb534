import pytest

from bench.report.markdown import render_markdown
from bench.results import Results
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Strictness


@pytest.fixture
def rendered(recorded, run_info):
    """The Markdown of row 1 judged against the usual baseline."""

    def render(result, texts=(), strictness=Strictness.USUAL):
        results = Results(run_info(), {1: result}, texts)
        return render_markdown(results, judge(results, recorded(moves=(1e-7,), seconds=(16.0, 16.5)), strictness))

    return render


def test_the_table_is_well_formed_and_escaped(expectations, run_info, row_result):
    nasty = "<script>alert(1)</script> | broken\nTraceback: line two"
    results = Results(run_info(rows=(1, 2)), {1: row_result(), 2: row_result(row=2, figures=None, error=nasty)})
    text = render_markdown(results, judge(results, expectations))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "&lt;script>" in text
    assert "<script>" not in text
    assert "Traceback" not in text


def test_the_texts_that_a_failing_row_lost_stand_under_it(rendered, row_result, figures):
    lost = row_result(figures=figures(wrong_test={1, *range(285, 300)}))
    text = rendered(lost, ("first", "second", "third"), Strictness.STRICT)
    assert "- right to wrong, text 2: ` second `" in text
    assert "third" not in text
    assert "right to wrong" not in rendered(lost, ("first", "second", "third"), Strictness.LENIENT)


def test_texts_of_strangers_stay_on_one_line_and_do_nothing(rendered, row_result, figures):
    nasty = "win | ![a](http://b) `x` <b>\n- new item"
    text = rendered(row_result(figures=figures(wrong_test={0, *range(285, 300)})), (nasty,), Strictness.STRICT)
    (line,) = (line for line in text.splitlines() if line.startswith("- right to wrong"))
    assert line == "- right to wrong, text 1: `` win | ![a](http://b) `x` <b> - new item ``"
    assert "\n- new item" not in text


def test_notes_and_commands_stand_in_it(rendered, row_result, figures):
    text = rendered(row_result(figures=figures(train_loss=0.6)))
    assert "notices: the drop of test accuracy" in text
    assert "no validation or test text stands verbatim in train" in text
    assert "- again: ` python -m bench run --tier smoke --rows 1 `" in text
