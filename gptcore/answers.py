"""Which texts were classified right, as bitmaps, and how many."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Count:
    """How many of `n` texts were classified right."""

    right: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n or self.n < 1:
            raise ValueError(f"{self.right} right of {self.n} is no count")

    @property
    def accuracy(self) -> float:
        """The share of right ones, a fraction."""
        return self.right / self.n


@dataclass(frozen=True)
class Answers:
    """Which of a split's `n` texts, in the split's order, a trained model classified right.

    right, asked: bitmaps (see `pack`); a text that was not asked for, as the last few of a shuffled training split, is not right.
    """

    n: int
    right: str
    asked: str

    def __post_init__(self) -> None:
        if any(is_right and not is_asked for is_right, is_asked in zip(self.is_right(), self.is_asked(), strict=True)):
            raise ValueError("a text that was not asked for cannot be right")

    def is_right(self) -> tuple[bool, ...]:
        """For each text whether it was classified right."""
        return unpack(self.right, self.n)

    def is_asked(self) -> tuple[bool, ...]:
        """For each text whether it was classified at all."""
        return unpack(self.asked, self.n)

    def count(self, among: Sequence[bool] | None = None) -> Count:
        """The right ones of those asked for, `among` the chosen texts if given.  Raises ValueError where there are none."""
        asked = self.is_asked() if among is None else [is_asked and is_among for is_asked, is_among in zip(self.is_asked(), among, strict=True)]
        return Count(sum(is_right and is_asked for is_right, is_asked in zip(self.is_right(), asked, strict=True)), sum(asked))


def pack(flags: Iterable[bool]) -> str:
    """A bitmap: eight flags a byte, the first in the highest bit, the last byte filled up with zeros, in base64."""
    return base64.b64encode(np.packbits(np.fromiter(flags, dtype=bool)).tobytes()).decode("ascii")


def unpack(bitmap: str, n: int) -> tuple[bool, ...]:
    """The `n` flags of a bitmap.  Raises ValueError where it holds another number of them."""
    packed = np.frombuffer(base64.b64decode(bitmap, validate=True), dtype=np.uint8)
    flags = np.unpackbits(packed)
    if len(packed) != (n + 7) // 8 or flags[n:].any():
        raise ValueError(f"a bitmap of {n} flags has {(n + 7) // 8} bytes and nothing behind its last flag; this one has {len(packed)} bytes")
    return tuple(bool(flag) for flag in flags[:n])
