import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from bench.comparison.bisect import Bisection
from bench.comparison.compare import Comparison, Verdict, compare
from bench.comparison.revisions import Revision
from bench.report.comparison import bisection_lines, cells_of, closing_line, comparison_json, print_comparison, render_comparison, show_bisection
from bench.report.text import FORMATS, NO_WIDTH
from bench.results import Results
from bench.statistics import Interval


@pytest.fixture
def printed():
    """What print_comparison prints."""

    def lines(comparisons, **settings):
        console = Console(file=io.StringIO(), width=160, highlight=False)
        print_comparison(console, comparisons, base="main", head="mine", **settings)
        return console.file.getvalue()

    return lines


@pytest.fixture
def rows(run_info, row_result, figures):
    """Makes results of rows 1, 2, ..., each with these keyword arguments of its figures."""

    def make(*each, **info):
        of_row = {number: row_result(row=number, name=f"row | {number}", figures=figures(**one)) for number, one in enumerate(each, start=1)}
        return Results(run_info(rows=tuple(of_row), **info), of_row)

    return make


@pytest.fixture
def comparisons(rows):
    """Row 1 is the same, row 2 lost a text, row 3 fell, row 4 is missing."""
    base = rows({}, {}, {}, {})
    head = rows({}, {"right": (1005, 148, 284), "train_loss": 0.500002}, {"right": (1005, 148, 240), "seconds": 20.0})
    return compare([base], [head])


def test_the_closing_line_comes_first_and_counts_rows_and_durations(comparisons, printed):
    line = "main -> mine: 4 rows: 1 missing, 1 worse, 1 indistinguishable, 1 same; durations: 1 not tested, 2 same"
    assert closing_line(comparisons, "main", "mine") == line
    assert printed(comparisons).splitlines()[0] == line
    assert render_comparison(comparisons, base="main", head="mine").splitlines()[0] == f"**{line}**"


def test_only_what_is_not_the_same_is_printed(comparisons, printed):
    text = printed(comparisons)
    assert "row | 1" not in text
    assert [line.split("│")[8].strip() for line in text.splitlines() if line.startswith("│")] == [
        "indistinguishable",
        "not tested",
        "worse",
        "not tested",
        "missing",
    ]
    assert "row | 1" in printed(comparisons, everything=True)


def test_where_all_is_the_same_one_line_is_all(rows, printed):
    same = compare([rows({}, {})], [rows({}, {})])
    assert printed(same) == "main -> mine: 2 rows: 2 same; durations: 2 same\n"
    assert render_comparison(same, base="main", head="mine") == "**main -> mine: 2 rows: 2 same; durations: 2 same**\n"


def test_memory_is_counted_by_itself(row_result, run_info, printed):
    little, much = (Results(run_info(rows=(1,)), {1: row_result(peak_memory=peak)}) for peak in (10**8, 2 * 10**8))
    more = compare([little], [much])
    assert "main -> mine: 1 row: 1 same; durations: 1 same; memory: 1 not tested\n" in printed(more)


def test_verdicts_come_with_their_reasons(comparisons, printed):
    text = printed(comparisons)
    assert "row 3, test accuracy worse: 45 texts lost and 0 gained of 300, one seed, McNemar's exact test: p = 5.7e-14, corrected for 6 tests 3.4e-13\n" in text
    assert "row 4 missing: there is no such row in HEAD\n" in text
    assert "row 3, duration not tested: one measurement each" in text


def test_what_is_significant_alone_only_is_explained(rows, printed):
    """Its interval leaves out zero, and its verdict does not say so."""
    text = printed(compare([rows({})], [rows({"right": (1005, 148, 279)})]))
    assert (
        "row 1, test accuracy indistinguishable: 6 texts lost and 0 gained of 300, one seed, McNemar's exact test: p = 0.031, corrected for 3 tests 0.094"
        in text
    )


def test_notes_and_reasons_that_rows_share_are_told_once(rows, printed):
    text = printed(compare([rows({}, {}, {})], [rows({"seconds": 3.0}, {"seconds": 3.0}, {"seconds": 3.0}, threads=7)]))
    assert text.count("measured on") == 1
    assert "rows 1-3, duration not comparable: measured on" in text
    assert "rows 1-3: other circumstances (threads: 2 and 7)\n" in text


def test_cells_have_units_and_signs():
    comparison = Comparison(4, "last two blocks", "test_accuracy", Verdict.WORSE, "", 0.95, 0.9, -0.05, Interval(-0.08, 0.001))
    assert cells_of(comparison) == ("4", "last two blocks", "test accuracy", "95.00 %", "90.00 %", "-5.00", "-8.00 to +0.10", "worse")
    loss = replace(comparison, metric="train_loss", base=0.5, head=0.500002, difference=0.000002, interval=Interval(-0.1, 0.2))
    assert cells_of(loss)[3:7] == ("0.50000", "0.50000", "+2e-06", "-0.10000 to +0.20000")
    duration = replace(comparison, metric="duration", base=2.0, head=3.0, difference=1.5, interval=Interval(1.2, 1.9))
    assert cells_of(duration)[3:7] == ("2.00 s", "3.00 s", "x 1.500", "1.200 to 1.900")
    memory = replace(duration, metric="peak_memory", base=2e8, head=3e8)
    assert cells_of(memory)[2:7] == ("peak memory", "200 MB", "300 MB", "x 1.500", "1.200 to 1.900")
    assert cells_of(Comparison(4, "", "every metric", Verdict.MISSING, "")) == ("4", "-", "every metric", "-", "-", "-", "-", "missing")


def test_markdown_is_a_table_and_a_list(comparisons):
    lines = render_comparison(comparisons, base="main", head="mine").splitlines()
    header = next(line for line in lines if line.startswith("| row"))
    table = [line for line in lines if line.startswith("|")]
    assert header.count("|") == 9
    assert all(line.replace("\\|", "").count("|") == 9 for line in table)
    assert "row \\| 3" in table[4]
    assert any(line.startswith("- row 3, test accuracy worse: 45 texts lost") for line in lines)


def test_markup_in_names_stays_text(comparisons, printed):
    odd = [replace(comparison, name="[red]<b>", explanation="[/]") for comparison in comparisons]
    assert "[red]<b>" in printed(odd)
    assert "[/]" in printed(odd)
    assert r"\[red\]&lt;b>" in render_comparison(odd, base="main", head="mine")


def test_json_has_every_field_of_every_comparison(comparisons):
    content = json.loads(comparison_json(comparisons, base="main", head="mine"))
    assert (content["base"], content["head"], content["exit_code"], content["level"]) == ("main", "mine", 1, 0.05)
    assert len(content["comparisons"]) == len(comparisons) == 3 * 6 + 1
    worse = next(comparison for comparison in content["comparisons"] if comparison["verdict"] == "worse")
    assert (worse["row"], worse["metric"], worse["base"], worse["head"]) == (3, "test_accuracy", 0.95, 0.8)
    assert set(worse["interval"]) == {"low", "high"}


def test_json_takes_durations_into_its_exit_code_on_request(rows):
    base, head = ([rows({"seconds": seconds}) for seconds in timings] for timings in ((8.0, 8.7, 8.4), (10.0, 11.0, 10.5)))
    found = compare(base, head)
    codes = [json.loads(comparison_json(found, base="a", head="b", judge_costs=judge))["exit_code"] for judge in (False, True)]
    assert codes == [0, 1]


def test_a_bisection_names_the_commit():
    commits = [Revision(letter * 40, letter * 40, f"Commit {letter}") for letter in "abcd"]
    decided = Bisection(commits[0], commits[3], 4, (commits[2],), (), ((commits[1], "good"), (commits[2], "bad")))
    assert bisection_lines(decided) == [f"row 4: the first bad commit is {'c' * 40} Commit c (looked at 2 between)"]
    open_end = replace(decided, suspects=tuple(commits[1:3]), looked=((commits[1], "skip"),))
    assert bisection_lines(open_end) == [
        "row 4: the first bad commit is one of these 2, between which the row cannot run:",
        "  bbbbbbbbbb Commit b",
        "  cccccccccc Commit c",
    ]


# A bisection in every form


@pytest.fixture
def bisection(rows):
    """Of b and c, the second fell; its subject would turn a terminal red and ring, and link and mention on a page."""
    good, between, suspect = (Revision(letter * 40, letter * 40, f"Commit {letter}") for letter in "abc")
    suspect = replace(suspect, subject="\x1b[31mFall\x07 [bold] [a](http://b) @who `code`")
    found = compare([rows({})], [rows({"right": (1005, 148, 240)})])
    return Bisection(good, suspect, 1, (suspect,), tuple(found), ((between, "good"),))


@pytest.fixture
def shown():
    """What show_bisection prints on a terminal that takes colours."""

    def show(bisection, form):
        console = Console(file=io.StringIO(), width=160, highlight=False, no_color=True)
        show_bisection(console, bisection, form)
        return console.file.getvalue()

    return show


@pytest.fixture
def undecided(bisection):
    return replace(bisection, suspects=(bisection.looked[0][0], *bisection.suspects), comparisons=(), looked=((bisection.looked[0][0], "skip"),))


def test_a_decided_bisection_is_a_line_and_the_comparison(bisection, shown, printed):
    first, *comparison = shown(bisection, "text").splitlines()
    assert first == f"row 1: the first bad commit is {'c' * 40} \\x1b[31mFall\\x07 [bold] [a](http://b) @who `code` (looked at 1 between)"
    assert comparison[0].startswith(f"{bisection.good} -> {bisection.suspects[0]}: 1 row: 1 worse")
    assert comparison[1:] == printed(bisection.comparisons).splitlines()[1:]


def test_an_undecided_bisection_lists_all_suspects_and_compares_nothing(undecided, shown):
    assert shown(undecided, "text").splitlines() == [
        "row 1: the first bad commit is one of these 2, between which the row cannot run:",
        "  bbbbbbbbbb Commit b",
        "  cccccccccc \\x1b[31mFall\\x07 [bold] [a](http://b) @who `code`",
    ]
    assert shown(undecided, "markdown").splitlines() == [
        "- row 1: the first bad commit is one of these 2, between which the row cannot run:",
        "- bbbbbbbbbb Commit b",
        r"- cccccccccc \\x1b\[31mFall\\x07 \[bold\] \[a\](http:NO//b) @NOwho \`code\`".replace("NO", NO_WIDTH),
    ]


def test_a_bisection_as_markdown_is_a_list_and_the_comparison(bisection, shown):
    text = shown(bisection, "markdown")
    first, rest = text.split("\n\n", 1)
    assert first.startswith(f"- row 1: the first bad commit is {'c' * 40} ")
    assert rest.rstrip("\n") == render_comparison(bisection.comparisons, base=str(bisection.good), head=str(bisection.suspects[0])).rstrip("\n")
    for active in ("[a](", "@who", " `code`"):
        assert active not in text


def test_a_bisection_as_json_is_one_document_with_every_field(bisection, undecided, shown):
    content = json.loads(shown(bisection, "json"))
    assert content["schema_version"] == 1
    assert (content["row"], content["good"]["commit"], content["bad"]["commit"]) == (1, "a" * 40, "c" * 40)
    assert [suspect["subject"] for suspect in content["suspects"]] == [bisection.suspects[0].subject]
    assert [(revision["commit"], word) for revision, word in content["looked"]] == [("b" * 40, "good")]
    assert {found["metric"]: found["verdict"] for found in content["comparisons"]}["test_accuracy"] == "worse"
    open_end = json.loads(shown(undecided, "json"))
    assert (len(open_end["suspects"]), open_end["comparisons"]) == (2, [])


@pytest.mark.parametrize("form", FORMATS)
def test_no_form_of_a_bisection_rules_the_terminal(bisection, undecided, shown, form):
    for one in (bisection, undecided):
        assert not {"\x1b", "\x07"} & set(shown(one, form))
