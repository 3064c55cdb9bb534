"""One run shared by the nineteen row tests: its options, its results folder, and the table at the end."""

import shlex
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.executors.check import runs_here
from bench.executors.running import run_rows
from bench.expectations import Expectations, load_expectations
from bench.finishing import finish
from bench.invariants import check_invariants
from bench.options import add_executor, add_expected, add_lenient, add_out, add_request, add_resume, strictness_from
from bench.progress import watch
from bench.report.live import Display, displaying
from bench.report.terminal import make_console, page_line, print_report
from bench.report.text import say
from bench.request import Request
from bench.results import RowResult, in_use, read_info
from bench.resuming import begin
from bench.rows import Row, select_rows
from bench.run import plan_of, run_row
from bench.stopping import code_of, name_of, resuming_command, terminable
from bench.verdicts.judge import holds, judge_row
from bench.verdicts.verdict import RowVerdict, Strictness
from gptcore.errors import UserError


class Suite:
    """A run under pytest: the same request, folder and judge as `python -m bench run`."""

    def __init__(self, request: Request, folder: Path, expectations: Expectations, strictness: Strictness) -> None:
        self.request = request
        self.folder = folder
        self.expectations = expectations
        self.strictness = strictness
        self.info = read_info(folder)
        self.progress = watch(request.rows, request.experiment_of, self.info, expectations)
        self.plan = plan_of(request)
        self.elsewhere = None if runs_here(request) else run_rows(request, folder, self.progress.begin)
        self.ended: dict[int, RowResult] = {}
        self.stop: BaseException | None = None

    def run(self, row: Row) -> RowResult:
        if self.elsewhere is None:
            return run_row(row, self.request, self.folder, self.plan, self.progress.begin(row))
        try:
            while row.number not in self.ended:  # workers end rows in their own order
                result = next(self.elsewhere)
                self.ended[result.row] = result
        except UserError as error:
            pytest.exit(f"error: {error}", returncode=2)
        return self.ended[row.number]

    def judge(self, row: Row, result: RowResult) -> RowVerdict:
        return judge_row(row, result, self.info, self.expectations, self.strictness)

    def pytest_keyboard_interrupt(self, excinfo):
        self.stop = excinfo.value

    @contextmanager
    def showing(self, config) -> Iterator[Display]:
        """The terminal, which pytest captures otherwise, for the time that something runs."""
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled(), displaying(make_console(), self.progress) as display:
            yield display

    def finish(self, config, *, interrupted: bool) -> None:
        if not interrupted:
            with self.showing(config) as display:
                display.pass_to("checking invariants")
                check_invariants(self.request, self.folder)
        self.results, self.verdicts = finish(self.folder, self.expectations, self.strictness)


SUITE = pytest.StashKey[Suite]()


def pytest_addoption(parser):
    add = parser.getgroup("rows of the benchmark").addoption
    add_request(add)
    add_out(add)
    add_resume(add)
    add_executor(add)
    add_expected(add)
    add_lenient(add)  # --strict is pytest's own, and asks for the same here


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Make the results folder before pytest's own reporters open their files, and put those files into it."""
    option = config.option
    if option.collectonly or getattr(option, "help", False):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # a benchmark runs as it does without pytest, where a warning is no error
            expectations = load_expectations(option.expected)
            request, folder = begin(option)
            held = ExitStack()
            held.enter_context(in_use(folder))
            held.enter_context(terminable())
    except UserError as error:
        pytest.exit(f"error: {error}", returncode=2)
    option.xmlpath = option.xmlpath or str(folder / "junit.xml")
    option.benchmark_json = option.benchmark_json or str(folder / "benchmark.json")
    option.benchmark_quiet = True
    if option.tbstyle == "auto":
        option.tbstyle = "no"  # the report under the table says it all
    config.add_cleanup(held.close)
    config.stash[SUITE] = Suite(request, folder, expectations, strictness_from(option))
    config.pluginmanager.register(config.stash[SUITE])  # it hears of interruptions


def pytest_generate_tests(metafunc):
    """One test per selected row, named after it."""
    suite = metafunc.config.stash.get(SUITE, None)
    rows = suite.request.rows if suite else select_rows(metafunc.config.option.rows)
    metafunc.parametrize("row", rows, ids=[f"{row.number:02d} {row.name}".replace(", ", " ").replace(" ", "-") for row in rows])


def pytest_report_header(config):
    suite = config.stash.get(SUITE, None)
    return f"{suite.request.tier.name} tier on {suite.request.device}; results in {suite.folder}" if suite else None


def pytest_report_teststatus(report, config):
    """No letter for a row: its line, or the table, says more."""
    if SUITE in config.stash and report.when == "call" and report.outcome in ("passed", "failed"):
        return report.outcome, "", report.outcome.upper() if config.option.verbose > 0 else ""
    return None


def pytest_collection_finish(session):
    """No name of a file before its rows: the table needs whole lines."""
    if SUITE in session.config.stash and session.config.option.verbose <= 0:
        session.config.pluginmanager.getplugin("terminalreporter").showfspath = False


@pytest.fixture
def suite(request):
    return request.config.stash[SUITE]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Before any reporter has its say: judge the run as a whole, rows that were never reached included."""
    if suite := session.config.stash.get(SUITE, None):
        # pytest-benchmark cannot summarise the row that an interruption cut short.
        benchmarks = session.config._benchmarksession.benchmarks
        benchmarks[:] = [benchmark for benchmark in benchmarks if benchmark]
        suite.finish(session.config, interrupted=session.exitstatus == pytest.ExitCode.INTERRUPTED)
        if suite.stop:
            session.exitstatus = code_of(suite.stop)
        if session.exitstatus == pytest.ExitCode.OK and not holds(suite.results, suite.verdicts):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(config):
    if suite := config.stash.get(SUITE, None):
        print_report(make_console(), suite.results, suite.verdicts)
        say(make_console(), f"{page_line(suite.folder)}, or nox -s report -- {shlex.quote(str(suite.folder))}")
        if suite.stop:
            say(make_console(), f"{name_of(suite.stop)}: go on with {resuming_command(suite.folder)}, or with --resume {suite.folder} under nox")
