"""Cells and sentences in the forms that reports come in.  Much of what they say comes from files, so nothing in it may act on a terminal or a page."""

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

Format = Literal["text", "markdown", "json"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "json")

# Characters that turn the direction of what follows, so that a line reads otherwise than it is.
TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What GitHub makes a link or a mention of by itself; neither a backslash nor an entity keeps it from that, a character of no width behind it does.
LINKED = re.compile(r"@|#(?=\d)|GH-(?=\d)|:(?=//)|www(?=\.)", re.IGNORECASE)
NO_WIDTH = "\u200b"
ACTIVE = re.compile(r"[|\[\]*`~\\]|(?<![^\W_])_|_(?![^\W_])")


def printable(text: str) -> str:
    """The text with every control character, which could rule a terminal, and every turn of direction as a visible escape; line breaks stay."""
    return "".join(repr(character)[1:-1] if is_control(character) and character != "\n" else character for character in text)


def is_control(character: str) -> bool:
    """Whether a character is no part of a text but does something to it."""
    return unicodedata.category(character) == "Cc" or character in TURNS


def say(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is, in whole."""
    console.print(printable(line), markup=False, style=style, soft_wrap=True)


def cell(text: str, style: str | None = None) -> Text:
    """Text for a cell of a table on a terminal."""
    return Text(printable(text), style=style or "")


def markdown_line(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(markdown_text(text) for text in cells) + " |"


def markdown_text(text: str) -> str:
    """Text on one line that Markdown shows as it is, inside a table too: no tag, link, picture, mention, emphasis or code comes of it."""
    line = " ".join(printable(text).splitlines()).replace("&", "&amp;").replace("<", "&lt;")
    return ACTIVE.sub(r"\\\g<0>", LINKED.sub(rf"\g<0>{NO_WIDTH}", line))


def markdown_code(text: str) -> str:
    """Text of strangers: as it is on one line, with no link or picture in it that works."""
    line = " ".join(printable(text).splitlines())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}"


def markdown_block(text: str) -> str:
    """Text of strangers: as it is, line by line."""
    lines = "\n".join(printable(text).splitlines())
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", lines)), default=0))
    return f"{fence}text\n{lines}\n{fence}"


def clipped(text: str, limit: int) -> str:
    """The text, cut after so many characters where it is longer, with the number of those left out."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more {'character' if len(text) - limit == 1 else 'characters'})"


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(value, indent=2, allow_nan=False)
