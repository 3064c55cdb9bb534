from hypothesis import given
from hypothesis import strategies as st

from bench.parts import parts_of, unfinished


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 25))
def test_parts_hold_every_seed_once_in_order_and_the_rows_own_alone(own, n_seeds, at_once):
    parts = parts_of(own, n_seeds, at_once)
    assert [seed for part in parts for seed in part] == list(range(own, own + n_seeds))
    assert parts[0] == (own,)
    assert all(len(part) == at_once for part in parts[1:-1])
    assert all(0 < len(part) <= at_once for part in parts[1:])


def test_a_row_that_lacks_seeds_names_them():
    assert unfinished([125, 126, 130]) == "the run ended before the seeds 125 to 130 did: go on with it, or run the row again"
