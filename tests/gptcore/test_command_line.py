import argparse
import errno
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptcore.command_line import LONGEST_TEXT, guarded, one_line, path_argument
from gptcore.errors import UsageError

REPOSITORY = Path(__file__).parents[2]


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UsageError("give one: not two"), "error: give one: not two"),
        (OSError(errno.ENOSPC, "No space left on device", "out/row.json"), "error: out/row.json cannot be used (No space left on device): make room there"),
        (PermissionError(errno.EACCES, "Permission denied", b"mine"), "error: b'mine' cannot be used (Permission denied): check the path"),
        (OSError(errno.EIO, "Input/output error"), "error: the system refused to go on (Input/output error): mend that"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "error: a name or a text holds characters that cannot be used here"),
        (RecursionError("maximum recursion depth exceeded"), "error: something given is nested too deep to be read"),
        (MemoryError(), "error: memory ran out: end other programs"),
        (torch.OutOfMemoryError("CUDA out of memory"), "error: memory ran out: end other programs"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "error: memory ran out: end other programs"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(capsys, error, told):
    assert guarded(raising(error)) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(told)
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), AssertionError()])
def test_programming_errors_keep_their_traceback(error):
    with pytest.raises(type(error)):
        guarded(raising(error))


@pytest.mark.parametrize("code", [0, 1, 130])
def test_exit_codes_pass_through(code):
    assert guarded(lambda: code) == code


def test_streams_of_a_narrow_encoding_print_everything(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])

    def command():
        print("größer \udcff 数")
        raise UsageError("no file at ä\udcff")

    assert guarded(command) == 2
    for stream in streams:
        stream.flush()
    assert [stream.buffer.getvalue() for stream in streams] == [b"gr\\xf6\\xdfer \\udcff \\u6570\n", b"error: no file at \\xe4\\udcff\n"]


def test_a_warning_is_one_line_for_a_person_and_only_while_a_command_runs():
    script = """
import sys, warnings
from gptcore.command_line import guarded
guarded(lambda: warnings.warn("no room:\\nnone") or 0)
print("then", file=sys.stderr)
warnings.warn("usual")
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == "warning: no room:\\nnone\nthen\n<string>:6: UserWarning: usual\n"


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(("words", "code"), [(["list"], 0), (["check", "no such folder"], 2), (["list", "--fly"], 2)], ids=lambda words: str(words))
def test_streams_that_are_closed_change_no_exit_code(closed, words, code, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    streams = [(tmp_path / name).open("w+") for name in ("out", "err")]
    command = shlex.join([sys.executable, "-m", "bench", *words]) + "".join(f" {number}>&-" for number in closed)
    done = subprocess.run(["sh", "-c", command], stdout=streams[0], stderr=streams[1], env=environment, cwd=tmp_path, check=False)
    for stream in streams:
        stream.close()
    assert done.returncode == code
    assert "Traceback" not in (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert 1 in closed or words != ["list"] or "LoRA" in (tmp_path / "out").read_text()


def test_control_characters_and_absurd_length_do_not_reach_the_terminal():
    assert one_line("a\nb\x1b[2J\x00 ä") == r"a\nb\x1b[2J\x00 ä"
    assert len(one_line("a" * 10**6)) == LONGEST_TEXT + 1


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_what_names_no_file_is_no_path(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no path"):
        path_argument(text)


def test_a_reader_that_goes_away_ends_the_command_quietly():
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "bench", "list"], stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
