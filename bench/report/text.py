"""Cells and sentences in the forms that reports come in."""

import json
import re
from collections.abc import Iterable
from typing import Any, Literal

Format = Literal["text", "markdown", "json"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "json")


def markdown_line(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, inside a table too."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").splitlines())


def markdown_code(text: str) -> str:
    """Text of strangers: as it is on one line, with no link or picture in it that works."""
    line = " ".join(text.splitlines())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}"


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
