import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gptcore.features
from gptcore.features import Features, allocate, frozen_depth, plan_passes
from gptcore.freezing import make_classifier
from gptcore.model import GPT

CPU = torch.device("cpu")
ROWS = [torch.tensor(row) for row in ([1, 2, 3], [4], [5, 6, 7, 8, 9], [1, 2], [3, 3, 3])]


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(3)
    return GPT(tiny).requires_grad_(False)


@pytest.mark.parametrize("budget", [2**20, 0], ids=["memory", "disk"])
def test_kept_states_are_those_of_the_frozen_blocks(model, budget):
    room, place = allocate(sum(map(len, ROWS)), model.config.width, budget, CPU)
    assert place == ("memory" if budget else "disk")
    features = Features(model, 2, ROWS, [[1, 3, 0], [4], [2]], room)
    for numbers in ([0], [3, 1], [4, 2, 0], [1, 1]):
        states = features.of(torch.tensor(numbers))
        assert states.shape == (len(numbers), max(len(ROWS[number]) for number in numbers), model.config.width)
        for row, number in zip(states, numbers, strict=True):
            expected = model.blocks[1](model.blocks[0](model.embed(ROWS[number][None])))[0]
            torch.testing.assert_close(row[: len(expected)], expected, atol=1e-5, rtol=0)


def test_a_row_is_computed_once(model, monkeypatch):
    room, _ = allocate(sum(map(len, ROWS)), model.config.width, 2**20, CPU)
    features = Features(model, 1, ROWS, [[1, 3], [0, 4], [2]], room)
    computed = []
    compute = features.compute
    monkeypatch.setattr(features, "compute", lambda numbers: (computed.append(numbers), compute(numbers)))
    for numbers in ([1, 0], [3, 4, 0], [1]):
        features.of(torch.tensor(numbers))
    assert sorted(computed) == [[0, 4], [1, 3]]


def test_what_is_not_computed_yet_is_finite(model):
    room, _ = allocate(sum(map(len, ROWS)), model.config.width, 2**20, CPU)
    assert Features(model, 1, ROWS, [[1, 3], [0, 4], [2]], room).of(torch.tensor([1, 0])).isfinite().all()


def test_without_room_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(gptcore.features, "DISK_RESERVE", 2**70)
    assert allocate(10, 4, 0, CPU) is None
    assert allocate(10, 4, 159, CPU) is None
    assert allocate(10, 4, 160, CPU)[1] == "memory"


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30), st.booleans())
def test_passes_hold_every_row_once_and_not_too_many_tokens(lengths, causal):
    rows = {number: torch.zeros(length) for number, length in enumerate(lengths)}
    passes = list(plan_passes(list(rows), rows, causal=causal))
    assert sorted(number for numbers in passes for number in numbers) == list(rows)
    for numbers in passes:
        longest = max(lengths[number] for number in numbers)
        assert len(numbers) == 1 or len(numbers) * longest <= gptcore.features.TOKENS_PER_PASS
        assert causal or len({lengths[number] for number in numbers}) == 1


@pytest.mark.parametrize(
    ("trainable_layers", "depth"),
    [("last_layer", 2), ("last_block", 2), ("last_two_blocks", 1), ("all", None), ("lora", 0), ("lora_alternative", 0)],
)
def test_everything_below_the_first_trainable_block_is_frozen(trainable_layers, depth, tiny, miniature):
    model = GPT(tiny)
    make_classifier(model, miniature(trainable_layers=trainable_layers))
    assert frozen_depth(model) == depth
