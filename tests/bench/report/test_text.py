import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from bench.report.text import as_json, cell, markdown_code, markdown_line, markdown_text, printable, row_ranges, rows_named, say
from bench.rows import ROWS, select_rows

NASTY = "\x1b]0;title\x07 \x9b31m [red]a[/] ![b](http://c) <i>&amp;| @who *d* `e` \\"


def controls_in(text):
    return {character for character in text if unicodedata.category(character) == "Cc"} - {"\n"}


@pytest.fixture
def console():
    """A terminal that takes no colours, so that whatever control character comes out was in the text."""
    return Console(file=io.StringIO(), width=160, highlight=False, no_color=True)


# The terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e4\u20ac\U0001f600 text", "plain \u00e4\u20ac\U0001f600 text"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\rb\tc\x00\x7f\x9b", r"a\rb\tc\x00\x7f\x9b"),
        ("two\nlines", "two\nlines"),
        ("", ""),
    ],
)
def test_control_characters_are_seen_and_not_heard(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_no_control_character_is_left_and_nothing_else_is_lost(text):
    assert not controls_in(printable(text))
    if not controls_in(text):
        assert printable(text) == text


def test_a_line_is_said_in_whole_and_as_it_is(console):
    long = f"{NASTY} {'word ' * 100}end"
    say(console, long)
    assert console.file.getvalue() == f"{printable(long)}\n"


def test_a_line_may_have_a_style():
    console = Console(file=io.StringIO(), width=160, highlight=False, force_terminal=True, color_system="standard")
    say(console, "[red]\x1bfine", "bold")
    assert console.file.getvalue() == "\x1b[1m[red]\\x1bfine\x1b[0m\n"


@pytest.mark.parametrize("style", [None, "bold red"])
@pytest.mark.parametrize("text", [NASTY.rstrip("\\"), "[/]", "[bold]", r"a\[b]", ""])
def test_a_cell_shows_its_text(console, text, style):
    table = Table(box=None, show_header=False, padding=0)
    table.add_column(no_wrap=True)
    table.add_row(cell(text, style))
    console.print(table)
    assert console.file.getvalue().rstrip() == printable(text).rstrip()


# Markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>", "&lt;script>"),
        ("&lt;", "&amp;lt;"),
        ("@who", "&#64;who"),
        ("a | b", r"a \| b"),
        ("![a](http://b)", r"!\[a\](http://b)"),
        ("*bold*", r"\*bold\*"),
        ("`code`", r"\`code\`"),
        (r"\[a](b)", r"\\\[a\](b)"),
        (r"\|", r"\\\|"),
        ("two\nlines", "two lines"),
        ("a\x1b[1m\x07", r"a\\x1b\[1m\\x07"),
        ("12.5 % - fine_name (x): y", "12.5 % - fine_name (x): y"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert markdown_text(text) == shown


@given(st.text(alphabet="ab \n\r\x1b\x07\\|[]*`<@&\u2028"))
def test_nothing_in_a_markdown_text_is_active(text):
    shown = markdown_text(text)
    assert not controls_in(shown)
    assert len(shown.splitlines()) <= 1
    assert not {"<", "@"} & set(shown)
    rest = shown.replace("\\\\", "")  # after which every special character stands behind a backslash of its own
    for special in "|[]*`":
        assert rest.count(special) == rest.count(f"\\{special}")


def test_a_line_of_a_table_has_as_many_cells_as_were_given():
    line = markdown_line(("a | b", "c\nd", "\\"))
    assert line == r"| a \| b | c d | \\ |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("win <b>", "` win <b> `"),
        ("![a](http://b) @who", "` ![a](http://b) @who `"),
        ("`", "`` ` ``"),
        ("a `` b ` c", "``` a `` b ` c ```"),
        ("two\n- lines", "` two - lines `"),
        ("\x1b[1m\x07", r"` \x1b[1m\x07 `"),
    ],
)
def test_texts_of_strangers_are_code(text, shown):
    assert markdown_code(text) == shown


@given(st.text(alphabet="a`\n\x1b"))
def test_no_text_ends_its_code(text):
    shown = markdown_code(text)
    fence = shown.split(" ")[0]
    assert set(fence) == {"`"}
    assert shown.endswith(f" {fence}")
    assert fence not in shown[len(fence) : -len(fence)]
    assert not controls_in(shown)
    assert "\n" not in shown


# Row numbers


@pytest.mark.parametrize(
    ("numbers", "ranges", "named"),
    [
        ((7,), "7", "row 7"),
        ((7, 1, 3, 2), "1-3,7", "rows 1-3, 7"),
        ((1, 2), "1-2", "rows 1-2"),
        ((19, 1, 1, 19), "1,19", "rows 1, 19"),
        ((5, 5), "5", "row 5"),
        (range(1, 20), "1-19", "rows 1-19"),
    ],
)
def test_rows_are_named_by_ranges(numbers, ranges, named):
    assert row_ranges(numbers) == ranges
    assert rows_named([*numbers]) == named


def test_no_rows_are_no_range():
    assert row_ranges(()) == ""


@given(st.sets(st.sampled_from([row.number for row in ROWS]), min_size=1))
def test_the_command_line_takes_ranges(numbers):
    assert [row.number for row in select_rows(row_ranges(numbers))] == sorted(numbers)


# JSON


def test_json_is_indented_plain_ascii_without_what_is_no_number():
    assert as_json({"a": ["\u00e4\x9b"]}) == '{\n  "a": [\n    "\\u00e4\\u009b"\n  ]\n}'
    assert json.loads(as_json(NASTY)) == NASTY
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(float("nan"))
