import pytest
import torch

from gptcore.batches import Batch
from gptcore.experiment import Experiment
from gptcore.readout import read_out

BATCH = Batch(torch.zeros(2, 3, dtype=torch.int64), last_token=torch.tensor([1, 0]), labels=torch.tensor([0, 1]))
LOGITS = torch.tensor([[[0.0, 1], [2, 3], [4, 5]], [[60, 61], [62, 63], [70, 74]]])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"trainable_token_pos": "first"}, [[0, 1], [60, 61]]),
        ({"trainable_token_pos": "last"}, [[4, 5], [70, 74]]),
        ({"trainable_token_pos": "flexible"}, [[2, 3], [60, 61]]),
        ({"average_embeddings": True}, [[2, 3], [64, 66]]),
        ({"average_embeddings": True, "trainable_token_pos": "first"}, [[2, 3], [64, 66]]),
    ],
    ids=str,
)
def test_the_chosen_position_is_read(settings, expected):
    assert read_out(LOGITS, BATCH, Experiment(**settings)).tolist() == expected
