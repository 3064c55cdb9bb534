import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gptcore.batches import EncodedSplit
from gptcore.errors import TrainingError
from gptcore.experiment import Experiment
from gptcore.learner import Learner
from gptcore.loop import check_finite, grade, mean_losses, train
from gptcore.result import EpochAccuracy, Evaluation, Progress
from gptcore.schedule import EpochEvaluation, LossEvaluation, TrainStep


def split_of(labels):
    """A split whose text number n is the one token n."""
    numbers = torch.arange(len(labels))
    return EncodedSplit(tuple(numbers[:, None]), torch.zeros_like(numbers), torch.tensor(labels), numbers)


def looking_up(tables):
    """A learner that finds the logits of text n of each seed in row n of the seed's table."""
    return Learner(lambda batches: [table[batch.tokens[:, 0]] for table, batch in zip(tables, batches, strict=True)], [torch.zeros(1)])


def answer_naively(table, labels, examples):
    """Which texts are right and asked for, and their margins, one text after another."""
    right, asked, margins = [False] * len(labels), [False] * len(labels), [0.0] * len(labels)
    for number in examples:
        logits, label = table[number].tolist(), labels[number]
        right[number] = (0 if logits[0] >= logits[1] else 1) == label
        asked[number] = True
        margins[number] = logits[label] - logits[1 - label]
    return right, asked, margins


@st.composite
def questions(draw):
    """Labels, a table of logits per seed with many ties, and batches of examples of each seed, each seed's in an order and of a choice of its own."""
    n, n_seeds = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    tables = [torch.tensor(draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 2), min_size=n, max_size=n))) / 4 for _ in range(n_seeds)]
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) <= n) | st.just([n]))
    orders = [draw(st.permutations(range(n))) for _ in range(n_seeds)]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = [tuple(tuple(order[start : start + size]) for order in orders) for start, size in zip(starts, sizes, strict=True)]
    return labels, tables, batches


# Answers


@given(questions())
def test_answers_and_margins_are_those_of_a_plain_loop(drawn):
    labels, tables, batches = drawn
    answered = grade(looking_up(tables), split_of(labels), batches)
    assert len(answered) == len(tables)
    for seed, graded in enumerate(answered):
        answers, margins, logits = graded.answers, graded.margins, graded.logits
        examples = [number for batch in batches for number in batch[seed]]
        right, asked, expected = answer_naively(tables[seed], labels, examples)
        assert (list(answers.is_right()), list(answers.is_asked())) == (right, asked)
        assert list(margins) == expected
        assert torch.equal(logits, torch.where(torch.tensor(asked)[:, None], tables[seed], 0.0))
        assert (answers.count().right, answers.count().n) == (sum(right), len(examples))


def test_a_tie_is_answered_with_the_first_class():
    (graded,) = grade(looking_up([torch.zeros(2, 2)]), split_of([0, 1]), [((0, 1),)])
    assert graded.answers.is_right() == (True, False)
    assert graded.margins == (0.0, 0.0)


def test_texts_that_were_not_asked_for_are_not_right_and_have_no_margin():
    (graded,) = grade(looking_up([torch.tensor([[3.0, 1.0]] * 4)]), split_of([0, 0, 1, 1]), [((3,),), ((1,),)])
    assert graded.answers.is_asked() == (False, True, False, True)
    assert graded.answers.is_right() == (False, True, False, False)
    assert graded.margins == (0.0, 2.0, 0.0, -2.0)


def test_margins_are_kept_to_a_millionth():
    (graded,) = grade(looking_up([torch.tensor([[0.0, 1.23456789]])]), split_of([1]), [((0,),)])
    assert graded.margins == (1.234568,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_no_answer(bad):
    with pytest.raises(TrainingError, match="logits are not finite"):
        grade(looking_up([torch.zeros(1, 2), torch.tensor([[bad, 0.0]])]), split_of([0]), [((0,), (0,))])


# Losses


def test_a_mean_loss_is_the_mean_over_batches_of_each_seed():
    tables = [torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 3.0], [1.0, 1.0], [2.0, 0.0]])]
    labels = [0, 1, 1]
    batches = [((0, 1), (2, 1)), ((2,), (0,))]
    expected = [
        sum(F.cross_entropy(table[list(batch[seed])], torch.tensor(labels)[list(batch[seed])]).item() for batch in batches) / 2
        for seed, table in enumerate(tables)
    ]
    assert mean_losses(looking_up(tables), split_of(labels), batches, Experiment()) == pytest.approx(expected)


@pytest.mark.parametrize("losses", [[math.nan], [0.5, math.inf], [-math.inf, 0.1]])
def test_a_loss_that_is_not_finite_is_told_with_its_place(losses):
    with pytest.raises(TrainingError, match="at epoch 2, step 7"):
        check_finite(losses, 2, 7)


def test_finite_losses_are_told_of_nothing():
    check_finite([0.0, -1.0, 1e300], 1, 0)


# Training


def weighing(weights, n_stacked=None):
    """A learner whose logits of text n are n + 1 times its two weights, for each seed that is stacked."""
    weights = weights.clone().requires_grad_()
    rows = weights if n_stacked else weights[None]
    return Learner(lambda batches: [(batch.tokens.float() + 1) * row for batch, row in zip(batches, rows, strict=True)], [weights], n_stacked)


def schedule_of(*batches):
    """Every batch trains, every one but the first updates, and losses are taken after each; accuracies at the end."""
    evaluated = (batches[0],)
    stages = []
    for step, batch in enumerate(batches):
        stages += [TrainStep(1, step, batch, updates=step > 0), LossEvaluation(1, step, evaluated, evaluated)]
    return [*stages, EpochEvaluation(1, evaluated, evaluated)]


WEIGHTS = torch.tensor([[0.3, -0.2], [-0.5, 0.1], [0.2, 0.2]])
BATCHES = (((0, 2), (1, 3), (2, 0)), ((1, 3), (0, 1), (3, 2)), ((2, 3), (3, 0), (1, 0)))
SPLITS = {"train": split_of([0, 1, 1, 0]), "validation": split_of([1, 1, 0, 0])}


def run(learner, stages, **settings):
    heard = []
    experiment = Experiment(**{"learning_rate": 0.1, "accumulation_steps": 2} | settings)
    return train(learner, stages, SPLITS, experiment, heard.append, fused=False), heard


def test_stacked_seeds_train_like_single_ones():
    together, heard = run(weighing(WEIGHTS, 3), schedule_of(*BATCHES))
    for seed, ours in enumerate(together):
        (alone,), _ = run(weighing(WEIGHTS[seed]), schedule_of(*(((batch[seed]),) for batch in BATCHES)))
        assert ours.first_logits == pytest.approx(alone.first_logits)
        for one, other in zip(ours.events, alone.events, strict=True):
            if isinstance(one, Evaluation):
                assert (one.train_loss, one.validation_loss, one.gradient_norm) == pytest.approx((other.train_loss, other.validation_loss, other.gradient_norm))
            else:
                assert one == other
    assert [event for event in heard if not isinstance(event, Progress)] == list(together[0].events)
    assert len({trained.events for trained in together}) == 3


def test_a_gradient_norm_is_that_of_all_batches_since_the_last_update():
    (trained,), _ = run(weighing(WEIGHTS[0]), schedule_of(*(((batch[0]),) for batch in BATCHES)))
    weights = WEIGHTS[0].clone().requires_grad_()

    def loss(batch):
        numbers = torch.tensor(batch[0])
        return F.cross_entropy((numbers[:, None] + 1.0) * weights, SPLITS["train"].labels[numbers]) / 2

    for batches, evaluation in ((BATCHES[:1], trained.events[0]), (BATCHES[:2], trained.events[1])):
        weights.grad = None
        sum(loss(batch) for batch in batches).backward()
        assert evaluation.gradient_norm == pytest.approx(weights.grad.norm().item())


def test_the_first_logits_are_those_of_the_first_batch_before_any_update():
    trained, _ = run(weighing(WEIGHTS, 3), schedule_of(*BATCHES))
    for seed, ours in enumerate(trained):
        expected = [(number + 1) * weight for number in BATCHES[0][seed] for weight in WEIGHTS[seed].tolist()]
        assert ours.first_logits == pytest.approx(expected)


def test_events_stand_in_the_order_of_the_stages():
    (trained,), _ = run(weighing(WEIGHTS[0]), schedule_of(*(((batch[0]),) for batch in BATCHES)))
    assert [type(event) for event in trained.events] == [Evaluation, Evaluation, Evaluation, EpochAccuracy]
    assert [event.step for event in trained.events[:3]] == [0, 1, 2]


def test_an_accuracy_after_an_epoch_is_the_share_of_right_ones_of_its_batches():
    stages = [TrainStep(1, 0, ((0, 1),), updates=False), EpochEvaluation(1, (((0, 2, 3),),), (((0, 1),), ((2,),)))]
    (trained,), _ = run(weighing(torch.tensor([1.0, 0.0])), stages)  # always answers 0
    assert trained.events == (EpochAccuracy(1, 2 / 3, 1 / 3),)
