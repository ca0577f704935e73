"""Which of several verdicts decides: a batch is a choice where an image is cut into tiles. Pure.

All tiles of an image are one piece of work, whatever the batch that they go in by. So the batches
of a network on an image are answers to one question, and the best of them counts. Without an image
the budget is that of one inference, and an inference of more tiles is another question. Of several
questions the worst answer decides.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.profiler.deadlines import RANK, Verdict, Word, worst


class Answer(NamedTuple):
    """A verdict, and what it answers.

    Attributes:
        question: equal where two verdicts answer the same question; only the best then counts.
        batch: at which it is given; None where it holds for every batch.
        word: the verdict.
        left_s: what the median leaves of the budget, -inf where that is not known; of equal words
            the one with the most counts. The p99 is not known of every batch.
    """

    question: Hashable
    batch: int | None
    word: Word
    left_s: float = -math.inf


def of_verdict(made: Verdict) -> Answer:
    """What a measured cell answers."""
    work, middle_s = made.cell.workload, made.median.estimate
    same = replace(made.cell, workload=replace(work, batch=1)) if work.image else made.cell
    left_s = -math.inf if middle_s is None else made.budget_s - middle_s
    return Answer((same.key, work.image), work.batch, made.word, left_s)


def deciding(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """The best answer to each question, the questions in their order."""
    found: dict[Hashable, list[Answer]] = {}
    for one in answers:
        found.setdefault(one.question, []).append(one)
    return tuple(min(own, key=lambda one: (RANK[one.word], -one.left_s)) for own in found.values())


def word(answers: Iterable[Answer]) -> Word:
    """The verdict on all: of each question the best answer counts, of questions the worst."""
    return worst(one.word for one in deciding(answers))


def decided(found: Iterable[Verdict]) -> Word:
    """The verdict on all these cells: of a network on an image its best batch counts.

    Of different networks, targets and precisions, and without an image of batches, the worst.
    """
    return word(map(of_verdict, found))
