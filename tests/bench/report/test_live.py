import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import bench
from bench.__main__ import main
from bench.progress import RowProgress, RunProgress
from bench.recording.baselines import repeatable_figures
from bench.report.live import COLUMNS, Lines, LiveTable, can_live, displaying, fitted, window
from bench.results import read_results
from bench.rows import ROWS, find_row
from bench.tiers import TIERS
from bench.verdicts.verdict import RowVerdict, Verdict
from gptcore.result import EpochAccuracy, Evaluation, Progress

CHECKOUT = Path(bench.__file__).parent.parent


@pytest.fixture
def run():
    """All rows, of which a minute each is expected, at a clock that stands at 90 seconds."""
    clock = iter([0.0])
    return RunProgress({row.number: RowProgress(row, n_epochs=5, expected=60.0) for row in ROWS}, lambda: next(clock, 90.0))


def drawn(run, width=80, height=40):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)
    console.print(LiveTable(console, run))
    return console.file.getvalue().splitlines()


def test_every_row_has_its_line(run, row_result):
    run.begin(find_row(1))
    run.end(row_result(), RowVerdict(1, "reference", Verdict.REGRESSED, False, (), None))
    hear = run.begin(find_row(2))
    for event in (Evaluation(1, 0, 0.4321, 0.5, 1.0), EpochAccuracy(1, 0.95, 0.933), Progress("training", 25, 100)):
        hear(event)
    header, first, second, third, *_ = lines = drawn(run, width=120)
    assert header.split() == " ".join(COLUMNS).split()
    assert first.split() == ["1", "reference", "regressed", "0.500", "96.6", "99.3", "95.0", "0.0", "s"]
    assert second.split() == ["2", "first", "token", "training", "25%", "2/5", "0.432", "95.0", "93.3", "0.0", "s", "45.0", "s"]
    assert third.split() == ["3", "last", "layer", "only", "waiting", "1:00"]
    assert lines[-1] == "1 of 19 rows ended, 0 hold; 1:30 elapsed; about 17:45 left"
    assert len(lines) == len(ROWS) + 2


@given(width=st.integers(20, 200), height=st.integers(3, 60))
def test_the_table_never_outgrows_the_terminal(width, height):
    run = RunProgress({row.number: RowProgress(row, n_epochs=5, expected=None) for row in ROWS})
    run.begin(find_row(7))(Progress("frozen pass", 123, 456))
    lines = drawn(run, width, height)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= max(height - 1, 3)
    assert any(line.lstrip().startswith("7 ") for line in lines)


@given(n_rows=st.integers(1, 30), n_lines=st.integers(1, 30), data=st.data())
def test_the_window_holds_the_row_that_runs(n_rows, n_lines, data):
    current = data.draw(st.integers(0, n_rows - 1))
    rows = [RowProgress(find_row(1), 1, None, ended=1.0 if number < current else None) for number in range(n_rows)]
    shown = window(rows, n_lines)
    assert rows[current] in shown
    assert len(shown) == min(n_rows, n_lines)


def test_rows_without_room_are_named(run):
    assert drawn(run, width=120, height=10)[-1].endswith("rows 7-19 not shown")


@given(text=st.text(st.characters(categories=("L", "N", "Zs"))), width=st.integers(1, 20))
def test_text_fits_its_column(text, width):
    assert cell_len(fitted(text, width)) == width


def test_a_name_of_strangers_does_not_rule_the_terminal(run, row_result):
    run.rows[1].row = type(ROWS[0])(1, "\x1b[2Jbad", ROWS[0].experiment)
    assert "\\x1b[2Jbad" in "".join(drawn(run))


def test_lines_are_printed_where_nothing_can_renew_itself(run, row_result):
    console = Console(file=io.StringIO(), width=160)
    with displaying(console, run) as display:
        assert isinstance(display, Lines)
        display.begin(find_row(1))(Progress("training", 1, 2))
        display.end(row_result(), RowVerdict(1, "reference", Verdict.PASS, True, (), None))
        display.pass_to("checking invariants")
    assert console.file.getvalue() == "[1/19] row 1 (reference): train 96.6%, validation 99.3%, test 95.0%, 16.00 s\n"


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes a console on a terminal of some kind."""
    for variable in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(variable, raising=False)

    def make(width=80, height=24, term="xterm-256color", encoding="utf-8", **environment):
        for name, value in {"TERM": term, **environment}.items():
            monkeypatch.setenv(name, value)
        file = Terminal()
        file.encoding = encoding
        return Console(file=file, width=width, height=height)

    return make


def test_a_terminal_gets_the_table(terminal):
    assert can_live(terminal())
    assert can_live(terminal(CI="false"))


@pytest.mark.parametrize("kind", [{"CI": "true"}, {"term": "dumb"}, {"encoding": "cp1252"}, {"encoding": "ascii"}, {"width": 50}, {"height": 5}])
def test_whatever_cannot_show_it_gets_lines(terminal, kind):
    assert not can_live(terminal(**kind))


def test_a_pipe_gets_lines_even_where_colours_are_forced(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not can_live(Console(file=io.StringIO(), width=100, height=40))


def test_the_table_makes_way_at_the_end_and_stays_when_interrupted(terminal, run):
    console = terminal()
    with displaying(console, run) as display:
        assert isinstance(display, LiveTable)
    finished = console.file.getvalue()
    assert finished.endswith("\x1b[2K")  # erased
    assert finished.rindex("\x1b[?25h") > finished.rindex("\x1b[?25l")  # the cursor is back
    console = terminal()
    with pytest.raises(KeyboardInterrupt), displaying(console, run):
        raise KeyboardInterrupt
    assert console.file.getvalue().endswith("\n\x1b[?25h")


def test_no_color_is_respected(terminal, run):
    def colours(console):
        console.print(LiveTable(console, run))
        return re.findall(r"\x1b\[[0-9;]*3[0-7]m", console.file.getvalue())

    run.begin(find_row(1))
    run.rows[1].ended, run.rows[1].phase = 1.0, "regressed"
    assert colours(terminal())
    assert not colours(terminal(NO_COLOR="1"))


RUN_TOYS = """
import sys
sys.path.insert(0, {tests!r})
import bench.__main__, bench.run, conftest
bench.run.calibrate = lambda: 1.0
bench.tiers.TIERS["smoke"] = conftest.TOY_TIER
sys.exit(bench.__main__.main(sys.argv[1:]))
"""


def run_in_a_terminal(arguments, environment, *, interrupt_at=None):
    """Everything that toys print to a pseudo-terminal of 100 columns, and the exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_TOYS.format(tests=str(CHECKOUT / "tests" / "bench")), *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=clean | {"TERM": "xterm-256color", "PYTHONPATH": str(CHECKOUT)} | environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        said += chunk
        if interrupt_at and interrupt_at in said:
            os.kill(process.pid, signal.SIGINT)
            interrupt_at = None
    os.close(ours)
    return said.decode(), process.wait()


@pytest.fixture
def pseudo_terminal(monkeypatch, terminal):
    """Puts a pseudo-terminal of 100 columns in the place of standard output while `run` runs.  Returns what that printed, and what it returned."""

    def during(run, **environment):
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **environment}.items():
            monkeypatch.setenv(name, value)
        ours, theirs = pty.openpty()
        with ThreadPoolExecutor() as reader, os.fdopen(ours, "rb", buffering=0) as received:
            said = reader.submit(lambda: b"".join(iter(lambda: read_or_end(received), b"")))
            with os.fdopen(theirs, "w", encoding="utf-8") as stdout, monkeypatch.context() as patched:
                patched.setattr(sys, "stdout", stdout)
                returned = run()
            return said.result().decode(), returned

    return during


def read_or_end(file):
    """Some bytes; none where the other side of the pseudo-terminal is closed, of which Linux makes an error."""
    try:
        return file.read(65536)
    except OSError:
        return b""


def test_toys_on_a_real_terminal_give_the_figures_they_give_anywhere(tmp_path, toy_run, toy_tier, monkeypatch, pseudo_terminal):
    monkeypatch.setitem(TIERS, "smoke", toy_tier)
    said, code = pseudo_terminal(lambda: main(["run", "--rows", "1-2", "--out", str(tmp_path / "out")]), NO_COLOR="1")
    assert code == 1  # nothing was recorded of toys
    assert re.search(r"  2 +first token +waiting", said)
    assert re.search(r"0 of 2 rows ended, 0 hold; .* elapsed; about", said)
    assert said.rindex("\x1b[?25h") < said.index("2 not comparable")  # the cursor is back before the report
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", said)
    for number, row in read_results(tmp_path / "out").rows.items():
        assert repeatable_figures(row.figures) == repeatable_figures(toy_run.results.rows[number].figures)


@pytest.mark.slow
def test_an_interrupt_leaves_the_terminal_clean(tmp_path):
    said, code = run_in_a_terminal(["run", "--rows", "all", "--out", str(tmp_path / "out")], {}, interrupt_at=b"waiting")
    assert code == 130
    assert "Traceback" not in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor was hidden, and is not any more
    assert "waiting" in said[: said.rindex("\x1b[?25h")]
    assert "--resume" in said[said.rindex("\x1b[?25h") :]


def test_a_dumb_terminal_gets_lines(tmp_path, toy_tier, monkeypatch, pseudo_terminal):
    monkeypatch.setitem(TIERS, "smoke", toy_tier)
    said, _ = pseudo_terminal(lambda: main(["run", "--rows", "1-2", "--out", str(tmp_path / "out")]), TERM="dumb")
    assert "[1/2] row 1 (reference): train " in said
    assert "\x1b" not in said
