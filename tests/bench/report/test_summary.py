import html
import re
from dataclasses import replace

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.comparison.compare import compare
from bench.report.summary import COMMENT_LIMIT, LEAST_LIMIT, Against, check_limit, marker, render_summary
from bench.results import Invariant, Results
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Strictness
from gptcore.errors import UsageError

TEXTS = tuple(f"message {number}" for number in range(300))
HOLDS = Invariant("row 18 equals row 1 bit for bit", (1, 18), True, "")
BROKEN = Invariant("accuracies are whole counts", (1,), False, "row 1: test 3 of 4")
TRACE = "RuntimeError: out of memory\nTraceback (most recent call last):\n  File <stdin>\nRuntimeError: out of memory"
TAGS = {"p", "strong", "ul", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "h3", "details", "summary"}


@pytest.fixture
def judged(recorded, run_info):
    """Results of rows by number (None: it never ran) and their verdicts, row 1 against its baseline; every other row's is missing unless it is given as one."""

    def make(rows, invariants=(HOLDS,), strictness=Strictness.STRICT, texts=TEXTS, **info):
        results = Results(run_info(rows=tuple(rows), **info), {number: row for number, row in rows.items() if row}, texts, invariants)
        return results, judge(results, recorded(moves=(1e-7,), seconds=(16.0, 16.5)), strictness)

    return make


@pytest.fixture
def lost(row_result, figures):
    """Row 1 with so many test texts lost, the first ones."""
    return lambda n: row_result(figures=figures(wrong_test={*range(n), *range(285, 300)}))


def open_part(text):
    """What a reader sees without unfolding anything."""
    return re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)


def folds(text):
    """What is folded, by title."""
    return dict(re.findall(r"<details><summary>(.*?)</summary>\n(.*?)</details>", text, re.DOTALL))


def page_of(text):
    """As GitHub renders it, before it looks for mentions and references in what stands between tags."""
    return cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE)


# The verdict


def test_the_verdict_stands_first_behind_a_marker(judged, row_result):
    first, _, verdict, _, where, *_ = render_summary(*judged({1: row_result()})).split("\n")
    assert first == marker("smoke") == "<!-- fine-tuning benchmarks: smoke -->"
    assert verdict == "**smoke tier: passed** - 1 of 1 judged row holds; 1 of 1 invariant holds"
    assert where.startswith("Fast CPU, 2 threads, torch ")


def test_failures_are_counted_by_kind(judged, row_result, lost):
    text = render_summary(*judged({1: lost(1), 2: row_result(row=2, figures=None, error="broken"), 3: row_result(row=3)}))
    assert "**smoke tier: failed** - 0 of 3 judged rows hold; 1 error; 1 missing; 1 drifted; 1 of 1 invariant holds" in text


def test_a_broken_invariant_fails_the_run_and_is_told_before_the_rows(judged, row_result, lost):
    assert "**smoke tier: failed** - 1 of 1 judged row holds; 1 of 2 invariants holds" in render_summary(*judged({1: row_result()}, (HOLDS, BROKEN)))
    text = open_part(render_summary(*judged({1: lost(1)}, (HOLDS, BROKEN))))
    assert text.index("- broken: accuracies are whole counts (row 1: test 3 of 4)") < text.index("### Rows that fail")


def test_the_full_tier_has_a_comment_of_its_own(judged, row_result):
    assert render_summary(*judged({1: row_result()}, tier="full")).startswith(marker("full"))
    assert marker("full") != marker("smoke")


# Runs that broke off


def test_rows_that_never_ended_are_told_once_with_the_command_that_runs_them(judged, row_result):
    text = render_summary(*judged({1: row_result(), 2: None, 3: None, 5: None}, None))
    assert "**smoke tier: incomplete** - 1 of 4 judged rows holds; 3 missing" in text
    assert "The run broke off after 1 of 4 rows: rows 2-3, 5 never ended." in text
    assert "` python -m bench run --tier smoke --rows 2-3,5 `" in text
    assert "### Rows that fail" not in text
    assert "1 row unchanged" in folds(text)


def test_a_run_without_its_invariants_is_incomplete_though_every_row_holds(judged, row_result):
    text = render_summary(*judged({1: row_result()}, None))
    assert "**smoke tier: incomplete** - 1 of 1 judged row holds" in text
    assert "broke off before its invariants were checked" in open_part(text)


def test_a_run_without_a_single_row_can_be_told(judged):
    text = render_summary(*judged({1: None, 2: None}, None, texts=()))
    assert "The run broke off after 0 of 2 rows: rows 1-2 never ended." in text
    assert [*folds(text)] == ["environment"]


# Rows


def test_a_failing_row_is_open_and_in_full(judged, lost):
    text = open_part(render_summary(*judged({1: lost(3)})))
    assert text.index("### Rows that fail") < text.index("| 1 | reference |") < text.index("**row 1 (reference): drifted**")
    assert re.search(r"- test accuracy drifted from 95\.00 % to 94\.00 %, allowed .* % to .* % \(baseline; ", text)
    assert "- 3 test texts went from right to wrong, 0 from wrong to right" in text
    assert "- again: ` python -m bench run --tier smoke --rows 1 `" in text
    assert [f"text {number + 1}: ` message {number} `" in text for number in range(4)] == [True, True, True, False]


def test_a_traceback_is_folded_below_its_first_line(judged, row_result):
    text = render_summary(*judged({1: row_result(figures=None, error=TRACE)}))
    assert "- error: RuntimeError: out of memory\n" in open_part(text)
    assert "Traceback" not in open_part(text)
    assert "  File <stdin>" in folds(text)["traceback"]


def test_what_only_warns_comes_after_what_fails(judged, row_result, lost):
    rows = {1: lost(1), 2: row_result(row=2, figures=None, error="broken")}
    text = render_summary(*judged(rows, strictness=Strictness.LENIENT))
    assert "1 of 2 judged rows holds; 1 error; 1 with a warning" in text
    places = [text.index(found) for found in ("### Rows that fail", "row 2 (first token): error", "### Rows that warn", "drifted (warning)", "<details>")]
    assert places == sorted(places)
    assert "test accuracy drifted" in open_part(text)


def test_rows_with_nothing_to_say_are_folded(judged, row_result):
    text = render_summary(*judged({1: row_result()}))
    assert "| 1 | reference |" not in open_part(text)
    assert "| 1 | reference |" in folds(text)["1 row unchanged"]
    assert "###" not in text


def test_rows_that_are_not_comparable_as_was_asked_are_not_called_unchanged(judged, row_result):
    other = row_result(digests=row_result().digests | {"settings": "other"})
    text = render_summary(*judged({1: other}, chosen=("settings",)))
    assert "**smoke tier: passed** - no row was judged; 1 not comparable" in text
    assert "1 row not comparable, as was asked" in folds(text)


def test_where_every_row_fails_the_notes_on_all_of_them_are_still_folded(judged, lost):
    assert "stands verbatim in train" in folds(render_summary(*judged({1: lost(1)})))["notes"]


def test_invariants_that_hold_and_the_environment_are_folded(judged, row_result):
    folded = folds(render_summary(*judged({1: row_result()})))
    assert "- holds: row 18 equals row 1 bit for bit" in folded["1 invariant held"]
    assert "| device name | Fast CPU |" in folded["environment"]
    assert "| rows | 1 |" in folded["environment"]


# Against another run


@pytest.fixture
def against(run_info, row_result):
    """What moved from row 1 as usual to other results."""

    def make(results):
        base = Results(run_info(), {1: row_result()}, TEXTS, ())
        return Against("base", "head", compare([base], [results]))

    return make


def test_what_moved_since_another_run_is_open(judged, lost, against):
    results, verdicts = judged({1: lost(40)})
    text = open_part(render_summary(results, verdicts, against=against(results)))
    assert "base -> head: 1 row: 1 worse" in text
    assert "| 1 | reference | test accuracy | 95.00 % | 81.67 % |" in text
    assert "- row 1, test accuracy worse: 40 texts lost and 0 gained of 300" in text
    assert "not tested" not in text.split("### Against another run")[1].split("| ---")[1]


def test_what_chance_explains_is_folded(judged, lost, against):
    results, verdicts = judged({1: lost(2)})
    text = render_summary(results, verdicts, against=against(results))
    assert "No figure moved." in open_part(text)
    assert "indistinguishable" in folds(text)["figures that differ by chance or cannot be compared: 1"]


def test_nothing_that_differs_is_nothing_to_unfold(judged, row_result, against):
    results, verdicts = judged({1: row_result()})
    text = render_summary(results, verdicts, against=against(results))
    assert "base -> head: 1 row: 1 same" in text
    assert not any("differ by chance" in title for title in folds(text))


# Size


def test_a_limit_without_space_for_a_verdict_is_refused():
    assert check_limit(LEAST_LIMIT) == LEAST_LIMIT
    with pytest.raises(UsageError, match=f"--limit {LEAST_LIMIT - 1} is not possible"):
        check_limit(LEAST_LIMIT - 1)
    assert LEAST_LIMIT < COMMENT_LIMIT < 65_536


def test_what_a_row_lost_is_left_out_before_what_moved_and_how_to_see_it(judged, lost, row_result):
    long = tuple(f"{text} {'é' * 900}" for text in TEXTS)
    rows = {1: lost(200)} | {number: row_result(row=number, figures=None, error="broken") for number in range(2, 20)}
    text = render_summary(*judged(rows, texts=long), 12_000)
    assert len(text.encode()) <= 12_000
    assert all(f"--rows {number} `" in text for number in rows)
    shown = len(re.findall(r"^- right to wrong", text, re.MULTILINE))
    assert f"{200 - shown} of 200 texts that flipped" in text.splitlines()[-1]
    assert text.splitlines()[-1].startswith("**Left out to stay within 12000 bytes:** ")
    assert all(line.endswith(" `") for line in text.splitlines() if line.startswith("- right to wrong"))


def test_a_huge_sentence_is_clipped(judged, row_result):
    text = render_summary(*judged({1: row_result(figures=None, error="x" * 1_000_000)}))
    assert "more characters)" in text
    assert "again: " in text
    assert len(text) < 10_000


@pytest.mark.parametrize("character", ["\u202e", "\x1b", "`", "\U0001f600", "&", "["])
def test_the_least_limit_holds_whatever_the_verdict_has_to_name(judged, character):
    long = character * 5000
    results, verdicts = judged(dict.fromkeys(range(1, 20, 2)), None, device_name=long, command=long)
    results = replace(results, info=replace(results.info, environment=replace(results.info.environment, git_commit=long, date=long, packages={"torch": long})))
    text = render_summary(results, verdicts, LEAST_LIMIT)
    assert len(text.encode()) <= LEAST_LIMIT
    assert "rows 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 never ended" in text


# Strangers

HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            ["@who", "a@b.co", "fixes #1", "GH-1", "http://a.co", "www.a.co", "<b>", "<!--", "-->", "</details>", "<details>", "<script>", "[a](b)"]
        ),
        st.sampled_from(
            ["![a](b)", "[a]: b", "&#64;", "&lt;", "mailto:", "\n\n", "\n# ", "\n- ", "\n| a |", "\n```\n", "\n---\n", "\u202e", "\x1b[31m", "$x$"]
        ),
        st.text(alphabet="ab \n\\|[]()*_~`<>@&#:/.!-+=1\u2028", max_size=5),
    ),
    max_size=6,
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(HOSTILE, min_size=8, max_size=8), st.integers(LEAST_LIMIT, 13_000))
def test_nothing_that_others_wrote_acts_or_breaks_the_size(judged, row_result, lost, against, run_info, strings, limit):
    error, text, name, device, command, commit, broken, held = strings
    results, verdicts = judged(
        {1: lost(2), 2: row_result(row=2, name=name, figures=None, error=error)}, texts=(text, text), device_name=device, command=command
    )
    environment = replace(results.info.environment, git_commit=commit, environment_variables={name: text}, packages={"torch": name})
    invariants = (Invariant(held, (1,), True, text), Invariant(broken, (1,), False, text))
    results = replace(results, info=replace(results.info, environment=environment), invariants=invariants)
    shown = render_summary(results, verdicts, limit, replace(against(results), base=text, head=name))
    assert len(shown.encode()) <= limit
    page = page_of(shown)
    assert page.startswith(f"{marker('smoke')}\n")
    assert "<!--" not in page[10:]
    assert set(re.findall(r"</?([^\s>]*)[^>]*>", page[len(marker("smoke")) :])) <= TAGS
    assert page.count("<details>") == page.count("</details>")
    assert not re.search("[\u202e\x1b]", page)
    outside_code = html.unescape(re.sub("<[^>]*>", "", re.sub(r"<code>.*?</code>", "", page[len(marker("smoke")) :], flags=re.DOTALL)))
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.", outside_code, re.IGNORECASE)
    assert "smoke tier: failed" in page
