"""The clock of a training."""

import time


class Stopwatch:
    """Seconds that a training took so far, in all processes it ran in.  It runs from the start; `go_on` leaves out what was not training."""

    def __init__(self) -> None:
        self.before = 0.0
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + self.lap

    @property
    def lap(self) -> float:
        """Seconds since the start, or since it last went on."""
        return time.perf_counter() - self.started

    def go_on(self, seconds: float) -> None:
        """Go on from so many seconds."""
        self.before, self.started = seconds, time.perf_counter()
