"""The table and its explanations as Markdown, for results folders and pull requests."""

from collections.abc import Sequence

from bench.report.table import Told, closing_line, explanations, notes, table_cells
from bench.report.text import clipped, markdown_code, markdown_line, markdown_text
from bench.results import Results
from bench.verdicts.verdict import RowVerdict
from bench.wording import counted

LONGEST = 1000  # characters of one sentence or message; an error may hold a whole tensor


def render_markdown(results: Results, verdicts: Sequence[RowVerdict]) -> str:
    """The whole report of one run."""
    environment = results.info.environment
    threads, torch = counted(environment.threads, "thread"), f"torch {environment.packages['torch']}"
    where = f"{results.info.tier} tier, {environment.device_name}, {threads}, {torch}, {environment.date}"
    header, rows = table_lines(verdicts)
    lines = [f"**{closing_line(verdicts)}** - {markdown_text(where)}", "", *header, *rows, *(f"\n{markdown_text(line)}" for line in notes(results, verdicts))]
    for told in explanations(results, verdicts):
        lines += ["", *told_lines(told), *text_lines(told)]
    return "\n".join(lines) + "\n"


def table_lines(verdicts: Sequence[RowVerdict]) -> tuple[list[str], list[str]]:
    """The two lines that begin the table, and one per row."""
    header, rows = table_cells(verdicts)
    return [markdown_line(header), markdown_line("---" for _ in header)], [markdown_line(cells) for cells in rows]


def told_lines(told: Told) -> list[str]:
    """What there is to say of one row, without the test texts: of an error its first line."""
    sentences = [clipped(sentence.split("\n")[0], LONGEST) for sentence in told.sentences]
    return [f"**{markdown_text(told.headline)}**", "", *(f"- {markdown_text(sentence)}" for sentence in sentences), f"- again: {markdown_code(told.command)}"]


def text_lines(told: Told) -> list[str]:
    """The test texts of one row that flipped, each on a line of the list above."""
    return [f"- {name}: {markdown_code(clipped(text, LONGEST))}" for name, text in told.texts]
