"""How long a training goes on at most, from its steps so far, in words."""

from __future__ import annotations

from typing import NamedTuple

from nnprof.text import duration

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
