import io

import pytest
from rich.console import Console

from bench.fetching import Brought, Wanted
from bench.report.fetching import Lines, LiveBars, amount, closing, displaying_downloads, line_of

THING = Wanted("weights: gpt2-xl (1558M)", (8, 9), None)
PRESENT = Brought("data", (1, 2), "present", "/cache/[red]data", 477_907, None)
MISSING = Brought("vocabulary", (1,), "missing", None, None, "no such host")


class Screen(io.StringIO):
    def isatty(self):
        return True

    encoding = "utf-8"


def console(file=None, **settings):
    return Console(file=file or io.StringIO(), width=200, height=20, color_system=None, **settings)


def test_a_log_says_how_large_a_download_is_and_a_few_times_how_far_it_has_come():
    said = console()
    hear = Lines(said, said).watch(THING)
    for done in range(0, 6_400_000_001, 100_000_000):
        hear(done, 6_400_000_000)
    lines = said.file.getvalue().splitlines()
    assert lines[0] == "weights: gpt2-xl (1558M): downloading 6.40 GB"
    assert lines[1:] == [f"weights: gpt2-xl (1558M): {percent}%" for percent in range(10, 101, 10)]


def test_a_log_says_what_an_earlier_attempt_left():
    said = console()
    hear = Lines(said, said).watch(THING)
    hear(4_000_000, 8_000_000)
    hear(8_000_000, 8_000_000)
    assert said.file.getvalue() == "weights: gpt2-xl (1558M): downloading 8 MB, 4 MB of them are here\n"


def test_what_is_missing_goes_to_the_errors_and_what_is_there_to_the_output():
    said, complained = console(), console()
    lines = Lines(said, complained)
    for thing in (PRESENT, MISSING):
        lines.done(thing)
    assert said.file.getvalue() == "data (rows 1-2): present, /cache/[red]data (478 kB)\n"
    assert complained.file.getvalue() == "vocabulary (row 1): missing: no such host\n"


def test_a_terminal_shows_a_bar_that_makes_way_for_a_line(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    screen = console(Screen(), force_terminal=True)
    with displaying_downloads(screen, console()) as display:
        assert isinstance(display, LiveBars)
        hear = display.watch(THING)
        hear(3_200_000_000, 6_400_000_000)
        display.bars.refresh()
        assert "3.2/6.4 GB" in screen.file.getvalue()
        display.done(PRESENT)
        assert display.bars.task_ids == []
    assert "data (rows 1-2): present, /cache/[red]data (478 kB)" in screen.file.getvalue()
    assert "\x1b[?25h" in screen.file.getvalue()  # the cursor is back


def test_a_pipe_shows_no_bar():
    with displaying_downloads(console(), console()) as display:
        assert type(display) is Lines


@pytest.mark.parametrize(("size", "said"), [(10, "10 B"), (477_907, "478 kB"), (1_042_301, "1.04 MB"), (548_105_171, "548 MB"), (6_431_000_000, "6.43 GB")])
def test_amounts_read_as_servers_count_them(size, said):
    assert amount(size) == said


def test_the_end_says_whether_a_run_needs_a_network():
    assert closing([], "smoke") == "the smoke tier carries its own texts, vocabulary and weights: there is nothing to fetch"
    assert closing([PRESENT], "full").endswith("needs no network")
    assert closing([PRESENT, MISSING], "full").startswith("1 of 2 are missing (vocabulary): mend")


def test_a_folder_has_no_size():
    assert line_of(Brought("data", (1,), "present", "/mine", None, None)) == "data (row 1): present, /mine"
