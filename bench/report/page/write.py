"""Pages as files: the templates filled, the plots drawn, all of it written at once or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EISDIR
from os import strerror
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.expectations import Expectations
from bench.findings.claims import JudgedFinding
from bench.history import History
from bench.report.page.context import Page, page_of
from bench.report.page.drawing import Plot, inline_svg, save_plots
from bench.report.page.history_context import history_page
from bench.report.page.measures import accuracy_marks, baselines_of, duration_marks, figures_of, loss_curves
from bench.report.page.plots import accuracy_plot, duration_plot, findings_plot, loss_plots
from bench.report.page.tables import FLIPS_SHOWN
from bench.report.text import printable
from bench.results import Results, ResultsError
from bench.verdicts.verdict import RowVerdict
from gptcore.files import write_text_atomically

SECTIONS = (
    ("accuracy", "Accuracy"),
    ("durations", "Durations"),
    ("losses", "Losses"),
    ("findings", "Findings"),
    ("flips", "Flipped messages"),
    ("invariants", "Invariants"),
    ("environment", "Environment"),
    ("commands", "Commands"),
)


@dataclass(frozen=True)
class RunPlots:
    """The plots of a run; None where there is nothing to draw."""

    accuracy: Plot | None
    durations: Plot | None
    losses: tuple[Plot, ...]
    findings: Plot | None

    def all(self) -> list[Plot]:
        """Those there are."""
        return [plot for plot in (self.accuracy, self.durations, *self.losses, self.findings) if plot]


def write_report(
    results: Results,
    verdicts: Sequence[RowVerdict],
    judged: Sequence[JudgedFinding],
    expectations: Expectations,
    folder: Path,
    path: Path,
    *,
    base: tuple[str, Results] | None = None,
    plots_folder: Path | None = None,
    judging: Sequence[str] = (),
    command: str = "python -m bench",
) -> Path:
    """Write the page of a run that was judged, and its plots as files if a folder is named for them.  Returns the page's path.

    judged: the publication's findings, none where the run is of other rows.  folder: the run's own.  base: another run to compare with, and its name.
    judging: flags that had it judged in another way than the usual.  command: what starts the suite's.
    Raises UserError where the two runs cannot be compared, or the page cannot be written.
    """
    page = page_of(results, verdicts, judged, expectations, folder, base=base, judging=judging, command=command)
    drawn = run_plots(results, verdicts, judged, expectations, base[1] if base else None)
    template = templates().get_template("report.html")
    html = template.render(page=page, plots=drawn, sections=sections_of(page), behind=base[0] if base else "", flips_shown=FLIPS_SHOWN)
    save_page(path, html, drawn.all(), plots_folder)
    return path


def write_history(history: History, folder: str, path: Path, *, plots_folder: Path | None = None) -> None:
    """Write the page of a history, and its plots as files if a folder is named for them.  Raises ResultsError where that cannot be."""
    page = history_page(history, folder)
    html = templates().get_template("history.html").render(page=page)
    save_page(path, html, [plot for group in page.groups for plot in group.plots], plots_folder)


def sections_of(page: Page) -> list[tuple[str, str]]:
    """The ids and short titles of what the page has, in its order."""
    found = [("failing", "What failed")] if page.failing else []
    found += [("rows", "Table")]
    found += [("warnings", "Warnings")] if page.warning else []
    found += [("against", "Against")] if page.against else []
    return [*found, *((name, title) for name, title in SECTIONS if name != "findings" or page.findings_line)]


def run_plots(results: Results, verdicts: Sequence[RowVerdict], judged: Sequence[JudgedFinding], expectations: Expectations, base: Results | None) -> RunPlots:
    """Everything of a run that can be drawn."""
    baselines = baselines_of(results.info, expectations)
    accuracies = [] if results.info.timing_only else accuracy_marks(verdicts, baselines)
    durations = duration_marks(verdicts, expectations)
    curves = loss_curves(verdicts, baselines, base)
    absent = [verdict.row for verdict in verdicts if figures_of(verdict) is None]
    return RunPlots(
        accuracy_plot(accuracies, absent) if accuracies else None,
        duration_plot(durations, absent) if durations else None,
        tuple(loss_plots(curves, "BASE" if base else "recorded")) if curves else (),
        findings_plot(judged),
    )


def save_page(path: Path, html: str, plots: Sequence[Plot], plots_folder: Path | None) -> None:
    """Write a page, and its plots if a folder is named.  Raises ResultsError where that cannot be."""
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, strerror(EISDIR))
        write_text_atomically(path, html)
    except OSError as error:
        raise ResultsError(f"{error.filename or path} cannot be written ({error.strerror}): name another file with --out") from error
    if plots_folder:
        try:
            save_plots(plots, plots_folder)
        except OSError as error:
            raise ResultsError(f"{error.filename or plots_folder} cannot be written ({error.strerror}): name another folder with --plots") from error


def templates() -> Environment:
    """The templates, which escape all they are given and show control characters as such."""
    environment = Environment(
        loader=PackageLoader("bench.report.page", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["svg"] = inline_svg
    return environment


def _shown(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
