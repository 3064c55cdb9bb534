"""Disks that are full and folders that may not be written to, for real: a small file system of our own, and a process without the powers of root."""

import ctypes
import os
import shutil
import subprocess
import sys

import pytest

from bench.expectations import DEFAULT_PATH
from bench.recording.baselines import repeatable_figures
from bench.results import read_results

pytestmark = pytest.mark.faults

MOUNTING = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
DAC_OVERRIDE, DAC_READ_SEARCH, DROP_FROM_BOUNDS = 1, 2, 24  # of capabilities(7) and prctl(2)


def can_mount(folder):
    """Whether this machine lets a process make a small file system that it alone sees."""
    done = subprocess.run([*MOUNTING, f"mount -t tmpfs -o size=64k none {folder}"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A folder to mount a small disk at."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("unshare") is None or not can_mount(folder):
        pytest.skip("no mount namespaces here: a small disk of our own cannot be made")
    return folder


def on_small_disk(disk, size, script):
    """Run a shell script in which `disk` is a file system of so many kilobytes and $PYTHON our interpreter."""
    variables = {**os.environ, "PYTHON": sys.executable, "DISK": str(disk), "OMP_NUM_THREADS": "1"}
    whole = f"mount -t tmpfs -o size={size}k none $DISK || exit 99\n{script}"
    return subprocess.run([*MOUNTING, whole], env=variables, capture_output=True, text=True, timeout=240, check=False)


def without_override():
    """Before the child starts: root's power to ignore permissions goes."""
    libc = ctypes.CDLL(None)
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
        libc.prctl(DROP_FROM_BOUNDS, capability, 0, 0, 0)


@pytest.fixture
def locked(tmp_path):
    """A folder that may be read and not written to."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_a_disk_that_fills_up_loses_no_finished_row_and_the_run_goes_on_when_there_is_room(disk, run, tmp_path):
    script = f"""
    $PYTHON -m bench run --rows 1-3 --out $DISK/run; echo "first: $?"
    ls -A $DISK/run; echo "rows: $(ls $DISK/run/row-*.json | wc -l)"
    mount -o remount,size=64m $DISK
    $PYTHON -m bench run --resume $DISK/run; echo "second: $?"
    cp -r $DISK/run {tmp_path}/copy
    """
    done = on_small_disk(disk, 64, script)
    assert "first: 2" in done.stdout, done.stdout + done.stderr
    assert "cannot be written (No space left on device): free some space and go on with `python -m bench run --resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".tmp" not in done.stdout
    assert "second: 0" in done.stdout, done.stdout + done.stderr
    assert sorted(read_results(tmp_path / "copy").rows) == [1, 2, 3]


def test_checkpoints_and_kept_states_that_find_no_room_cost_a_warning_and_no_figure(disk, run, tmp_path):
    script = f"""
    export GPTCORE_STATE_CACHE=$DISK/states
    $PYTHON -m bench run --rows 1-2 --keep-states 1 --out {tmp_path}/small; echo "rc: $?"
    ls -A $DISK/states
    """
    done = on_small_disk(disk, 64, script)
    assert "rc: 0" in done.stdout, done.stdout + done.stderr
    assert "computed states cannot be kept" in done.stderr
    assert ".tmp" not in done.stdout
    assert run("bench", "run", "--rows", "1-2", "--out", tmp_path / "usual").returncode == 0
    small, usual = (read_results(tmp_path / name).rows for name in ("small", "usual"))
    assert {number: repeatable_figures(row.figures) for number, row in small.items()} == {
        number: repeatable_figures(row.figures) for number, row in usual.items()
    }


def test_a_checkpoint_that_finds_no_room_costs_a_warning(disk):
    script = """
    $PYTHON -m bench run --rows 9 --checkpoint-every 0.2 --out $DISK/run; echo "rc: $?"
    ls -AR $DISK/run
    """
    done = on_small_disk(disk, 1800, script)  # room for the row and its report, not for a checkpoint of its weights and AdamW's moments
    assert "rc: 0" in done.stdout, done.stdout + done.stderr
    assert "seed-123.safetensors cannot be written" in done.stderr
    assert ".tmp" not in done.stdout
    assert "checkpoints" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bench", "run", "--rows", "1", "--out", "{locked}/run"), "cannot hold results (Permission denied): name another folder with --out"),
        (("bench", "speed", "--out", "{locked}/speed.md"), "cannot be written (not writable): name a file in a folder you may write to"),
        (("gptcore", "--weights", "random", "--json", "{locked}/result.json"), "cannot be written: give a file name in a folder you may write to"),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_told_before_any_work(locked, run, arguments, sentence):
    done = run(*(argument.format(locked=locked) for argument in arguments), preexec_fn=without_override)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert [*locked.iterdir()] == []


def test_a_run_in_a_folder_that_became_read_only_cannot_go_on_and_keeps_what_it_has(run, tmp_path):
    folder = tmp_path / "run"
    assert run("bench", "run", "--rows", "2", "--out", folder).returncode == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    done = run("bench", "run", "--resume", folder, preexec_fn=without_override)
    judged = run("bench", "check", folder, preexec_fn=without_override)
    folder.chmod(0o755)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_states_that_may_not_be_kept_cost_a_warning(locked, run, tmp_path):
    arguments = ("bench", "run", "--rows", "2", "--keep-states", "1", "--out", tmp_path / "run")
    done = run(*arguments, preexec_fn=without_override, variables={"GPTCORE_STATE_CACHE": str(locked / "states")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "computed states cannot be kept" in done.stderr
    assert "Permission denied" in done.stderr


def test_results_that_may_not_be_read_are_a_sentence(run, tmp_path):
    folder = tmp_path / "run"
    assert run("bench", "run", "--rows", "2", "--out", folder).returncode == 0
    (folder / "row-02.json").chmod(0o000)
    done = run("bench", "check", folder, preexec_fn=without_override)
    assert done.returncode == 2
    assert "row-02.json cannot be read (Permission denied)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_expectation_that_may_not_be_replaced_is_told_before_any_work(locked, run, tmp_path):
    locked.chmod(0o755)
    expected = shutil.copy(DEFAULT_PATH, locked)
    locked.chmod(0o555)
    done = run("bench", "record", "--rows", "1", "--expected", expected, "--out", tmp_path / "runs", preexec_fn=without_override)
    assert done.returncode == 2
    assert "may not be written to: change its permissions" in done.stderr
    assert not (tmp_path / "runs").exists()
