from bench.findings.claims import judge_findings
from bench.findings.evidence import from_published
from bench.report.page.measures import accuracy_marks, baselines_of, duration_marks
from bench.report.page.tables import accuracy_table, durations_table, findings_tables, invariants_table, main_table


def lines_of(table):
    return [dict(zip(table.header, (cell.text for cell in line), strict=True)) for line in table.lines]


def test_the_table_shows_this_run_the_recorded_and_the_published_figures(good):
    table = main_table(good.results, good.verdicts, good.expectations, {})
    (line,) = lines_of(table)
    assert line["test %"] == "95.00"
    assert line["recorded %"] == "96.6 / 99.3 / 95.0"
    assert line["from recorded"] == "+0.0 / +0.0 / +0.0"
    assert line["published %"] == "96.63 / 99.33 / 95.00"
    assert line["verdict"] == "pass"
    assert "from published" not in line
    assert "is not judged against them" in table.caption


def test_a_row_without_figures_shows_what_was_recorded_for_it(run, row_result, good):
    for result in (None, row_result(figures=None, error="broken")):
        made = run({1: result, 2: None})
        first, second = lines_of(main_table(made.results, made.verdicts, made.expectations, {}))
        assert (first["recorded %"], first.get("test %", "-")) == ("96.6 / 99.3 / 95.0", "-")
        assert second["recorded %"] == "-"


def test_rows_with_a_story_lead_to_it(bad, page_context):
    table = page_context(bad).table
    assert [line[0].link for line in table.lines] == ["row-1", "row-2", "row-3", "row-4"]
    assert {line[2].tone for line in table.lines} == {"bad"}


def test_a_published_percentage_that_is_no_count_is_shown_as_published(run, row_result):
    made = run({8: row_result(row=8)})
    assert "99.81" in lines_of(main_table(made.results, made.verdicts, made.expectations, {}))[0]["published %"]


def test_durations_are_multiples_of_row_1_too(run, row_result, figures):
    made = run({1: row_result(figures=figures(seconds=10.0)), 5: row_result(row=5, figures=figures(seconds=25.0), peak_memory=7_000_000)})
    first, fifth = lines_of(durations_table(duration_marks(made.verdicts, made.expectations), "A100"))
    assert (first["x row 1"], fifth["x row 1"]) == ("1.00", "2.50")
    assert fifth["x row 1 as published"] == "2.46"
    assert fifth["published minutes"] == "0.69"
    assert "band" in first
    assert "x published" not in first
    assert (first["peak memory, MB"], fifth["peak memory, MB"]) == ("-", "7.0")


def test_multiples_of_row_1_are_spoken_of_where_they_are_shown(run, row_result):
    one, two = run({1: row_result()}), run({1: row_result(), 5: row_result(row=5)})
    for made, shown in ((one, False), (two, True)):
        table = durations_table(duration_marks(made.verdicts, made.expectations), "A100")
        assert ("x row 1" in table.header) == any("multiples of row 1" in note for note in table.notes) == shown
        assert any("published minutes are of GPT-2 on an A100" in note for note in table.notes)


def test_accuracies_say_where_their_interval_comes_from(good):
    table = accuracy_table(accuracy_marks(good.verdicts, baselines_of(good.results.info, good.expectations)))
    assert lines_of(table)[0]["interval of"] == "test texts"
    assert "exact binomial" in table.notes[0]


def test_without_figures_there_is_no_table():
    assert accuracy_table([]) is None
    assert durations_table([], "A100") is None


def test_every_line_of_the_findings_has_its_header_and_each_verdict_its_tone(expectations):
    judged = judge_findings(from_published(expectations.published))
    table, untold = findings_tables(judged)
    assert untold is None
    assert len(table.lines) == sum(len(one.claims) for one in judged)
    assert all(line[0].text for line in table.lines)
    assert {cell.tone for line in table.lines for cell in line if cell.text in ("supported", "inconclusive")} == {"good", "warn"}


def test_broken_invariants_come_first(bad, good):
    (line,) = lines_of(invariants_table(bad.results))
    assert line["verdict"] == "broken"
    assert lines_of(invariants_table(good.results))[0]["verdict"] == "holds"
