import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gptcore.inputs
from gptcore.__main__ import experiment_from, main, make_parser
from gptcore.dataset import SPLITS, Split
from gptcore.experiment import Experiment
from gptcore.model import GPT2_SIZES

MEDIUM = "gpt2-medium (355M)"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def small_world(monkeypatch, tmp_path, dataset, byte_tokenizer, miniature, weights_of):
    """gpt2-medium as a miniature that reads bytes, its weights and a data set in folders.  Returns the arguments that name them."""
    tiny = miniature(model_size=GPT2_SIZES[MEDIUM]).model_size
    monkeypatch.setitem(GPT2_SIZES, MEDIUM, tiny)
    monkeypatch.setattr(gptcore.inputs, "gpt2_tokenizer", lambda folder: byte_tokenizer)
    for name in SPLITS:
        (tmp_path / f"{name}.csv").write_text(dataset.splits[name].to_csv())
    folder = weights_of(tiny).parent
    return [
        "--model_size",
        MEDIUM,
        "--data_dir",
        str(tmp_path),
        "--weights_dir",
        str(folder),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--num_epochs",
        "2",
        "--eval_freq",
        "3",
    ]


def test_the_flags_of_every_row_work_as_typed(row):
    flags, changes = row
    assert experiment_from(make_parser().parse_args(shlex.split(flags))) == Experiment(**changes)


def test_the_other_flags_reach_the_experiment():
    flags = "--eval_freq 10 --eval_iter 2 --learning_rate 1e-4 --weight_decay 0 --seed 7 --num_epochs 3 --trainable_layers lora_alternative"
    expected = Experiment(eval_freq=10, eval_iter=2, learning_rate=1e-4, weight_decay=0, seed=7, num_epochs=3, trainable_layers="lora_alternative")
    assert experiment_from(make_parser().parse_args(flags.split())) == expected


def test_a_run_prints_and_writes_its_figures(small_world, tmp_path, capsys):
    assert main([*small_world, "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())

    assert [set(entry) for entry in figures["history"]] == [{"epoch", "step", "train_loss", "validation_loss", "gradient_norm"}] * 4
    assert [(entry["epoch"], entry["step"]) for entry in figures["history"]] == [(1, 0), (1, 3), (2, 6), (2, 9)]
    assert [entry["epoch"] for entry in figures["epoch_accuracies"]] == [1, 2]
    assert {name: count["n"] for name, count in figures["counts"].items()} == {"train": 40, "validation": 13, "test": 11}
    for name, count in figures["counts"].items():
        assert figures[f"{name}_accuracy"] == count["right"] / count["n"]
        assert f"{name} accuracy: {figures[f'{name}_accuracy']:.2%}" in printed
    assert figures["train_seconds"] > 0
    assert (figures["settings"]["model_size"], figures["settings"]["num_epochs"], figures["settings"]["device"]) == (MEDIUM, 2, "cpu")

    losses = [(f"{entry['train_loss']:.6f}", f"{entry['validation_loss']:.6f}") for entry in figures["history"]]
    assert re.findall(r"train loss (\d\.\d{6}), validation loss (\d\.\d{6})\n", printed) == losses
    assert re.search(r"took \d+\.\d\d minutes", printed)


def test_accuracy_on_texts_that_do_not_stand_in_train_is_told_where_some_do(small_world, dataset, tmp_path, capsys):
    assert main([*small_world, "--json", str(tmp_path / "before.json")]) == 0
    assert "stand in train" not in capsys.readouterr().out
    leaky = replace(dataset, test=Split(dataset.train.texts[:2] + dataset.test.texts[2:], dataset.test.labels))
    (tmp_path / "test.csv").write_text(leaky.test.to_csv())
    assert main([*small_world, "--json", str(tmp_path / "after.json")]) == 0
    unseen = json.loads((tmp_path / "after.json").read_text())["unseen"]
    assert (unseen["test"]["n"], unseen["validation"]["n"]) == (9, 13)
    assert f"; on texts that do not stand in train {unseen['test']['right'] / 9:.2%} ({unseen['test']['right']} of 9)" in capsys.readouterr().out


def test_several_seeds_are_printed_and_written(small_world, tmp_path, capsys):
    assert main([*small_world, "--seed", "5", "--seeds", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["seeds"]) == {"5", "6"}
    assert figures["seeds"]["5"]["history"] == figures["history"] != figures["seeds"]["6"]["history"]
    printed = capsys.readouterr().out
    for seed in (5, 6):
        assert f"seed {seed}: test accuracy: {figures['seeds'][str(seed)]['test_accuracy']:.2%}" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "frozen states (blocks: 2): memory, "), (["--memory-budget", "0"], "frozen states (blocks: 2): disk, "), (["--plain"], None)],
    ids=str,
)
def test_the_place_of_frozen_states_is_said(arguments, said, small_world, capsys):
    assert main([*small_world, *arguments]) == 0
    printed = capsys.readouterr().out
    assert ", threads: 1\n" in printed
    assert said in printed if said else "frozen blocks" not in printed


def test_a_trained_classifier_is_saved_and_classifies(small_world, tmp_path, capsys):
    figures, folder = tmp_path / "figures.json", tmp_path / "saved"
    assert main([*small_world, "--json", str(tmp_path / "without.json")]) == 0
    assert main([*small_world, "--json", str(figures), "--save", str(folder)]) == 0
    assert f"saved in {folder}\n" in capsys.readouterr().out
    with_it, without = (json.loads(path.read_text()) for path in (figures, tmp_path / "without.json"))
    assert with_it["attestation"] == without["attestation"]
    assert main(["classify", "--model", str(folder), "--json", "abcabc"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] in ("0", "1")
    assert main([*small_world, "--save", str(folder)]) == 2
    assert main([*small_world, "--save", str(folder), "--overwrite"]) == 0


def test_the_limit_shortens_training(small_world, tmp_path):
    assert main([*small_world, "--limit_train", "17", "--json", str(tmp_path / "figures.json")]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["counts"]["train"]["n"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_padding"], "--batch_size 8 cannot go with --no_padding"),
        (["--seed", "-1"], "--seed -1 is not possible"),
        (["--device", "abacus"], "--device abacus is unknown"),
        (["--limit_train", "0"], "--limit_train 0 leaves nothing"),
        (["--limit_train", "3"], "--batch_size 8 is more than the 3 training texts"),
        (["--data_dir", "nowhere"], "train.csv cannot be read"),
        (["--weights_dir", "nowhere"], "nowhere holds no weights"),
        (["--json", "missing/figures.json"], "--json missing/figures.json cannot be written"),
        (["--json", "."], "--json . cannot be written"),
        (["--save", "figures.json/model"], "figures.json/model cannot be made"),
        (["--save", "model", "--seeds", "2"], "--save keeps one model and --seeds 2 trains several"),
        (["--seeds", "0"], "--seeds 0 from seed 123 on is not possible"),
        (["--threads", "0"], "--threads 0 is not possible"),
        (["--precision", "tf32"], "--precision tf32 needs a CUDA device"),
        (["--plain", "--compile"], "leave one of the two out"),
        (["--learning_rate", "1e30"], "the loss is nan at epoch 1, step 0"),
    ],
    ids=shlex.join,
)
def test_what_the_person_can_mend_is_one_sentence_and_exit_code_2(arguments, message, small_world, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures.json").touch()
    assert main([*small_world, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--weights", "own"], ["--batch_size", "many"], ["--batch", "8"], ["--model_size", "gpt2-tiny"]], ids=shlex.join)
def test_flags_that_do_not_exist_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_interrupted_run_writes_nothing(small_world, tmp_path, monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("gptcore.__main__.finetune_seeds", interrupt)
    assert main([*small_world, "--json", str(tmp_path / "figures.json")]) == 130
    assert not (tmp_path / "figures.json").exists()


def test_the_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "gptcore", "--data_dir", str(tmp_path / "nowhere")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert run.returncode == 2
    assert re.fullmatch(r"error: .*train\.csv cannot be read .*\n", run.stderr)


@pytest.mark.slow
def test_the_golden_trace_is_retraced(real_data, tmp_path):
    """SPEC §5, on the real data: losses to three decimals, accuracies exactly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert main(["--weights", "random", "--num_epochs", "1", "--device", "cpu", "--json", str(tmp_path / "figures.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [(entry["step"], round(entry["train_loss"], 3), round(entry["validation_loss"], 3)) for entry in figures["history"]] == [
        (0, 0.862, 0.949),
        (50, 0.352, 0.262),
        (100, 0.419, 0.516),
    ]
    (epoch,) = figures["epoch_accuracies"]
    assert (epoch["train_accuracy"], epoch["validation_accuracy"]) == (0.825, 0.9)
    assert figures["counts"]["train"]["n"] == 1040
