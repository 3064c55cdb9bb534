import pytest
import torch
from torch.utils.data import DataLoader

from gptcore.experiment import Experiment
from gptcore.schedule import EpochEvaluation, LossEvaluation, TrainStep, draw_schedule, load

SIZES = {"train": 45, "validation": 13, "test": 11}
QUICK = Experiment(num_epochs=2, eval_freq=4, eval_iter=3, accumulation_steps=2)


@pytest.fixture(autouse=True)
def callers_random_state():
    with torch.random.fork_rng():
        yield


def test_the_first_pass_is_the_published_one():
    first = draw_schedule(Experiment(), SIZES | {"train": 1045}, [123]).stages[0]
    assert first == TrainStep(1, 0, ((668, 713, 388, 375, 269, 137, 858, 963),), updates=True)


def test_stages_follow_the_published_loop():
    stages = draw_schedule(QUICK, SIZES, [1]).stages
    kinds = {TrainStep: "train", LossEvaluation: "losses", EpochEvaluation: "epoch"}
    assert [kinds[type(stage)] for stage in stages] == (
        ["train", "losses", "train", "train", "train", "train", "losses", "epoch", "train", "train", "train", "train", "losses", "train", "epoch"]
    )
    assert [(stage.epoch, stage.step, stage.updates) for stage in stages if isinstance(stage, TrainStep)] == [
        *[(1, step, step in (1, 3, 4)) for step in range(5)],
        *[(2, step, step in (6, 8, 9)) for step in range(5, 10)],
    ]
    assert stages[1].validation == (((0, 1, 2, 3, 4, 5, 6, 7),), ((8, 9, 10, 11, 12),))
    assert len(stages[1].train) == 3


def test_the_final_counts_read_the_training_texts_shuffled_and_the_others_in_order():
    final = draw_schedule(QUICK, SIZES, [1]).final
    train = [example for (batch,) in final["train"] for example in batch]
    assert len(set(train)) == len(train) == 40
    assert train != sorted(train)
    assert final["test"] == (((0, 1, 2, 3, 4, 5, 6, 7),), ((8, 9, 10),))


def test_seeds_side_by_side_are_each_drawn_as_if_alone():
    together = draw_schedule(QUICK, SIZES, [5, 9])
    for index, seed in enumerate((5, 9)):
        alone = draw_schedule(QUICK, SIZES, [seed])
        for ours, theirs in zip(together.stages, alone.stages, strict=True):
            if isinstance(ours, TrainStep):
                assert ((ours.batch[index],), ours.updates) == (theirs.batch, theirs.updates)
            else:
                assert [batch[index] for batch in ours.train] == [batch for (batch,) in theirs.train]
                assert [batch[index] for batch in ours.validation] == [batch for (batch,) in theirs.validation]
        assert [batch[index] for batch in together.final["train"]] == [batch for (batch,) in alone.final["train"]]
    assert together.stages[0].batch[0] != together.stages[0].batch[1]


def order(loader):
    return [batch for (batch,) in loader]


def test_the_training_loader_drops_the_last_partial_batch_and_shuffles_anew():
    loader = load(1045, 8, training=True)
    torch.manual_seed(1)
    first, second = ([index for batch in order(loader) for index in batch] for _ in range(2))
    assert len(first) == len(set(first)) == len(loader) * 8 == 1040
    assert first != second
    assert len(load(1045, 1, training=True)) == 1045


def test_the_other_loaders_keep_order_and_rest():
    assert order(load(7, 3, training=False)) == [(0, 1, 2), (3, 4, 5), (6,)]


@pytest.mark.parametrize("training", [False, True])
def test_every_pass_draws_as_a_plain_loader_does(training):
    plain = DataLoader(torch.arange(20), batch_size=4, shuffle=training, drop_last=training)
    states = []
    for loader in (plain, load(20, 4, training=training)):
        torch.manual_seed(3)
        next(iter(loader))
        list(loader)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
    torch.manual_seed(3)
    assert not torch.equal(states[0], torch.get_rng_state())
