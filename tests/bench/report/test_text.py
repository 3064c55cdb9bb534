import html
import io
import json
import re
import unicodedata

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from bench.report.text import TURNS, as_json, cell, clipped, markdown_block, markdown_code, markdown_line, markdown_text, printable, say

NASTY = "\x1b]0;title\x07 \x9b31m [red]a[/] ![b](http://c) <i>&amp;| @who *d* `e` \\"


def controls_in(text):
    return {character for character in text if unicodedata.category(character) == "Cc" or character in TURNS} - {"\n"}


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
        ("pass \u202eliaf\u202c \u2066x\u2069 \u200f", r"pass \u202eliaf\u202c \u2066x\u2069 \u200f"),
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
        ("@who", "@\u200bwho"),
        ("a | b", r"a \| b"),
        ("![a](b)", r"!\[a\](b)"),
        ("http://a www.b", "http:\u200b//a www\u200b.b"),
        ("fixes #12, GH-3; #a", "fixes #\u200b12, GH-\u200b3; #a"),
        ("*bold* _i_ ~~s~~", r"\*bold\* \_i\_ \~\~s\~\~"),
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


ACTIVE_TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["@who", "a@b.co", "#1", "GH-1", "http://a.co", "www.a.co", "<b>", "<!--", "-->", "[a](b)", "![a](b)", "&#64;", "&lt;", "mailto:", "`", "\\"]
        ),
        st.sampled_from([*"ab \n\r\x1b\x07\\|[]()*_~`<>@&#:/.!-+=1\u2028\u202e"]),
    )
).map("".join)


def rendered(markdown):
    """As GitHub renders it, tags included."""
    return cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE)


@given(ACTIVE_TEXT)
def test_nothing_in_a_markdown_text_is_active(text):
    shown = markdown_text(text)
    assert not controls_in(shown)
    assert len(shown.splitlines()) <= 1
    page = rendered(f"said: {shown}")
    assert set(re.findall("<[^>]*>", page)) == {"<p>", "</p>"}
    content = html.unescape(re.sub("<[^>]*>", "", page)).rstrip("\n")
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.", content, re.IGNORECASE)
    assert content.replace("\u200b", "") == f"said: {' '.join(printable(text).splitlines())}".rstrip()


@given(st.lists(ACTIVE_TEXT, min_size=2, max_size=2))
def test_no_text_leaves_its_cell(texts):
    page = rendered("\n".join(["| a | b |", "| --- | --- |", markdown_line(texts)]))
    assert page.count("<td>") == 2
    assert set(re.findall("<[^>]*>", page)) <= {f"<{slash}{tag}>" for slash in ("", "/") for tag in ("table", "thead", "tbody", "tr", "th", "td")}


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


@given(ACTIVE_TEXT)
def test_a_block_of_a_text_shows_its_lines(text):
    page = rendered(f"before\n\n{markdown_block(text)}\n\nafter")
    assert re.fullmatch(r"<p>before</p>\n<pre lang=\"text\"><code>.*</code></pre>\n<p>after</p>\n", page, re.DOTALL)
    (content,) = re.findall("<code>(.*)</code>", page, re.DOTALL)
    assert html.unescape(content).splitlines() == (printable(text).splitlines() or [""])


@pytest.mark.parametrize(("text", "shown"), [("four", "four"), ("fives", "five … (1 more character)"), ("", "")])
def test_a_long_text_is_clipped_and_says_so(text, shown):
    assert clipped(text, 4) == shown


# JSON


def test_json_is_indented_plain_ascii_without_what_is_no_number():
    assert as_json({"a": ["\u00e4\x9b"]}) == '{\n  "a": [\n    "\\u00e4\\u009b"\n  ]\n}'
    assert json.loads(as_json(NASTY)) == NASTY
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(float("nan"))
