from bench.judge import judge
from bench.report.markdown import render_markdown
from bench.results import Results


def test_the_table_is_well_formed_and_escaped(expectations, run_info, row_result):
    nasty = "<script>alert(1)</script> | broken\nTraceback: line two"
    results = Results(run_info(rows=(1, 2)), {1: row_result(), 2: row_result(row=2, figures=None, error=nasty)})
    text = render_markdown(results, judge(results, expectations))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {line.replace("\\|", "").count("|") for line in table} == {11}
    assert "&lt;script>" in text
    assert "<script>" not in text
    assert "Traceback" not in text
