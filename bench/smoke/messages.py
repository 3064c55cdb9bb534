"""The miniature world's texts: SMS-like ham and spam, generated the same on every machine and Python.

A message is an opening, one to three clauses, perhaps an aside, and an ending.  Its kind is the kind of most of its clauses; the rest may be borrowed from
the other side.  So the evidence is spread over the message and must be weighed, while openings, asides, endings and the writer's style say nothing.
A few labels are wrong on purpose.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from bench.smoke.phrases import ASIDES, ENDINGS, HAM, OPENINGS, SLOTS, SPAM
from gptcore.dataset import Dataset, Split

T = TypeVar("T")

N_TRAIN, N_VALIDATION, N_TEST = 460, 120, 300
N_PRETRAINING = 6000
NOISE = 0.03
DATASET_SEED, PRETRAINING_SEED = 2, 77

# How many of a message's clauses may come from the other side: never as many as half.
CLAUSES_AND_BORROWED = ((1, 0), (2, 0), (2, 0), (3, 0), (3, 1))
MOST_CLAUSES = max(n_clauses for n_clauses, _ in CLAUSES_AND_BORROWED)
SAME_THEME = 0.9
ASIDE = 0.25
JOINTS = (". ", ", ", " and ", " - ")


class Draws:
    """A stream of draws.  `Random.random` is the one method whose sequence Python promises to keep, so everything is built on it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - texts, not secrets

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self._random() * n)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order (Fisher and Yates)."""
        result = list(items)
        for end in range(len(result) - 1, 0, -1):
            other = self.below(end + 1)
            result[end], result[other] = result[other], result[end]
        return result


@dataclass(frozen=True)
class Message:
    """A text, whether it really is spam, and the label it carries: 0 ham, 1 spam, sometimes wrong."""

    text: str
    is_spam: bool
    label: int


@cache
def smoke_dataset() -> Dataset:
    """The three splits, half ham and half spam each, without a text that occurs twice."""
    draws = Draws(DATASET_SEED)
    seen: set[str] = set()
    return Dataset(*(as_split(labelled_messages(draws, n, seen)) for n in (N_TRAIN, N_VALIDATION, N_TEST)), classes=("ham", "spam"))


@cache
def pretraining_texts() -> tuple[str, ...]:
    """Unlabelled texts from the same world, none of them in the data set."""
    draws = Draws(PRETRAINING_SEED)
    seen = {text for split in smoke_dataset().splits.values() for text in split.texts}
    return tuple(new_text(draws, number % 2 == 1, seen) for number in range(N_PRETRAINING))


def as_split(messages: Sequence[Message]) -> Split:
    """The messages as texts and labels."""
    return Split(tuple(message.text for message in messages), tuple(message.label for message in messages))


def labelled_messages(draws: Draws, n: int, seen: set[str]) -> list[Message]:
    """`n` (even) new messages in random order, half of each kind; in each half the same share of labels is wrong, so the labels balance too."""
    n_wrong = round(NOISE * n / 2)
    messages = []
    for is_spam in (False, True):
        for number in range(n // 2):
            messages.append(Message(new_text(draws, is_spam, seen), is_spam, int(is_spam != (number < n_wrong))))
    return draws.shuffled(messages)


def new_text(draws: Draws, is_spam: bool, seen: set[str]) -> str:
    """A text that is not in `seen`; it is added."""
    text = write_text(draws, is_spam)
    while text in seen:
        text = write_text(draws, is_spam)
    seen.add(text)
    return text


def write_text(draws: Draws, is_spam: bool) -> str:
    """One message: opening, clauses in random order, ending, in the writer's style."""
    n_clauses, n_borrowed = draws.one_of(CLAUSES_AND_BORROWED)
    own, other = (SPAM, HAM) if is_spam else (HAM, SPAM)
    clauses = pick_clauses(draws, own, n_clauses - n_borrowed) + pick_clauses(draws, other, n_borrowed)
    if n_clauses < MOST_CLAUSES and draws.chance(ASIDE):
        clauses.append(draws.one_of(ASIDES))
    templates = [draws.one_of(OPENINGS), *draws.shuffled(clauses), draws.one_of(ENDINGS)]
    return in_style(draws, [fill(draws, template) for template in templates])


def pick_clauses(draws: Draws, themes: Sequence[Sequence[str]], n: int) -> list[str]:
    """`n` different clauses, most of them about one theme."""
    theme = draws.one_of(themes)
    picked: list[str] = []
    while len(picked) < n:
        clause = draws.one_of(theme if draws.chance(SAME_THEME) else draws.one_of(themes))
        if clause not in picked:
            picked.append(clause)
    return picked


def fill(draws: Draws, template: str) -> str:
    """The template with every slot filled."""
    return template.format_map({slot: draws.one_of(words) for slot, words in SLOTS.items()})


def in_style(draws: Draws, parts: Sequence[str]) -> str:
    """The parts joined and capitalised in one of the ways people do, whatever they write about."""
    joint = draws.one_of(JOINTS)
    if joint == ". " and draws.chance(0.7):
        parts = [part[0].upper() + part[1:] for part in parts]
    text = joint.join(parts)
    return text + draws.one_of(("", ".", "!", " x"))
