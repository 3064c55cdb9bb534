"""One run shared by the nineteen row tests: its options, its results folder, and the table at the end."""

from pathlib import Path

import pytest

from bench.expectations import DEFAULT_PATH, Expectations, load_expectations
from bench.judge import RowVerdict, judge, judge_row
from bench.report.terminal import make_console, print_progress, print_report
from bench.results import RowResult, read_results
from bench.rows import Row, select_rows
from bench.run import Request, finish, make_request, run_row, start_run
from bench.tiers import TIERS
from gptcore.errors import UserError
from gptcore.inputs import Sources


class Suite:
    """A run under pytest: the same request, folder and judge as `python -m bench run`."""

    def __init__(self, request: Request, folder: Path, expectations: Expectations) -> None:
        self.request = request
        self.folder = folder
        self.expectations = expectations
        self.finished = 0

    def run(self, row: Row) -> RowResult:
        return run_row(row, self.request, self.folder)

    def judge(self, row: Row, result: RowResult) -> RowVerdict:
        return judge_row(row, result, read_results(self.folder).info, self.expectations)

    def show_progress(self, result: RowResult) -> None:
        self.finished += 1
        print_progress(make_console(), result, self.finished, len(self.request.rows))

    def show_report(self) -> None:
        finish(self.folder, self.expectations)
        results = read_results(self.folder)
        print_report(make_console(), results, judge(results, self.expectations))


SUITE = pytest.StashKey[Suite]()


def pytest_addoption(parser):
    group = parser.getgroup("rows of the benchmark")
    group.addoption("--tier", choices=sorted(TIERS), default="smoke")
    group.addoption("--rows", default="all", help="numbers and ranges such as 1,4-5")
    group.addoption("--device")
    group.addoption("--seed", type=int)
    group.addoption("--plain", action="store_true")
    group.addoption("--out", type=Path, help="new folder for the results (default: results/<tier>-<time>)")
    group.addoption("--data-dir", type=Path)
    group.addoption("--weights-dir", type=Path)
    group.addoption("--tokenizer-dir", type=Path)
    group.addoption("--limit-train", type=int)
    group.addoption("--expected", type=Path, default=DEFAULT_PATH)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Make the results folder before pytest's own reporters open their files, and put those files into it."""
    option = config.option
    if option.collectonly or getattr(option, "help", False):
        return
    try:
        sources = Sources(option.data_dir, option.weights_dir, option.tokenizer_dir, option.limit_train)
        request = make_request(TIERS[option.tier], select_rows(option.rows), option.device, sources, option.seed, plain=option.plain)
        expectations = load_expectations(option.expected)
        folder = start_run(request, option.out)
    except UserError as error:
        pytest.exit(f"error: {error}", returncode=2)
    option.xmlpath = option.xmlpath or str(folder / "junit.xml")
    option.benchmark_json = option.benchmark_json or str(folder / "benchmark.json")
    option.benchmark_quiet = True
    if option.tbstyle == "auto":
        option.tbstyle = "no"  # the report under the table says it all
    config.stash[SUITE] = Suite(request, folder, expectations)


def pytest_generate_tests(metafunc):
    """One test per selected row, named after it."""
    suite = metafunc.config.stash.get(SUITE, None)
    rows = suite.request.rows if suite else select_rows(metafunc.config.option.rows)
    metafunc.parametrize("row", rows, ids=[f"{row.number:02d} {row.name}".replace(", ", " ").replace(" ", "-") for row in rows])


def pytest_report_header(config):
    suite = config.stash.get(SUITE, None)
    return f"{suite.request.tier.name} tier on {suite.request.device}; results in {suite.folder}" if suite else None


@pytest.fixture
def suite(request):
    return request.config.stash[SUITE]


def pytest_terminal_summary(config):
    if suite := config.stash.get(SUITE, None):
        suite.show_report()
