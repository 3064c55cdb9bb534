import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gptcore.features
from gptcore.features import TOKENS_PER_PASS, Features, FrozenStates, Need, allocate, block_flops, plan_passes, whole_rows
from gptcore.model import GPT
from gptcore.state_cache import StateCache

CPU = torch.device("cpu")
ROWS = ((1, 2, 3), (4,), (5, 6, 7, 8, 9), (1, 2), (3, 3, 3))
IN_TRAINING = frozenset((0, 1, 2, 3))  # the last row is for the final counts only


@pytest.fixture(scope="module")
def models(tiny):
    """One network with the mask and one without, of the same weights."""
    torch.manual_seed(3)
    causal = GPT(tiny).requires_grad_(False)
    free = GPT(tiny, causal=False).requires_grad_(False)
    free.load_state_dict(causal.state_dict())
    return {True: causal, False: free}


@pytest.fixture(scope="module")
def model(models):
    return models[True]


def frozen_states(model, *needs, causal=True, budget=2**30, **cached):
    return FrozenStates(needs, model.config.width, causal=causal, device=CPU, memory_budget=budget, **cached)


def expected_of(model, row, depth):
    hidden = model.embed(torch.tensor([row]))
    for block in model.blocks[:depth]:
        hidden = block(hidden)
    return hidden[0]


def assert_right(features, model, numbers):
    states = features.of(torch.tensor(numbers), model)
    rows = [features.need.rows[number] for number in numbers]
    assert states.shape == (len(numbers), max(map(len, rows)), model.config.width)
    for found, row in zip(states, rows, strict=True):
        torch.testing.assert_close(found[: len(row)], expected_of(model, row, features.need.depth), atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("budget", [2**20, 0], ids=["memory", "disk"])
def test_kept_states_are_those_of_the_frozen_blocks(models, budget, causal):
    need = Need(2, ROWS, IN_TRAINING)
    states = frozen_states(models[causal], need, budget=budget, causal=causal)
    assert states.place == ("memory" if budget else "disk")
    features = Features(states, need)
    for numbers in ([0], [3, 1], [4, 2, 0], [1, 1]):
        assert_right(features, models[causal], numbers if causal else [numbers[0]] * len(numbers))


@pytest.mark.parametrize("causal", [True, False])
def test_experiments_share_one_pass_at_their_own_depths_and_lengths(models, causal):
    long = Need(2, ((1, 2, 3, 9, 9), (5, 6, 9, 9, 9)), frozenset((0, 1)))
    shallow = Need(1, ((1, 2, 3, 9, 9), (5, 6, 9, 9, 9)), frozenset((0, 1)))
    short = Need(2, ((1,), (5, 6)), frozenset((0, 1)))
    states = frozen_states(models[causal], long, shallow, short, causal=causal)
    assert len(states.rows) == (2 if causal else 4)
    for need in (shallow, short, long):
        features = Features(states, need)
        for number in range(len(need.rows)):
            assert_right(features, models[causal], [number])
    assert len(states.seconds) == len(states.passes)


def test_a_pass_is_computed_once_whoever_asks(model, monkeypatch):
    monkeypatch.setattr(gptcore.features, "TOKENS_PER_PASS", 6)
    need = Need(1, ROWS, IN_TRAINING)
    states = frozen_states(model, need, Need(2, ROWS, IN_TRAINING))
    computed = []
    forward = states._forward
    monkeypatch.setattr(states, "_forward", lambda one, model: (computed.append(one), forward(one, model))[1])
    for features in (Features(states, need), Features(states, Need(2, ROWS, IN_TRAINING))):
        for numbers in ([1, 0], [3, 4, 0], [1]):
            features.of(torch.tensor(numbers), model)
    assert len(computed) == len(set(computed)) < len(states.passes)


def test_what_is_not_computed_yet_is_finite(model, monkeypatch):
    monkeypatch.setattr(gptcore.features, "TOKENS_PER_PASS", 4)
    need = Need(1, ROWS, IN_TRAINING)
    states = frozen_states(model, need)
    assert Features(states, need).of(torch.tensor([1, 0]), model).isfinite().all()
    assert len(states.seconds) < len(states.passes)


def test_training_does_not_pay_for_what_only_the_final_counts_read(model):
    need = Need(1, ROWS, IN_TRAINING)
    states = frozen_states(model, need)
    features = Features(states, need)
    features.of(torch.tensor(sorted(IN_TRAINING)), model)
    test_only = states.pass_of[states.index_of[(3, 3, 3)]]
    assert test_only not in states.seconds


@pytest.fixture
def ticking(monkeypatch):
    """A clock that only a forward pass moves, by its number of rows times the depth it goes to."""
    clock = [0.0]
    forward = FrozenStates._forward

    def slow(self, one, model):
        clock[0] += len(one.rows) * one.depths[-1]
        return forward(self, one, model)

    monkeypatch.setattr(FrozenStates, "_forward", slow)
    monkeypatch.setattr(gptcore.features.time, "perf_counter", lambda: clock[0])


def test_alone_an_experiment_is_charged_what_it_spends(model, ticking):
    need = Need(2, ROWS, IN_TRAINING)
    features = Features(frozen_states(model, need), need)
    features.of(torch.tensor(sorted(IN_TRAINING)), model)
    assert features.charged == pytest.approx(features.spent) == 2 * 3  # (1, 2) stands in (1, 2, 3)


def test_an_experiment_is_charged_for_passes_that_another_paid_for(model, ticking):
    deep, shallow, short = (
        Need(2, ((1, 2, 3, 4), (5, 6, 7, 8)), frozenset((0, 1))),
        Need(1, ((1, 2, 3, 4), (5, 6, 7, 8)), frozenset((0, 1))),
        Need(2, ((1,),), frozenset((0,))),
    )
    states = frozen_states(model, deep, shallow, short)
    views = [Features(states, need) for need in (deep, shallow, short)]
    for features in views:
        features.of(torch.tensor([0]), model)
    assert [features.spent for features in views] == [4, 0, 0]
    one, four = (block_flops(length, model.config.width) for length in (1, 4))
    assert [features.charged for features in views] == pytest.approx([4, 2, 4 * one / (2 * four)])


def test_without_room_nothing_is_kept(monkeypatch, model):
    monkeypatch.setattr(gptcore.features, "DISK_RESERVE", 2**70)
    assert allocate(10, 4, 0, CPU)[1] == "not kept"
    assert allocate(10, 4, 159, CPU)[1] == "not kept"
    assert allocate(10, 4, 160, CPU)[1] == "memory"
    assert frozen_states(model, Need(1, ROWS, IN_TRAINING), budget=0).place == "not kept"


@given(st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=30))
def test_with_a_mask_every_row_is_found_in_one_that_begins_with_it_and_in_no_row_twice(rows):
    whole, index_of = whole_rows(rows, causal=True)
    assert set(index_of) == rows
    for row, index in index_of.items():
        assert whole[index][: len(row)] == row
    assert not any(one != other and other[: len(one)] == one for one in whole for other in rows)
    free, index_of = whole_rows(rows, causal=False)
    assert all(free[index] == row for row, index in index_of.items())
    assert set(free) == rows


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30), st.booleans())
def test_passes_hold_every_row_once_and_not_too_many_tokens(lengths, causal):
    passes = list(plan_passes(dict(enumerate(lengths)), TOKENS_PER_PASS, causal=causal))
    assert sorted(number for numbers in passes for number in numbers) == list(range(len(lengths)))
    for numbers in passes:
        longest = max(lengths[number] for number in numbers)
        assert len(numbers) == 1 or len(numbers) * longest <= TOKENS_PER_PASS
        assert causal or len({lengths[number] for number in numbers}) == 1


def test_the_cache_spares_the_pass_and_not_the_charge(model, tmp_path, ticking, monkeypatch):
    need = Need(2, ROWS, IN_TRAINING)
    numbers = torch.arange(len(ROWS))
    cached = {"cache": StateCache(tmp_path, 2**20), "identity": "these weights"}
    first = Features(frozen_states(model, need, **cached), need)
    expected = first.of(numbers, model)
    monkeypatch.setattr(FrozenStates, "_forward", None)
    again = Features(frozen_states(model, need, **cached), need)
    assert torch.equal(again.of(numbers, model), expected)
    assert (again.charged, again.spent) == (first.charged, 0)
    with pytest.raises(TypeError):  # other weights are not found, and nothing computes
        Features(frozen_states(model, need, **cached | {"identity": "other weights"}), need).of(numbers, model)


def test_final_counts_are_not_charged_where_another_reads_their_texts_in_training(model, ticking):
    """One trains on both rows, the other only on the first."""
    both, one = Need(2, ((1, 2, 3), (4, 5, 6)), frozenset((0, 1))), Need(2, ((1, 2, 3), (4, 5, 6)), frozenset((0,)))
    states = frozen_states(model, both, one)
    Features(states, both).of(torch.tensor([0, 1]), model)
    features = Features(states, one)
    features.of(torch.tensor([0]), model)
    assert features.charged == pytest.approx(2)


def test_where_the_memory_is_taken_the_states_go_to_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path / "cache"))

    def taken(*shape, **keywords):
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(torch, "zeros", taken)
    room, place = allocate(10, 4, 2**20, CPU)
    assert (place, room.shape, room.abs().sum().item()) == ("disk", (10, 4), 0)
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_no_file_can_be_made_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path / "file"))
    assert allocate(10, 4, 0, CPU)[1] == "not kept"
