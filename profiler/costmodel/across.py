"""One question to many cost models: which board, runtime, precision and batch are the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler.costmodel.kept import Kept
from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.profiler.deadlines import RANK, Claim, Word, claim
from nnprof.profiler.decisions import Answer
from nnprof.profiler.shares import Estimate


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one model says of a network at a batch, or why it says nothing.

    Attributes:
        kept: the model and its file.
        network: as it was asked about.
        prediction: None where the model refuses.
        refused: why it does, in a sentence; else empty.
        claim: on which side of the time budget it lies; None where there is no budget.
    """

    kept: Kept
    network: str
    prediction: Prediction | None
    refused: str = ""
    claim: Claim | None = None


def offers(
    models: Sequence[Kept],
    network: str,
    predicted: Callable[[Kept], Sequence[Prediction]],
    budget_s: float | None = None,
) -> tuple[Offer, ...]:
    """What each model says of a network, the best first.

    Args:
        models: that are asked.
        network: as it was asked about.
        predicted: what a model says of it; its UsageError is that model's refusal.
        budget_s: that is to be kept to; None where there is none.

    Raises:
        UsageError: all models refuse for one and the same reason, which is then the network's.
    """
    found, errors = list[Offer](), list[UsageError]()
    for kept in models:
        try:
            found += (_judged(kept, network, one, budget_s) for one in predicted(kept))
        except UsageError as error:  # noqa: PERF203  each is another model
            errors.append(error)
            found.append(_refusing(kept, network, error.reason, budget_s))
    if len(errors) == len(models) and len(set(map(str, errors))) == 1:
        raise errors[0]
    return ranked(found)


def _judged(kept: Kept, network: str, one: Prediction, budget_s: float | None) -> Offer:
    said = None if budget_s is None else one.claim(budget_s)
    return Offer(kept=kept, network=network, prediction=one, claim=said)


def _refusing(kept: Kept, network: str, why: str, budget_s: float | None) -> Offer:
    """A model that cannot tell: its board is not known to miss the budget."""
    said = None if budget_s is None else claim(Estimate(None, None, None), budget_s, why)
    return Offer(kept=kept, network=network, prediction=None, refused=why, claim=said)


def ranked(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """The best first: what fits, then what may, then what misses; of these the fastest per tile."""
    return tuple(sorted(offers, key=_place))


def _place(one: Offer) -> tuple[int, bool, float]:
    word: Word = one.claim.word if one.claim else "FITS"
    tile = math.inf if one.prediction is None else one.prediction.ms_per_tile
    partial = one.prediction is None or bool(one.prediction.unknown)
    return RANK[word], partial, tile


def answers(offers: Sequence[Offer]) -> list[Answer]:
    """What the boards say of a budget: of each network, and without an image of each batch.

    All boards, and with an image all batches, answer one question. A board that refuses may keep to
    the budget at any batch.
    """
    found = []
    for network in dict.fromkeys(one.network for one in offers):
        own = [one for one in offers if one.network == network and one.claim]
        whole = any(one.prediction and one.prediction.frame for one in own)
        batches = dict.fromkeys(one.prediction.batch for one in own if one.prediction)
        for one in own:
            batch = one.prediction.batch if one.prediction else None
            asked: list[int | None] = [batch]
            if whole or batch is None:
                asked = [None] if whole else [*batches] or [None]
            word = one.claim.word if one.claim else "UNDECIDED"
            found += [Answer((network, each), batch, word) for each in asked]
    return found
