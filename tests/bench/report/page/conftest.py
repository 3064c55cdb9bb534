"""Pages of made-up runs, and a browser that looks at them."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.findings.claims import judge_findings
from bench.findings.evidence import from_results
from bench.report.page.context import page_of
from bench.report.page.write import write_report
from bench.results import Invariant, Results
from bench.rows import find_row
from bench.verdicts.judge import judge
from gptcore.experiment import digest_of, settings_of

HOSTILE = "<script>alert(1)</script> & \"win\" 'cash' \x1b[2J {{ 7 * 7 }} \u202ecilbup $x^2$"
TIMINGS = (16.0, 16.5, 16.2, 15.8, 16.1, 16.4)
ALL_HOLD = (Invariant("accuracies are whole counts of their texts", (1,), True, ""),)


@pytest.fixture(scope="session")
def hostile():
    """What a message, a name or an error may hold."""
    return HOSTILE


def result_of(row_result, number, **fields):
    """A result of any row, named and set up as it is."""
    row = find_row(number)
    settings = settings_of(row.experiment)
    return row_result(**{"row": number, "name": row.name, "settings": settings, "digests": {"settings": digest_of(settings), "data": "d" * 64}} | fields)


@pytest.fixture
def run(row_result, figures, run_info, recorded, tmp_path):
    """Makes a run that row 1 was recorded for: results, verdicts, findings, expectations, and its folder.

    rows: results by number, None for one that never ended.
    """

    def make(rows, texts=(), invariants=ALL_HOLD, baseline=None, **info):
        settings = settings_of(find_row(1).experiment)
        baseline = baseline or row_result(settings=settings, digests={"settings": digest_of(settings), "data": "d" * 64})
        expectations = recorded(baseline, moves=(1e-7,), seconds=TIMINGS)
        results = Results(run_info(rows=tuple(rows), **info), {number: result for number, result in rows.items() if result}, texts, invariants)
        verdicts = judge(results, expectations)
        judged = judge_findings(from_results(results))
        return SimpleNamespace(results=results, verdicts=verdicts, judged=judged, expectations=expectations, folder=tmp_path / "run folder")

    return make


@pytest.fixture
def good(run, row_result):
    """Row 1 as it was recorded."""
    return run({1: result_of(row_result, 1)})


@pytest.fixture
def bad(run, row_result, figures):
    """Row 1 lost 30 messages, row 2 failed, row 3 never came; texts, names and errors are hostile."""
    lost = result_of(row_result, 1, figures=figures(wrong_test={*range(30), *range(285, 300)}, train_loss=0.7))
    failed = result_of(row_result, 2, name=HOSTILE, figures=None, error=f"RuntimeError: {HOSTILE}\nTraceback {HOSTILE}")
    named = result_of(row_result, 4, name=HOSTILE)
    broken = (Invariant("row 18 equals row 1", (1, 18), False, HOSTILE),)
    return run({1: lost, 2: failed, 3: None, 4: named}, texts=(HOSTILE,) * 300, invariants=broken, device_name=HOSTILE)


@pytest.fixture
def page_context():
    """What the page of a run says."""

    def make(run, **settings):
        return page_of(run.results, run.verdicts, run.judged, run.expectations, run.folder, **settings)

    return make


@pytest.fixture
def page_of_run(tmp_path):
    """Writes the page of a run; returns its path."""

    def make(run, **settings):
        return write_report(run.results, run.verdicts, run.judged, run.expectations, run.folder, tmp_path / "page.html", **settings)

    return make


@pytest.fixture
def base_of():
    """The same run with row 1 a little better, as BASE."""

    def make(run, figures):
        better = replace(run.results.rows[1], figures=figures(right=(1010, 148, 286)))
        return "the base", replace(run.results, rows=run.results.rows | {1: better})

    return make


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of this machine, which gets no network."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium on this machine: install Debian's chromium, or name one in $CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: install the extra `test`")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()
