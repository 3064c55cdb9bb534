import pytest
import torch

import gptcore.features
from gptcore.execution import Execution
from gptcore.training import finetune

CPU = torch.device("cpu")


def run(experiment, inputs, **execution):
    return finetune(experiment, inputs, device=CPU, execution=Execution(**execution))


def test_every_row_agrees_with_plain(row, miniature, inputs_of):
    experiment = miniature(**row[1])
    fast, plain = (run(experiment, inputs_of(experiment), plain=plain) for plain in (False, True))
    for ours, theirs in zip(fast.history, plain.history, strict=True):
        assert (ours.epoch, ours.step) == (theirs.epoch, theirs.step)
        assert (ours.train_loss, ours.validation_loss) == pytest.approx((theirs.train_loss, theirs.validation_loss), abs=1e-5)
    assert (fast.epoch_accuracies, fast.counts) == (plain.epoch_accuracies, plain.counts)


@pytest.mark.parametrize("settings", [{}, {"trainable_layers": "last_two_blocks", "trainable_token_pos": "flexible"}], ids=str)
def test_memory_disk_and_nothing_kept_agree(settings, miniature, inputs_of, monkeypatch):
    experiment = miniature(**settings)
    memory = run(experiment, inputs_of(experiment))
    disk = run(experiment, inputs_of(experiment), memory_budget=0)
    monkeypatch.setattr(gptcore.features, "DISK_RESERVE", 2**70)
    nothing = run(experiment, inputs_of(experiment), memory_budget=0)
    assert memory.history == disk.history
    for ours, theirs in zip(memory.history, nothing.history, strict=True):
        assert (ours.train_loss, ours.validation_loss) == pytest.approx((theirs.train_loss, theirs.validation_loss), abs=1e-5)
    assert memory.counts == disk.counts == nothing.counts
