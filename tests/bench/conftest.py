"""A toy tier - three-block GPTs and fourteen made-up messages - and results folders made with it."""

from dataclasses import replace
from types import SimpleNamespace

import hypothesis
import pytest
import torch

import bench.run
from bench.environment import describe_environment
from bench.expectations import DEFAULT_PATH, load_expectations, save_expectations, with_baselines
from bench.results import Results, RowResult, RunInfo, create_folder, read_results, write_row
from bench.rows import select_rows
from bench.run import Request, finish, run_rows, start_run
from bench.tiers import Tier
from gptcore.answers import Answers, pack
from gptcore.dataset import SPLITS, Dataset, Split
from gptcore.errors import AssetError
from gptcore.inputs import Inputs
from gptcore.model import GPTConfig
from gptcore.result import EpochAccuracy, Evaluation, Fingerprint, Result
from gptcore.tokenizer import make_tokenizer

# Properties are tried on the same examples everywhere, however slow the machine.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

TOY = GPTConfig("toy", width=8, n_layer=3, n_head=2, vocabulary_size=257, context_length=24)


def toy_experiment(experiment):
    return replace(experiment, model_size=TOY, weights="random", num_epochs=1, eval_freq=2, eval_iter=2, batch_size=min(experiment.batch_size, 4))


def toy_inputs(experiment, sources):
    if sources.data:
        raise AssetError(f"{sources.data} holds no toys: name another folder")
    texts = tuple(f"{'win cash' if index % 2 else 'see you'} {index}" for index in range(14))
    split = Split(texts, tuple(index % 2 for index in range(14)))
    return Inputs(Dataset(split, split.head(6), split.head(10)), make_tokenizer("bytes", {bytes([byte]): byte for byte in range(256)}), None)


TOY_TIER = Tier("smoke", "toys", toy_experiment, toy_inputs, takes_sources=True, default_device="cpu", threads=1)


@pytest.fixture(autouse=True)
def quick_calibration(monkeypatch):
    """Toys need no measured pace."""
    monkeypatch.setattr(bench.run, "calibrate", lambda: 1.0)


@pytest.fixture(autouse=True)
def no_states_of_this_machine(monkeypatch, tmp_path):
    """No test reads, fills or clears the cache of the person who runs it."""
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path / "states"))


@pytest.fixture
def toy_tier():
    return TOY_TIER


@pytest.fixture
def toy_request():
    return lambda rows="1", **settings: Request(TOY_TIER, select_rows(rows), torch.device("cpu"), **settings)


@pytest.fixture
def expectations():
    """The committed expectations without any baseline."""
    return replace(load_expectations(DEFAULT_PATH), baselines={})


@pytest.fixture
def expected_file(tmp_path, expectations):
    path = tmp_path / "expected.json"
    save_expectations(path, expectations)
    return path


@pytest.fixture
def toy_run(tmp_path, toy_request, expectations):
    """A finished run of rows 1 and 2: its folder, its results, and expectations recorded from it."""
    folder = start_run(toy_request("1-2"), tmp_path / "toy-run")
    list(run_rows(toy_request("1-2"), folder))
    finish(folder, expectations)
    results = read_results(folder)
    return SimpleNamespace(folder=folder, results=results, expectations=with_baselines(expectations, results))


def make_answers(right, n, wrong_at=None):
    """The first `right` of `n` texts are right; or all but those at the given places."""
    flags = [index < right for index in range(n)] if wrong_at is None else [index not in wrong_at for index in range(n)]
    return Answers(n, pack(flags), pack([True] * n))


def make_figures(train_loss=0.5, validation_loss=0.6, right=(1005, 148, 285), n=(1040, 149, 300), seconds=16.0, wrong_test=None, **fields):
    """Figures of one seed; `wrong_test`: numbers of the wrong test texts, instead of the last ones."""
    answers = {split: make_answers(*pair) for split, pair in zip(SPLITS, zip(right, n, strict=True), strict=True)}
    if wrong_test is not None:
        answers["test"] = make_answers(0, n[2], wrong_test)
    usual = {
        "history": (Evaluation(1, 0, 0.9, 0.9, 2.0), Evaluation(1, 50, train_loss, validation_loss, 1.0)),
        "epoch_accuracies": (EpochAccuracy(1, 0.9, 0.9),),
        "counts": {split: of_split.count() for split, of_split in answers.items()},
        "answers": answers,
        "margins": {split: tuple(1.0 if flag else -1.0 for flag in of_split.is_right()) for split, of_split in answers.items()},
        "unseen": {split: answers[split].count() for split in SPLITS if split != "train"},
        "fingerprint": Fingerprint(1538, (0.25, -0.5), 12.5),
        "train_seconds": seconds,
        "real_seconds": seconds,
    }
    return Result(**usual | fields)


@pytest.fixture
def figures():
    return make_figures


@pytest.fixture
def row_result(figures):
    """Makes a RowResult; keyword arguments replace its fields."""

    def make(**fields):
        usual = {"row": 1, "name": "reference", "seed": 123, "settings": {}, "digests": {"settings": "s", "data": "d"}, "figures": figures(), "error": None}
        return RowResult(**usual | fields)

    return make


@pytest.fixture
def run_info():
    """Makes a RunInfo; keyword arguments replace its fields, or its environment's."""

    def make(**fields):
        machine = {"device_name": "Fast CPU", "threads": 2} | {name: fields.pop(name) for name in ("device_name", "threads") if name in fields}
        environment = replace(describe_environment(torch.device("cpu")), **machine)
        usual = {
            "tier": "smoke",
            "precision": "fp32",
            "plain": False,
            "timing_only": False,
            "rows": (1,),
            "chosen": (),
            "command": "python -m bench run --tier smoke",
            "environment": environment,
            "calibration_seconds": 1.0,
        }
        return RunInfo(**usual | fields)

    return make


@pytest.fixture
def results_folder(tmp_path):
    """Writes results to a new folder."""

    def write(results: Results):
        folder = tmp_path / "written"
        create_folder(folder, results.info)
        for result in results.rows.values():
            write_row(folder, result)
        return folder

    return write
