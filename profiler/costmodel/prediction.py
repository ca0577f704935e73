"""What a cost model says of one network at one batch, and of an image whose tiles it takes."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from nnprof.profiler.deadlines import Claim, claim
from nnprof.profiler.decisions import Answer
from nnprof.profiler.frames import FrameTime
from nnprof.profiler.shares import Estimate


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one term, or of one op, in a prediction.

    `name` is the group or the op, `term` the feature or the group, `words` what people read.
    """

    name: str
    term: str
    seconds: float
    words: str = ""


class Joules(NamedTuple):
    """Of a tile, beyond what the device takes idle; from which rail. The ends as for `Prediction`.

    They hold the interval of the time and all powers that were measured at this batch.
    """

    per_tile: float
    low: float | None
    high: float | None
    rail: str


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What one network costs at one batch.

    Attributes:
        seconds: per inference (all tiles of the batch) of the known part.
        low_s, high_s: 90 % interval; None where the model has none, or a part is unknown.
        terms: every term, network terms first; `layers`: every op, in order, NaN where unknown.
        extrapolates: one sentence per group that leaves the model's domain; names the term.
        unknown: types of op that the model has not seen; where there are any, `seconds` is not
            the whole.
        ops_from: who told the ops: the model's "rules", the "runtime", or "" where they were given.
        known_error: mean |predicted/measured - 1| of whole networks that the model was not fitted
            on; None where none was held against it.
        doubt: where the model is known to be far off, "" where that is not known.
        elsewhere: a sentence where this machine is of another kind than the model's, else "".
        joules: None where the model's Runs measured no energy at this batch, or an op is unknown.
        tiles_per_frame: that an image is cut into, None where none was asked about.
        asked: the network in the user's words, which tell two files of one name apart.
    """

    network: str
    batch: int
    seconds: float
    low_s: float | None
    high_s: float | None
    terms: tuple[Part, ...]
    layers: tuple[Part, ...]
    extrapolates: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ops_from: str = ""
    known_error: float | None = None
    doubt: str = ""
    elsewhere: str = ""
    joules: Joules | None = None
    tiles_per_frame: int | None = None
    asked: str = ""

    @property
    def ms_per_tile(self) -> float:
        """Milliseconds per tile."""
        return self.seconds * 1e3 / self.batch

    @property
    def frame(self) -> FrameTime | None:
        """The inferences of all tiles of an image, cutting left out; None where there is none."""
        if self.tiles_per_frame is None:
            return None
        one = FrameTime(self.seconds, self.low_s, self.high_s)
        return one.times(self.tiles_per_frame / self.batch)

    def claim(self, budget_s: float) -> Claim:
        """Whether an inference, or all those of an image, keep to a time budget, by the interval.

        That is of 90 %, not of 95 % as where it was measured; and of the clean time: how slow the
        slowest inferences are no cost model knows.
        """
        if self.unknown:
            why = f"the model has not seen {', '.join(self.unknown)}"
            return claim(Estimate(None, None, None), budget_s, why)
        whole = self.frame or FrameTime(self.seconds, self.low_s, self.high_s)
        why = "" if whole.low_s is not None else "the model has no interval"
        return claim(Estimate(whole.seconds, whole.low_s, whole.high_s), budget_s, why)

    def answer(self, budget_s: float) -> Answer:
        """What it says of a time budget; with an image its batches answer one question."""
        made = self.claim(budget_s)
        left_s = -math.inf if made.estimate is None else budget_s - made.estimate
        question = (self.asked or self.network, None if self.frame else self.batch)
        return Answer(question, self.batch, made.word, left_s)
