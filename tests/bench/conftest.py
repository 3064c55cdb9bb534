"""A toy tier - three-block GPTs and fourteen made-up messages - and results folders made with it."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import hypothesis
import pytest
import torch

import bench.run
from bench.environment import describe_environment
from bench.expectations import DEFAULT_PATH, Timing, load_expectations, save_expectations
from bench.finishing import finish
from bench.recording.baselines import Recording, repeat_of, with_baselines, with_recording
from bench.request import Request
from bench.results import Results, RowResult, RunInfo, create_folder, read_results, write_invariants, write_row, write_texts
from bench.rows import find_row, select_rows
from bench.run import run_rows_here, start_run
from bench.tiers import Tier
from bench.verdicts.judge import judge_row
from bench.verdicts.verdict import Strictness
from gptcore.answers import Answers, pack
from gptcore.dataset import SPLITS, Dataset, Split
from gptcore.errors import AssetError
from gptcore.experiment import Experiment, digest_of, settings_of
from gptcore.inputs import Inputs
from gptcore.model import GPTConfig
from gptcore.packing import pack_floats
from gptcore.result import Attestation, EpochAccuracy, Evaluation, Fingerprint, Result
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


TOY_TIER = Tier("smoke", "toys", toy_experiment, toy_inputs, takes_sources=True, default_device="cpu", threads=1, recorded_seeds=3, records_repeats=False)


@pytest.fixture(autouse=True)
def quick_calibration(monkeypatch):
    """Toys need no measured pace."""
    monkeypatch.setattr(bench.run, "calibrate", lambda: 1.0)


@pytest.fixture(autouse=True)
def no_states_of_this_machine(monkeypatch, tmp_path):
    """No test reads, fills or clears the cache of the person who runs it."""
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path / "states"))


@pytest.fixture(scope="session")
def toy_tier():
    return TOY_TIER


@pytest.fixture
def toy_request():
    return lambda rows="1", **settings: Request(TOY_TIER, select_rows(rows), torch.device("cpu"), **settings)


@pytest.fixture
def expected_file(tmp_path, expectations):
    path = tmp_path / "expected.json"
    save_expectations(path, expectations)
    return path


@pytest.fixture(scope="session")
def toy_run_once(tmp_path_factory, expectations):
    """A finished run of rows 1 and 2, to be copied."""
    folder = tmp_path_factory.mktemp("toy") / "toy-run"
    request = Request(TOY_TIER, select_rows("1-2"), torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.run, "calibrate", lambda: 1.0)
        start_run(request, folder)
    list(run_rows_here(request, folder))
    write_invariants(folder, ())
    finish(folder, expectations)
    return folder


@pytest.fixture
def toy_run(tmp_path, toy_run_once, expectations):
    """A finished run of rows 1 and 2: its folder, its results, and expectations recorded from it."""
    folder = shutil.copytree(toy_run_once, tmp_path / "toy-run")
    results = read_results(folder)
    return SimpleNamespace(folder=folder, results=results, expectations=with_baselines(expectations, results))


@pytest.fixture
def recorded_file(tmp_path, toy_run):
    """Expectations that the toy run meets."""
    path = tmp_path / "recorded.json"
    save_expectations(path, toy_run.expectations)
    return path


@pytest.fixture
def drifted_file(tmp_path, toy_run):
    """Expectations from another torch, whose row 1 had one test text more right, or one less."""
    rows = toy_run.expectations.baselines["smoke"]["cpu"]
    test = rows[1].own.counts["test"]
    other = replace(test, right=test.right + 1 if test.right < test.n else test.right - 1)
    own = replace(rows[1].own, counts=rows[1].own.counts | {"test": other})
    row_1 = replace(rows[1], provenance=replace(rows[1].provenance, torch="1.0"), seeds={123: own})
    path = tmp_path / "drifted.json"
    save_expectations(path, replace(toy_run.expectations, baselines={"smoke": {"cpu": rows | {1: row_1}}}))
    return path


@pytest.fixture
def trained(monkeypatch):
    """The seeds that really trained, call by call."""
    calls = []
    finetune_seeds = bench.run.finetune_seeds

    def counting(experiment, inputs, seeds, **keywords):
        calls.append(tuple(seeds))
        return finetune_seeds(experiment, inputs, seeds, **keywords)

    monkeypatch.setattr(bench.run, "finetune_seeds", counting)
    return calls


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
        "attestation": Attestation("a" * 64, "b" * 64, pack_floats((0.9, 0.75, train_loss))),
        "train_seconds": seconds,
        "real_seconds": seconds,
    }
    return Result(**usual | fields)


@pytest.fixture(scope="session")
def figures():
    return make_figures


def nudge(figures, by):
    """The figures with losses, norms, first logits and margins moved by this much; the answers stay."""
    fingerprint = figures.fingerprint
    history = (
        replace(one, train_loss=one.train_loss + by, validation_loss=one.validation_loss + by, gradient_norm=one.gradient_norm + by) for one in figures.history
    )
    first_logits = tuple(logit + by for logit in fingerprint.first_logits)
    return replace(
        figures,
        history=tuple(history),
        fingerprint=replace(fingerprint, first_logits=first_logits, weight_norm=fingerprint.weight_norm + by),
        margins={split: tuple(margin + by for margin in margins) for split, margins in figures.margins.items()},
    )


@pytest.fixture(scope="session")
def nudged():
    return nudge


def make_row_result(**fields):
    seed = fields.get("seed", 123)
    settings = fields.get("settings", settings_of(Experiment(seed=seed)))
    usual = {
        "row": 1,
        "name": "reference",
        "seed": seed,
        "settings": settings,
        "digests": {"settings": digest_of(settings), "data": "d" * 64},
        "figures": make_figures(),
        "error": None,
    }
    return RowResult(**usual | fields)


@pytest.fixture(scope="session")
def row_result():
    """Makes a RowResult; keyword arguments replace its fields."""
    return make_row_result


@pytest.fixture(scope="session")
def run_info():
    """Makes a RunInfo; keyword arguments replace its fields, or its environment's."""
    here = describe_environment(torch.device("cpu"))

    def make(**fields):
        machine = {"device_name": "Fast CPU", "threads": 2, "packages": here.packages}
        machine |= {name: fields.pop(name) for name in machine if name in fields}
        usual = {
            "schema_version": 2,
            "tier": "smoke",
            "precision": "fp32",
            "plain": False,
            "timing_only": False,
            "rows": (1,),
            "chosen": (),
            "command": "python -m bench run --tier smoke",
            "environment": replace(here, **machine),
            "calibration_seconds": 1.0,
        }
        return RunInfo(**usual | fields)

    return make


TEST_COUNTS = (285, 287, 283, 286, 284, 288, 282, 285, 289, 281)
LOSS_FACTORS = (1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7, 1.0, 1.4, 0.75)


def make_seeds(n, shift=0, factor=1.0):
    """Figures of `n` seeds, the first as `figures()` makes them: test counts from 281 to 289, `shift` more, and losses spread by a third, times `factor`."""
    drawn = zip(TEST_COUNTS, LOSS_FACTORS, strict=True)
    return [
        make_figures(train_loss=0.5 * spread * factor, validation_loss=0.6 * spread * factor, right=(1005 + count - 285, 148, count + shift))
        for count, spread in list(drawn)[:n]
    ]


@pytest.fixture(scope="session")
def seeds():
    return make_seeds


@pytest.fixture(scope="session")
def of_seeds():
    """Makes a RowResult of the figures of one or more seeds, 123 the first."""

    def make(figures, **fields):
        return make_row_result(figures=figures[0], others=dict(enumerate(figures[1:], start=124)), **fields)

    return make


@pytest.fixture(scope="session")
def expectations():
    """The committed expectations without any baseline."""
    return replace(load_expectations(DEFAULT_PATH), baselines={})


@pytest.fixture(scope="session")
def recorded(expectations, run_info):
    """Makes expectations in which row 1 is recorded: with a repeat for every number, a draw of its own that moved figures by that much, and a timing for
    every number of seconds.
    """

    def make(result=None, moves=(), seconds=(16.0,), **info):
        result = result or make_row_result()
        moved = [replace(result, figures=nudge(result.figures, by)) for by in moves]
        repeats = tuple(repeat_of(f"draw {draw}", 1e-6, draw, result, one) for draw, one in enumerate(moved, start=1))
        timings = tuple(Timing(one, 1.0) for one in seconds)
        return with_recording(expectations, Recording(Results(run_info(**info), {1: result}), {1: timings}, {1: repeats}))

    return make


@pytest.fixture(scope="session")
def verdict_on(run_info):
    """Judges a result of row 1; keyword arguments are the run's."""

    def judge_it(result, expectations, strictness=Strictness.USUAL, **info):
        return judge_row(find_row(1), result, run_info(**info), expectations, strictness)

    return judge_it


@pytest.fixture
def results_folder(tmp_path):
    """Writes results to a new folder."""

    def write(results: Results):
        folder = tmp_path / "written"
        create_folder(folder, results.info)
        for result in results.rows.values():
            write_row(folder, result)
        if results.test_texts:
            write_texts(folder, results.test_texts)
        return folder

    return write
