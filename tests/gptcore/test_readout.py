import pytest
import torch

from gptcore.batches import Batch
from gptcore.experiment import Experiment
from gptcore.readout import read_out

BATCH = Batch(torch.zeros(2, 3, dtype=torch.int64), position=torch.tensor([1, 0]), labels=torch.tensor([0, 1]), rows=torch.arange(2))
LOGITS = torch.tensor([[[0.0, 1], [2, 3], [4, 5]], [[60, 61], [62, 63], [70, 74]]])


@pytest.mark.parametrize(("settings", "expected"), [({}, [[2, 3], [60, 61]]), ({"average_embeddings": True}, [[2, 3], [64, 66]])], ids=str)
def test_each_text_is_read_at_its_own_position_or_averaged(settings, expected):
    assert read_out(LOGITS, BATCH, Experiment(**settings)).tolist() == expected
