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


def duration(seconds: float) -> str:
    """Seconds as people read them: 9.5 s, 4:05, 1:02:03."""
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole_seconds:02d}" if hours else f"{minutes}:{whole_seconds:02d}"
