"""The table and its explanations as Markdown, for results folders and pull requests."""

from collections.abc import Sequence

from bench.report.table import closing_line, explanations, notes, table_cells
from bench.report.text import markdown_code, markdown_line, markdown_text
from bench.results import Results
from bench.verdicts.verdict import RowVerdict


def render_markdown(results: Results, verdicts: Sequence[RowVerdict]) -> str:
    """The whole report of one run."""
    environment = results.info.environment
    header, rows = table_cells(verdicts)
    lines = [
        f"**{closing_line(verdicts)}** - {results.info.tier} tier, {environment.device_name}, {environment.threads} threads, "
        f"torch {environment.packages['torch']}, {environment.date}",
        "",
        markdown_line(header),
        markdown_line("---" for _ in header),
        *(markdown_line(cells) for cells in rows),
        *(f"\n{markdown_text(line)}" for line in notes(results, verdicts)),
    ]
    for told in explanations(results, verdicts):
        sentences = [markdown_text(sentence.split("\n")[0]) for sentence in told.sentences]
        texts = [f"{name}: {markdown_code(text)}" for name, text in told.texts]
        lines += [
            "",
            f"**{markdown_text(told.headline)}**",
            "",
            *(f"- {sentence}" for sentence in (*sentences, *texts, f"again: {markdown_code(told.command)}")),
        ]
    return "\n".join(lines) + "\n"
