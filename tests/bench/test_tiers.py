from pathlib import Path

import pytest
import torch

from bench.rows import ROWS
from bench.smoke.messages import smoke_dataset
from bench.tiers import TIERS
from gptcore.execution import Execution
from gptcore.inputs import Sources
from gptcore.training import finetune


def test_full_is_the_table_as_published():
    assert all(TIERS["full"].scale(row.experiment) == row.experiment for row in ROWS)


def test_smoke_is_pure_and_keeps_the_rows_apart():
    scaled = [TIERS["smoke"].scale(row.experiment) for row in ROWS]
    assert scaled == [TIERS["smoke"].scale(row.experiment) for row in ROWS]
    assert len(set(scaled)) == len(ROWS)


def test_smoke_carries_its_own_inputs():
    inputs = TIERS["smoke"].gather(TIERS["smoke"].scale(ROWS[0].experiment), Sources(data=Path("mine")))
    assert inputs.dataset == smoke_dataset()
    assert inputs.weights.is_file()
    assert not TIERS["smoke"].takes_sources


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row {row.number}")
def test_a_whole_smoke_row_is_the_same_plain_and_fast(row):
    experiment = TIERS["smoke"].scale(row.experiment)
    inputs = TIERS["smoke"].gather(experiment, Sources())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fast, plain = (finetune(experiment, inputs, device=torch.device("cpu"), execution=Execution(plain=plain)) for plain in (False, True))
    finally:
        torch.set_num_threads(before)
    assert (fast.counts, fast.epoch_accuracies) == (plain.counts, plain.epoch_accuracies)
    for ours, theirs in zip(fast.history, plain.history, strict=True):
        assert (ours.train_loss, ours.validation_loss) == pytest.approx((theirs.train_loss, theirs.validation_loss), abs=1e-4)


def test_smoke_records_seeds_and_repeats_and_full_one_seed():
    assert {tier.name: (tier.recorded_seeds, tier.records_repeats) for tier in TIERS.values()} == {"smoke": (20, True), "full": (1, False)}
