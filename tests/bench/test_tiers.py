from pathlib import Path

import pytest

from bench.rows import ROWS
from bench.tiers import TIERS
from gptcore.errors import UsageError
from gptcore.inputs import Sources


def test_full_is_the_table_as_published():
    assert all(TIERS["full"].scale(row.experiment) == row.experiment for row in ROWS)


def test_smoke_is_pure_and_keeps_the_rows_apart():
    scaled = [TIERS["smoke"].scale(row.experiment) for row in ROWS]
    assert scaled == [TIERS["smoke"].scale(row.experiment) for row in ROWS]
    assert len(set(scaled)) == len(ROWS)


@pytest.mark.parametrize("sources", [Sources(data=Path("mine")), Sources(weights=Path("mine")), Sources(limit_train=5)])
def test_smoke_refuses_other_inputs_than_its_own(sources):
    with pytest.raises(UsageError, match="--tier full"):
        TIERS["smoke"].gather(ROWS[0].experiment, sources)
