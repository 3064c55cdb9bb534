from dataclasses import replace

import pytest

from bench.rows import ROWS
from bench.verdicts.published import published_digests
from gptcore.experiment import settings_of

MOVES = (2e-6, -1e-6, 5e-7)


@pytest.fixture(scope="session")
def one_seed(recorded):
    """Row 1 recorded with one seed, three repeats and two timings."""
    return recorded(moves=MOVES, seconds=(16.0, 16.5))


@pytest.fixture(scope="session")
def ten_seeds(recorded, of_seeds, seeds):
    """Row 1 recorded with ten seeds and three repeats."""
    return recorded(of_seeds(seeds(10)), moves=MOVES)


@pytest.fixture(scope="session")
def unseeded(recorded):
    """Row 1 recorded with one seed and no repeats, as the full tier is."""
    return recorded()


@pytest.fixture(scope="session")
def against_published(verdict_on, row_result, figures, expectations):
    """Judges row 1 of a full run that had every published input; keyword arguments replace digests, the device, or figures."""
    usual = published_digests(ROWS[0], expectations)

    def verdict(device_name="NVIDIA A100-SXM4-40GB", chosen=(), timing_only=False, changed=None, **changes):
        settings = settings_of(replace(ROWS[0].experiment, weights="random" if timing_only else "pretrained"))
        result = row_result(digests=usual | (changed or {}), settings=settings, figures=figures(**{"seconds": 0.28 * 60} | changes))
        return verdict_on(result, expectations, tier="full", device_name=device_name, chosen=chosen, timing_only=timing_only)

    return verdict
