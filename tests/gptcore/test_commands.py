import io
import json
from dataclasses import replace

import pytest
import torch

from gptcore.__main__ import main
from gptcore.saved import save_classifier
from gptcore.training import finetune_classifier

TEXTS = ["abcabc", "jkljkl", "naïve"]


@pytest.fixture
def classifier(miniature, inputs_of, dataset):
    experiment = miniature()
    return finetune_classifier(experiment, inputs_of(experiment, dataset=replace(dataset, classes=("ham", "spam"))), device=torch.device("cpu"))[1]


@pytest.fixture
def saved(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "saved")
    return str(tmp_path / "saved")


class Pipe(io.TextIOWrapper):
    """Standard input with this content; a terminal where there is none."""

    def __init__(self, content):
        super().__init__(io.BytesIO(content or b""))
        self.is_terminal = content is None

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def said(capsys, monkeypatch):
    """Runs `classify` on the CPU.  Returns the exit code and what it printed and complained of."""

    def run(*arguments, typed=b""):
        monkeypatch.setattr("sys.stdin", Pipe(typed))
        code = main(["classify", *arguments, "--device", "cpu", "--threads", "1"])
        return code, *capsys.readouterr()

    return run


def test_a_line_for_every_text_says_class_and_probability(saved, said, classifier):
    answers = list(classifier.classify(TEXTS))
    expected = "".join(f"{answer.name}\tP(spam)={answer.probability:.6f}\n" for answer in answers)
    assert said("--model", saved, *TEXTS) == (0, expected, "")
    assert said("--model", saved, typed="abcabc\r\njkljkl\nnaïve".encode()) == (0, expected, "")


def test_json_says_all_of_it(saved, said, classifier):
    code, printed, _ = said("--model", saved, "--json", *TEXTS)
    (answer, *_) = classifier.classify(TEXTS)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert code == 0
    assert [line["text"] for line in lines] == TEXTS
    assert lines[0] == {"text": "abcabc", "label": answer.label, "name": answer.name, "probability": answer.probability, "logits": [*answer.logits]}


def test_an_empty_pipe_has_no_answer(saved, said):
    assert said("--model", saved) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        ([""], b"", "text 1 is empty: leave it out"),
        ([], b"a\n\nb\n", "text 2 is empty: leave it out"),
        ([], b"a\n\xff\n", "standard input, line 2: byte 0xff is not UTF-8"),
        ([], None, "no text was given: write one or more behind the command, or pipe them in"),
        (["a", "--device", "abacus"], b"", "--device abacus is unknown"),
    ],
    ids=str,
)
def test_what_the_person_can_mend_is_one_sentence(arguments, typed, message, saved, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", Pipe(typed))
    assert main(["classify", "--model", saved, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_a_classifier_is_one_sentence(said, tmp_path):
    code, _, error = said("--model", str(tmp_path / "absent"), "a")
    assert (code, error.count("\n")) == (2, 1)
    assert "absent holds no classifier.json: name a folder that `python -m gptcore --save` wrote" in error


def test_an_export_to_no_place_for_a_folder_is_a_sentence(saved, tmp_path, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out in ("/", str(tmp_path / "loop")):
        assert main(["export", "--model", saved, out]) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith(f"error: {out} ")
        assert complaint.count("\n") == 1


def test_export_makes_a_folder_once(saved, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["export", "--model", saved, out]) == 0
    assert "its README.md says how to use it" in capsys.readouterr().out
    assert main(["export", "--model", saved, out]) == 2
    assert main(["export", "--model", saved, "--parts", "--overwrite", out]) == 0
    assert (tmp_path / "out" / "head.safetensors").exists()
