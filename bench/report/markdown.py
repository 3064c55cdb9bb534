"""The table and its explanations as Markdown, for results folders and pull requests."""

from collections.abc import Iterable, Sequence

from bench.report.table import closing_line, explanations, notes, table_cells
from bench.results import Results
from bench.verdict import RowVerdict


def render_markdown(results: Results, verdicts: Sequence[RowVerdict]) -> str:
    """The whole report of one run."""
    environment = results.info.environment
    header, rows = table_cells(verdicts)
    lines = [
        f"**{closing_line(verdicts)}** - {results.info.tier} tier, {environment.device_name}, {environment.threads} threads, "
        f"torch {environment.packages['torch']}, {environment.date}",
        "",
        _line(header),
        _line("---" for _ in header),
        *(_line(cells) for cells in rows),
        *(f"\n{_escape(line)}" for line in notes(results, verdicts)),
    ]
    for headline, sentences in explanations(results, verdicts):
        lines += ["", f"**{_escape(headline)}**", "", *(f"- {_escape(_first_line(sentence))}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
