import io

import pytest
from rich.console import Console

from bench.report.terminal import STYLES, print_environment, print_progress, print_report, print_rows
from bench.results import Invariant, Results
from bench.rows import ROWS
from bench.tiers import TIERS
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Strictness, Verdict


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=170, highlight=False)


@pytest.fixture
def reported(console, recorded, run_info):
    """The lines of row 1 judged against the usual baseline."""

    def report(result, texts=(), strictness=Strictness.USUAL, baseline=None, **info):
        results = Results(run_info(**info), {1: result} if result else {}, texts, ())
        print_report(console, results, judge(results, recorded(baseline, moves=(1e-7,), seconds=(16.0, 16.5)), strictness))
        return console.file.getvalue().splitlines()

    return report


def test_a_finished_row_is_one_line(console, row_result):
    print_progress(console, row_result(), 1, 19)
    print_progress(console, row_result(figures=None, error="broken [/]\nTraceback"), 2, 19)
    assert console.file.getvalue().splitlines() == [
        "[1/19] row 1 (reference): train 96.6%, validation 99.3%, test 95.0%, 16.00 s",
        "[2/19] row 1 (reference): failed: broken [/]",
    ]


def test_the_report_ends_with_failures_and_the_count(reported, row_result, figures):
    lines = reported(row_result(figures=figures(right=(900, 148, 285))))
    assert lines[0].startswith("smoke tier on Fast CPU")
    assert lines[-1] == "0 of 1 judged row holds"
    assert any(
        line.startswith("  train accuracy regressed from 96.63 % to 86.54 % (baseline; McNemar's exact test: 105 texts lost, 0 gained") for line in lines
    )
    assert "  again: python -m bench run --tier smoke --rows 1" in lines


@pytest.mark.parametrize(("strictness", "verdict"), [(Strictness.STRICT, "drifted"), (Strictness.LENIENT, "drifted (warning)")])
def test_only_a_failing_row_lists_the_texts_it_lost(reported, row_result, figures, strictness, verdict):
    lines = reported(row_result(figures=figures(wrong_test={1, *range(285, 300)})), ("first", "[bold]second[/]", "third"), strictness)
    assert f"row 1 (reference): {verdict}" in lines
    is_failing = strictness is Strictness.STRICT
    assert ("  1 test text went from right to wrong, 0 from wrong to right (McNemar's exact p = 1)" in lines) == is_failing
    assert ("  right to wrong, text 2: [bold]second[/]" in lines) == is_failing
    assert not any("third" in line for line in lines)


def test_a_text_of_several_lines_stays_on_one(reported, row_result, figures):
    lines = reported(row_result(figures=figures(wrong_test={0, *range(285, 300)})), ("first line\nsecond line",), Strictness.STRICT)
    assert "  right to wrong, text 1: first line second line" in lines


def test_texts_and_names_of_strangers_do_not_rule_the_terminal(console, reported, row_result, figures):
    print_progress(console, row_result(figures=None, error="\x1b[2Jbroken\x07"), 1, 19)
    lines = reported(row_result(figures=figures(wrong_test={0, *range(285, 300)})), ("\x1b]0;title\x07win",), Strictness.STRICT, device_name="\x1b[1mCPU")
    assert "[1/19] row 1 (reference): failed: \\x1b[2Jbroken\\x07" in lines
    assert "  right to wrong, text 1: \\x1b]0;title\\x07win" in lines
    assert "smoke tier on \\x1b[1mCPU" in {line.strip() for line in lines}
    assert not {"\x1b", "\x07"} & set("".join(lines))


def test_the_notes_stand_under_the_table(reported, of_seeds, seeds):
    lines = reported(of_seeds(seeds(1)), baseline=of_seeds(seeds(10)))
    (notices,) = (line for line in lines if line.startswith("notices: "))
    (clean,) = (line for line in lines if line.startswith("a clean run of these rows is flagged"))
    assert lines.index(notices) < lines.index(clean) < lines.index("no validation or test text stands verbatim in train")
    assert lines[-1] == "1 of 1 judged row holds"


def test_failures_come_last_after_what_only_warns_and_the_run_as_a_whole(console, run_info, recorded, row_result, figures):
    warned, failed = row_result(), row_result(row=2, name="first token", figures=None, error="broken")
    results = Results(run_info(rows=(1, 2, 3)), {1: warned, 2: failed}, (), (Invariant("a holds", (1,), False, "it does not"),))
    slow, broken, _ = judge(results, recorded(moves=(1e-7,), seconds=(1.0, 1.01, 0.99, 1.02, 0.98, 1.0)))
    print_report(console, results, [broken, slow])
    lines = console.file.getvalue().splitlines()
    headlines = [line for line in lines if line.startswith("row ")]
    assert headlines == ["row 1 (reference): pass, slower", "row 2 (first token): error"]
    assert lines[-2:] == ["invariant broken: a holds (it does not)", "1 of 2 judged rows holds; the run as a whole does not"]
    assert sum("invariant broken" in line for line in lines) == 1


def test_texts_that_flipped_either_way_are_told(reported, row_result, figures):
    texts = tuple(f"text {number}" for number in range(300))
    lines = reported(row_result(figures=figures(wrong_test={0, *range(287, 300)})), texts, Strictness.STRICT)
    assert [line for line in lines if "to wrong, text" in line or "to right, text" in line] == [
        "  right to wrong, text 1: text 0",
        "  wrong to right, text 286: text 285",
        "  wrong to right, text 287: text 286",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_a_narrow_terminal_spares_columns_and_cuts_none(width, recorded, run_info, row_result):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    results = Results(run_info(), {1: row_result()}, (), ())
    print_report(console, results, judge(results, recorded(moves=(1e-7,))))
    header, row = (line for line in console.file.getvalue().splitlines() if line[:1] in "┃│")
    assert "…" not in header + row
    assert {"row", "test %", "verdict"} <= {cell.strip() for cell in header.split("┃")}
    assert ("no room here for " in console.file.getvalue()) == (width < 160)


def test_no_column_is_left_out_that_there_is_room_for(of_seeds, seeds, recorded, run_info):
    results = Results(run_info(), {1: of_seeds(seeds(1))}, (), ())
    verdicts = judge(results, recorded(of_seeds(seeds(10)), moves=(1e-7,)))

    def printed(width):
        console = Console(file=io.StringIO(), width=width, highlight=False)
        print_report(console, results, verdicts)
        lines = console.file.getvalue().splitlines()
        return next(line for line in lines if line.startswith("┃")), lines

    whole, _ = printed(400)
    widths = {column.strip(): len(column) + 1 for column in whole.strip("┃").split("┃")}
    assert {"notices", "seconds", "this run"} <= widths.keys()
    for width in range(60, 180):
        header, lines = printed(width)
        shown = {column.strip() for column in header.strip("┃").split("┃")}
        assert all(len(header) + widths[name] > width for name in widths.keys() - shown)
        assert any(line.startswith("notices: ") for line in lines) == ("notices" in shown)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_style(verdict):
    assert STYLES[verdict]


def test_the_list_names_every_row_and_its_flags(console):
    for tier in TIERS.values():
        print_rows(console, tier)
    text = console.file.getvalue()
    assert all(row.name in text for row in ROWS)
    assert "--trainable_token_pos first" in text


def test_the_environment_is_one_line(console, run_info):
    print_environment(console, Results(run_info(), {}))
    assert "Fast CPU, 2 threads" in console.file.getvalue()
