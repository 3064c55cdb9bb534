"""One metric on two sides: both values, their difference with a 95 % interval, and the p-value of "nothing moved" where a test applies."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import mean, median
from typing import Literal

from bench.statistics import Interval, flips_interval, mcnemar, paired_interval, paired_test, proportions_interval, proportions_test
from bench.wording import counted
from gptcore.answers import Answers, Count
from gptcore.dataset import SplitName
from gptcore.result import Result

Pair = tuple[Result, Result]  # what one seed gave in BASE and in HEAD
Loss = Literal["train_loss", "validation_loss"]
ENOUGH_MEASUREMENTS = 3
CLOCK = 1e-6  # seconds; what takes less is not told from it
# Sums of float32 in another order move a last loss by some 1e-7 to 1e-6 of itself: that is rewriting, not a change.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Contrast:
    """Both sides of a metric: accuracies as fractions, losses, seconds, or bytes.

    difference: head - base, of seconds and bytes head / base.  interval: of the difference alone, whatever else is compared.
    reason: what was counted, and the test.
    """

    base: float
    head: float
    difference: float
    interval: Interval | None
    p: float | None
    is_same: bool
    reason: str


@dataclass(frozen=True)
class Flips:
    """Answers of both sides to the n texts that both were asked for."""

    n: int
    base_right: int
    head_right: int
    lost: int
    gained: int

    @property
    def change(self) -> float:
        """By how much the share of right answers grew."""
        return (self.head_right - self.base_right) / self.n


def flips_of(base: Answers, head: Answers) -> Flips | None:
    """What changed between two sets of answers to the same texts.  None where no text was asked for on both sides."""
    asked = [both for *both, in_base, in_head in zip(base.is_right(), head.is_right(), base.is_asked(), head.is_asked(), strict=True) if in_base and in_head]
    if not asked:
        return None
    lost, gained = (sum(right == change for right in asked) for change in ([True, False], [False, True]))
    return Flips(len(asked), sum(right for right, _ in asked), sum(right for _, right in asked), lost, gained)


def accuracy_contrast(pairs: Sequence[Pair], split: SplitName) -> Contrast | None:
    """Accuracy on the same texts with the same seeds.  None where some seed's sides have no text in common.

    One seed tells two trained models apart, on texts like these; that other seeds would do the same takes several.
    """
    flips = [flips_of(base.answers[split], head.answers[split]) for base, head in pairs]
    found = [flip for flip in flips if flip]
    if len(found) < len(flips):
        return None
    return _one_seed(found[0]) if len(found) == 1 else _several_seeds(found)


def counts_contrast(base: Count, head: Count) -> Contrast:
    """Accuracy without a common seed: two counts as if of independent texts, which errs on the side of finding nothing."""
    interval = proportions_interval(head.right, head.n, base.right, base.n)
    p = proportions_test(head.right, head.n, base.right, base.n)
    reason = f"no common seed: {base.right} of {base.n} against {head.right} of {head.n}, Fisher's exact test"
    return Contrast(base.accuracy, head.accuracy, head.accuracy - base.accuracy, interval, p, is_same=False, reason=reason)


def loss_contrast(pairs: Sequence[Pair], loss: Loss) -> Contrast:
    """The last loss of each seed; of one seed nothing tells how far chance moves it.  Without a common seed, give what each side has as one pair."""
    both = [(getattr(base.history[-1], loss), getattr(head.history[-1], loss)) for base, head in pairs]
    before, after = (mean(values) for values in zip(*both, strict=True))
    differences = [head - base for base, head in both]
    is_same = not any(differences)
    if len(pairs) == 1:
        return Contrast(before, after, after - before, None, None, is_same, "one seed has no spread that a loss could be held against: give --seeds")
    reason = f"paired t-test over {counted(len(pairs), 'seed')}"
    grain = ROUNDING * before  # so that what rounding does to every seed alike proves nothing
    return Contrast(before, after, mean(differences), paired_interval(differences, grain=grain), paired_test(differences, grain=grain), is_same, reason)


def cost_contrast(base: Sequence[float], head: Sequence[float], *, grain: float = 0.0) -> Contrast:
    """Ratio of the medians of seconds or bytes.  The n-th of one side is measured just before the n-th of the other, so that a drift of the machine hits both.

    The interval is Student's for the logarithms of the ratios within each turn; its centre, their geometric mean, may lie a little off the medians' ratio.
    Sides with few or unequally many measurements have neither interval nor test.  grain: what a measurement cannot tell, in its unit; less is no difference.
    """
    before, after = (max(median(side), CLOCK) for side in (base, head))
    base, head = ([max(cost, CLOCK) for cost in side] for side in (base, head))
    n = min(len(base), len(head))
    if len(base) == len(head) and all(abs(later - earlier) <= grain for earlier, later in zip(base, head, strict=True)):
        return Contrast(before, after, after / before, None, None, is_same=True, reason="no further apart than a measurement can tell")
    if n < ENOUGH_MEASUREMENTS or len(base) != len(head):
        measured = "one measurement each" if len(base) == len(head) == 1 else f"{len(base)} and {len(head)} measurements"
        reason = f"{measured}: compare revisions with --repeats {ENOUGH_MEASUREMENTS} or more to judge them"
        return Contrast(before, after, after / before, None, None, is_same=False, reason=reason)
    ratios = [log(later / earlier) for earlier, later in zip(base, head, strict=True)]
    step = grain / before
    logarithms = paired_interval(ratios, grain=step)
    interval = Interval(exp(logarithms.low), exp(logarithms.high))
    reason = f"{n} measurements in turn, paired t-test of log ratios"
    return Contrast(before, after, after / before, interval, paired_test(ratios, grain=step), is_same=False, reason=reason)


def _one_seed(flips: Flips) -> Contrast:
    interval = flips_interval(flips.lost, flips.gained, flips.n)
    reason = f"{counted(flips.lost, 'text')} lost and {flips.gained} gained of {flips.n}, one seed, McNemar's exact test"
    is_same = flips.lost == flips.gained == 0
    return Contrast(flips.base_right / flips.n, flips.head_right / flips.n, flips.change, interval, mcnemar(flips.lost, flips.gained), is_same, reason)


def _several_seeds(flips: Sequence[Flips]) -> Contrast:
    """Seeds tell more than texts where they are many.  Few cannot: two seeds that both fall by 40 points have p = 0.01 at best, so texts are asked too."""
    differences = [flip.change for flip in flips]
    grain = max(1 / flip.n for flip in flips)
    interval = paired_interval(differences, grain=grain)
    p = min(1.0, 2 * min(paired_test(differences, grain=grain), _in_every_seed(flips)))
    base, head = mean(flip.base_right / flip.n for flip in flips), mean(flip.head_right / flip.n for flip in flips)
    is_same = not any(flip.lost or flip.gained for flip in flips)
    reason = f"{len(flips)} seeds, paired t-test (which the interval is of) or McNemar's exact test in every seed, twice the smaller p"
    return Contrast(base, head, mean(differences), Interval(max(-1.0, interval.low), min(1.0, interval.high)), p, is_same, reason)


def _in_every_seed(flips: Sequence[Flips]) -> float:
    """The p-value of "at least one seed did not move" (the largest of all, Berger 1982); 1 where seeds moved in different directions."""
    directions = {flip.gained > flip.lost for flip in flips}
    return max(mcnemar(flip.lost, flip.gained) for flip in flips) if len(directions) == 1 else 1.0
