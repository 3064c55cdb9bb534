"""A Markdown text that stays within a size: what matters most is kept, whole parts are left out, and the text says which."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

RESERVE = 800  # bytes for the sentence on what was left out


@dataclass(frozen=True)
class Part:
    """Lines that stand together or not at all.

    rank: of two parts for which there is no space the one with the lower rank is kept.  name: what a reader is told is missing, in the plural.
    """

    text: str
    rank: int
    name: str


@dataclass(frozen=True)
class Section:
    """Parts in the order they are read, between an opening and a closing that stand only where one of them does."""

    opening: str
    parts: tuple[Part, ...]
    closing: str = ""


def fitted(head: str, sections: Sequence[Section], limit: int) -> str:
    """The head and as many parts as `limit` bytes of UTF-8 hold.  Once a part of a section is left out, so are those of a later rank.

    The head must leave space for `RESERVE` bytes.
    """
    whole = [set(range(len(section.parts))) for section in sections]
    text = _written(head, sections, whole)
    if _size(text) <= limit:
        return text
    kept = _kept(sections, limit - RESERVE - _size(head))
    missing = Counter(part.name for section, chosen in zip(sections, kept, strict=True) for at, part in enumerate(section.parts) if at not in chosen)
    total = Counter(part.name for section in sections for part in section.parts)
    told = ", ".join(f"{count} of {total[name]} {name}" for name, count in missing.items())
    return f"{_written(head, sections, kept)}\n**Left out to stay within {limit} bytes:** {told}.  The command `summary` shows more with a larger `--limit`.\n"


def _kept(sections: Sequence[Section], space: int) -> list[set[int]]:
    """For each section the places of the parts that fit into so many bytes, in the order of their ranks."""
    kept: list[set[int]] = [set() for _ in sections]
    full: set[int] = set()
    ranked = sorted((part.rank, number, at) for number, section in enumerate(sections) for at, part in enumerate(section.parts))
    for _, number, at in ranked:
        section = sections[number]
        frame = 0 if kept[number] else _size(section.opening) + _size(section.closing) + 2
        needed = _size(section.parts[at].text) + 1 + frame
        if number in full or needed > space:
            full.add(number)
        else:
            kept[number].add(at)
            space -= needed
    return kept


def _written(head: str, sections: Sequence[Section], kept: Sequence[set[int]]) -> str:
    lines = [head]
    for section, chosen in zip(sections, kept, strict=True):
        if chosen:
            lines += [section.opening, *(part.text for at, part in enumerate(section.parts) if at in chosen), section.closing]
    return "\n".join(line for line in lines if line) + "\n"


def _size(text: str) -> int:
    return len(text.encode())
