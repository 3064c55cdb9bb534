"""Memory that really runs out, and a suite that runs twice in one process."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.request import Request
from bench.results import read_results
from bench.rows import select_rows
from bench.run import run_rows_here, start_run
from bench.tiers import TIERS
from bench.verdicts.memory import GRAIN
from gptcore.memory import release_memory, resident_memory

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")]
CPU = torch.device("cpu")
MIB = 2**20
LEAK = 16 * MIB  # resident memory that a second run may add; five to six were measured, and one to two for a third and a fourth

# Limits what the process may take beyond what it has after its imports, then trains as the command line does, on a small model under a published name.
CHILD = """
import resource, sys
import gptcore.inputs, gptcore.__main__
from gptcore.memory import own_status
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.tokenizer import make_tokenizer

limit, status, beyond, width, blocks, *arguments = sys.argv[1:]
name = "gpt2-medium (355M)"
GPT2_SIZES[name] = GPTConfig(name, width=int(width), n_layer=int(blocks), n_head=4, vocabulary_size=257, context_length=1024)
tokenizer = make_tokenizer("bytes", {bytes([byte]): byte for byte in range(256)})
gptcore.inputs.gpt2_tokenizer = lambda folder: tokenizer
most = own_status(status) + int(beyond)
resource.setrlimit(getattr(resource, limit), (most, most))
sys.exit(gptcore.__main__.main(["--model_size", name, "--weights", "random", "--device", "cpu", "--threads", "1", "--num_epochs", "1", *arguments]))
"""


@pytest.fixture
def train_in(tmp_path):
    """Trains in a process with a limit of bytes beyond what it starts with; returns what it said, and the folder it could write to."""
    for name, n_texts in (("train", 64), ("validation", 4), ("test", 4)):
        lines = [f'{number % 2},"{"win cash" if number % 2 else "see you"} {number}"' for number in range(n_texts)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["Label,Text", *lines]) + "\n")
    out = tmp_path / "out"
    out.mkdir()

    def run(limit, status, beyond, width, blocks, *arguments):
        command = [sys.executable, "-c", CHILD, limit, status, str(beyond), str(width), str(blocks), "--data_dir", str(tmp_path), *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GPTCORE_STATE_CACHE": str(tmp_path / "states"), "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out, check=False)

    return run


def test_without_the_memory_it_needs_a_training_ends_with_one_sentence(train_in, tmp_path):
    """All layers of 38 million weights take 600 MB at least."""
    done = train_in("RLIMIT_AS", "VmSize", 300 * MIB, 512, 12, "--trainable_layers", "all", "--json", str(tmp_path / "out" / "figures.json"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: memory ran out: gpt2-medium (355M) with all training needs at least ")
    assert done.stderr.count("\n") == 1
    assert "--batch_size" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_frozen_states_on_disk_rescue_a_training(train_in, tmp_path):
    """64 texts of 1024 tokens leave 134 MB of states; with them the training takes about 340 MiB beyond its imports, without them 220."""
    arguments = ("RLIMIT_DATA", "VmData")
    settings = (512, 3, "--context_length", "model_context_length", "--batch_size", "8", "--memory-budget", "0.5")
    figures = {}
    for name, beyond in (("free", 2**40), ("scarce", 280 * MIB)):
        done = train_in(*arguments, beyond, *settings, "--json", f"{name}.json")
        figures[name] = done
    assert figures["free"].returncode == figures["scarce"].returncode == 0
    assert "of frozen states in it: trying again with at most" in figures["scarce"].stderr
    assert "memory, 134 MB" in figures["free"].stdout
    assert "disk, 134 MB" in figures["scarce"].stdout
    losses = [[line for line in done.stdout.splitlines() if "loss" in line or "accuracy" in line] for done in figures.values()]
    assert losses[0] == losses[1][-len(losses[0]) :]


# Who runs the rows


def peaks_of(folder):
    return {number: result.peak_memory for number, result in read_results(folder).rows.items()}


def test_rows_hold_the_same_under_pytest_as_under_the_command(run, tmp_path):
    """Otherwise what `record` measured would say nothing of `nox -s smoke`, which loads pytest, and reports between rows."""
    own, under_pytest = tmp_path / "own", tmp_path / "under pytest"
    assert run("bench", "run", "--rows", "1-4", "--out", own).returncode == 0
    assert run("pytest", "tests/rows", "--rows", "1-4", "--out", under_pytest).returncode == 0
    differences = [abs(peak - peaks_of(own)[number]) for number, peak in peaks_of(under_pytest).items()]
    assert len(differences) == 4
    assert max(differences) < GRAIN


# Leaks


def left_behind(folder):
    """How many tensors of how many bytes, and how many bytes of resident memory, all nineteen smoke rows leave behind."""
    request = Request(TIERS["smoke"], select_rows("1-19"), CPU)
    for result in run_rows_here(request, start_run(request, folder)):
        assert result.error is None
    del result
    release_memory(CPU)
    living = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    return len(living), sum(tensor.nbytes for tensor in living), resident_memory()


def test_a_second_run_of_the_suite_leaves_nothing_behind(tmp_path):
    first, second = (left_behind(tmp_path / name) for name in ("first", "second"))
    assert second[:2] <= first[:2]
    assert second[2] - first[2] <= LEAK, f"resident memory grew by {(second[2] - first[2]) / 1e6:.1f} MB"
