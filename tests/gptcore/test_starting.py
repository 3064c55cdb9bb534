import signal

import pytest

import gptcore.starting
from gptcore.command_line import guarded
from gptcore.starting import end, is_ours, running, start_quietly


@pytest.mark.parametrize(
    ("words", "typed", "ours"),
    [
        (["-m", "run"], ["python", "-m", "bench", "run"], True),
        (["-m"], ["python", "-W", "error", "-m", "gptcore"], True),
        (["/venv/bin/bench", "list"], ["python", "/venv/bin/bench", "list"], True),
        (["-m", "x"], ["python", "-m", "theirs", "x"], False),
        (["theirs.py", "-m", "bench"], ["python", "theirs.py", "-m", "bench"], False),
        (["-c"], ["python", "-c", "import bench"], False),
        (["/venv/pytest/__main__.py", "bench"], ["python", "-m", "pytest", "bench"], False),
        ([], ["python"], False),
        ([""], ["python"], False),
    ],
)
def test_our_programs_are_told_from_those_that_import_us(words, typed, ours):
    assert is_ours(words, typed) is ours


@pytest.fixture
def handlers(monkeypatch):
    """The usual handlers, whatever the tests' own process has, put back in the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield lambda: [signal.getsignal(number) for number in before]
    for number, handler in before.items():
        signal.signal(number, handler)


def test_other_programs_keep_their_handlers(handlers):
    before = handlers()
    start_quietly()
    assert handlers() == before


def test_signals_do_what_they_do_usually_while_a_command_runs(handlers, monkeypatch):
    monkeypatch.setattr(gptcore.starting, "is_ours", lambda *words: True)
    usual, seen = handlers(), []
    start_quietly()
    assert handlers() == [end, end]
    assert guarded(lambda: seen.append(handlers()) or 0) == 0
    assert seen == [usual]
    assert handlers() == [end, end]


def test_a_signal_that_is_ignored_stays_so(handlers, monkeypatch):
    """As under nohup, or in the background of a shell script."""
    monkeypatch.setattr(gptcore.starting, "is_ours", lambda *words: True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start_quietly()
    with running():
        assert handlers() == [signal.SIG_IGN, signal.SIG_DFL]
    assert handlers() == [signal.SIG_IGN, end]
