"""The example as another project would have it: a copy in a folder of its own, with nothing but the installed packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_rows"

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """A copy of what git knows of the example."""
    copy = tmp_path / "tickets"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("results", "__pycache__", ".*"))
    return copy


@pytest.fixture
def run(project):
    """Runs Python in the copy.  Returns the finished process."""
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def start(*words):
        return subprocess.run([sys.executable, *words], cwd=project, env=os.environ | paths, capture_output=True, text=True, check=False, timeout=300)

    return start


def test_its_own_nox_sessions_hold(run):
    done = run("-m", "nox")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 judged rows hold" in done.stdout


def test_its_runs_have_a_report_and_a_history(run, project):
    assert run("rows.py", "run", "--rows", "2").returncode == 0
    done = run("rows.py", "report")
    assert done.returncode == 0, done.stderr
    page = (project / done.stdout.strip()).read_text(encoding="utf-8")
    assert "The row holds" in page
    assert "<code>python rows.py run --tier tiny --device cpu --rows 2</code>" in page
    assert "python -m bench" not in page
    done = run("rows.py", "history", "results", "--out", "history.html")
    assert done.returncode == 0, done.stderr
    assert "tiny tier" in done.stdout
    assert (project / "history.html").is_file()


def test_a_change_that_moves_a_row_fails_naming_it(run, project):
    table = project / "rows.py"
    text = table.read_text(encoding="utf-8")
    assert "byte_tokenizer()" in text
    table.write_text(text.replace("byte_tokenizer()", 'replace(byte_tokenizer(), digest="0" * 64)'), encoding="utf-8")
    done = run("rows.py", "run", "--rows", "2")
    assert done.returncode == 1, done.stderr
    assert "row 2 (last block only): not comparable" in done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("rows.py", "Row(3,", "Row(2,", "the numbers of a suite's rows are 1, 2, 2"),
        ("rows.py", "num_epochs=12", "num_epochs=0", "--num_epochs 0 is not possible"),
        ("rows.py", '"last_block"', '"first_block"', "--trainable_layers first_block is unknown"),
        ("rows.py", "num_epochs=12", 'num_epochs="12"', "--num_epochs '12' is of type str: give one of type int"),
        ("data/train.csv", "Label,", "Class,", "train.csv"),
        ("data/train.csv", "0,", "2,", "train.csv, line 2"),
        ("expected_results.json", "{", "[", "expected_results.json"),
    ],
)
def test_a_mistake_is_one_sentence(file, old, new, said, run, project):
    path = project / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    done = run("rows.py", "run", "--rows", "2")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
