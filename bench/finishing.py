"""The end of a run: its rows judged, and what is written beside them."""

from collections.abc import Sequence
from pathlib import Path

from bench.expectations import Expectations, save_expectations
from bench.recording.baselines import with_baselines
from bench.report.markdown import render_markdown
from bench.results import Results, ResultsError, read_results
from bench.rows import ROWS, Row
from bench.verdicts.judge import judge
from bench.verdicts.verdict import RowVerdict, Strictness
from gptcore.files import remedy_for, write_text_atomically


def finish(folder: Path, expectations: Expectations, strictness: Strictness = Strictness.USUAL, rows: Sequence[Row] = ROWS) -> tuple[Results, list[RowVerdict]]:
    """Judge a folder and write the Markdown table beside its rows, and, unless the person chose other inputs or the plain way, or rows ran side by side,
    a ready expectations file.

    Returns the results and their verdicts.
    """
    results = read_results(folder)
    verdicts = judge(results, expectations, strictness, rows)
    try:
        write_text_atomically(folder / "table.md", render_markdown(results, verdicts))
        if not results.info.chosen and not results.info.plain and all(row.alone for row in results.rows.values()):
            save_expectations(folder / "expected_results.json", with_baselines(expectations, results))
    except OSError as error:
        raise ResultsError(
            f"{folder} cannot hold the report ({error.strerror}): the rows in it are whole; {remedy_for(error)} and judge them with check"
        ) from error
    return results, verdicts
