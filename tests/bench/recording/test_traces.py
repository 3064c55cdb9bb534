from dataclasses import replace

import pytest

from bench.recording.traces import grain_of, place_of, traces_of
from gptcore.experiment import Experiment, settings_of
from gptcore.result import EpochAccuracy, Evaluation, Fingerprint


@pytest.fixture(scope="session")
def known(figures):
    """Figures with another number in every place."""
    return figures(
        history=(Evaluation(1, 0, 0.1, 0.2, 0.3), Evaluation(2, 50, 0.4, 0.5, 0.6)),
        epoch_accuracies=(EpochAccuracy(1, 0.7, 0.75), EpochAccuracy(2, 0.8, 0.85)),
        fingerprint=Fingerprint(1538, (-1.0, 2.0, 3.0), 9.5),
    )


def test_every_number_that_training_makes_is_in_a_trace(known):
    assert traces_of(known) == {
        "trained_parameters": (1538.0,),
        "first_logits": (-1.0, 2.0, 3.0),
        "gradient_norm": (0.3, 0.6),
        "train_loss": (0.1, 0.4),
        "validation_loss": (0.2, 0.5),
        "train_accuracy_of_epochs": (0.7, 0.8),
        "validation_accuracy_of_epochs": (0.75, 0.85),
        "weight_norm": (9.5,),
    }


def test_traces_stand_in_the_order_in_which_a_change_reaches_them(known):
    assert [*traces_of(known)][:3] == ["trained_parameters", "first_logits", "gradient_norm"]
    assert [*traces_of(known)][-1] == "weight_norm"


def test_a_trace_does_not_depend_on_answers_or_time(known, figures):
    other = figures(right=(0, 0, 0), seconds=99.0)
    assert traces_of(replace(known, counts=other.counts, answers=other.answers, margins=other.margins, train_seconds=99.0)) == traces_of(known)


def test_shares_of_a_few_texts_come_in_steps_of_one_text(row_result):
    result = row_result(settings=settings_of(Experiment(batch_size=4, eval_iter=3)))
    assert grain_of("train_accuracy_of_epochs", result, result.figures) == grain_of("validation_accuracy_of_epochs", result, result.figures) == 1 / 12
    assert {grain_of(name, result, result.figures) for name in traces_of(result.figures) if not name.endswith("accuracy_of_epochs")} == {0.0}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_step_is_one_text_where_a_split_has_fewer_than_the_batches_ask_for(row_result, figures, split):
    """Three batches of 8 are asked for and a split has 13 texts: of the training split whole batches are read, of the other one all."""
    result = row_result(settings=settings_of(Experiment(batch_size=8, eval_iter=3)), figures=figures(right=(8, 13, 13), n=(8, 13, 13)))
    assert grain_of(f"{split}_accuracy_of_epochs", result, result.figures) == 1 / {"train": 8, "validation": 13}[split]


@pytest.mark.parametrize(
    ("trace", "index", "place"),
    [
        ("trained_parameters", 0, ""),
        ("first_logits", 2, " (number 3)"),
        ("gradient_norm", 1, " at step 50"),
        ("train_loss", 0, " at step 0"),
        ("validation_loss", 1, " at step 50"),
        ("train_accuracy_of_epochs", 1, " after epoch 2"),
        ("validation_accuracy_of_epochs", 0, " after epoch 1"),
        ("weight_norm", 0, ""),
    ],
)
def test_a_number_is_placed_by_step_epoch_or_position(known, trace, index, place):
    assert place_of(trace, index, known) == place
