"""Programs that are stopped before they have begun: while they import what they need, which takes a second or more."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="what a process catches is read from /proc")]

MOMENTS = (0.0, 0.1, 0.3, 0.5, 1.0)  # seconds after Python itself has started


def has_begun(process):
    """Whether our code is running: Python itself catches SIGINT alone."""
    caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(("program", "moment"), [*(("bench", moment) for moment in MOMENTS), *(("gptcore", moment) for moment in MOMENTS[:3])])
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_a_program_that_has_just_started_stops_without_a_traceback(child, ended, tmp_path, program, moment, number, code, word):
    process = child(*(("bench", "run", "--out", tmp_path / "run") if program == "bench" else ("gptcore", "--help")))
    while not has_begun(process):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.005)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=moment)
    process.send_signal(number)
    done = ended(process)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == code, done.stdout + done.stderr
    assert word in done.stderr
