"""How long a training goes on at most, from its steps so far, in words."""

from __future__ import annotations

import math
from typing import NamedTuple

FEWEST_STEPS = 5  # timed before a time is told; the first one is not, for it sets things up


class Pace(NamedTuple):
    """When the first step of this process had ended.

    Attributes:
        at_s: on the clock of `told`.
        steps: that were done by then, those before a resume included.
    """

    at_s: float
    steps: int

    def told(self, now_s: float, done: int, all_steps: int) -> str:
        """The time left after `done` of all steps, as "at most 1 min 20 s left"."""
        timed = done - self.steps
        if timed < FEWEST_STEPS:
            return "timing the first steps"
        return f"at most {duration((now_s - self.at_s) / timed * (all_steps - done))} left"


def duration(seconds: float) -> str:
    """A time, rounded up to what matters of it: "8 s", "1 min 20 s", "25 min", "2 h 5 min"."""
    each_s = 1 if seconds <= 60 else 10 if seconds <= 600 else 60 if seconds <= 3600 else 300
    whole_s = max(1, math.ceil(seconds / each_s) * each_s)
    hours, minutes, rest = whole_s // 3600, whole_s // 60 % 60, whole_s % 60
    parts = (hours, "h"), (minutes, "min"), (rest, "s")
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
