"""Rows and times as people write them."""

from collections.abc import Iterable, Sequence


def row_ranges(numbers: Iterable[int]) -> str:
    """Row numbers as a selection such as 1-3,5."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def rows_named(numbers: Sequence[int]) -> str:
    """Row numbers as a person writes them, such as `rows 1-3, 5`."""
    written = row_ranges(numbers).replace(",", ", ")
    return f"row {written}" if written.isdecimal() else f"rows {written}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as `1 row` or `3 rows`.  plural: where it takes more than an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def share(number: int, total: int, noun: str, verbs: tuple[str, str] = ("holds", "hold")) -> str:
    """How many of all do something, such as `1 of 3 rows holds`.  verbs: for one and for several."""
    return f"{number} of {counted(total, noun)} {verbs[number != 1 and total != 1]}"


def duration(seconds: float) -> str:
    """Seconds as people read them: 9.5 s, 4:05, 1:02:03."""
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole_seconds:02d}" if hours else f"{minutes}:{whole_seconds:02d}"
