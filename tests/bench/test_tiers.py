from pathlib import Path

from bench.rows import ROWS
from bench.smoke.messages import smoke_dataset
from bench.tiers import TIERS
from gptcore.inputs import Sources


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
