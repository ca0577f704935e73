"""Sentences that a reader of a fitted model must see."""

from __future__ import annotations

from collections.abc import Sequence

from nnprof.profiler.costmodel import (
    fit,
    kernels,
)
from nnprof.profiler.costmodel.model import (
    CostModel,
    Group,
)
from nnprof.profiler.costmodel.terms import Found
from nnprof.profiler.costmodel.whole import LEAST_NETWORKS

_ACTIVATIONS = ("relu", "sigmoid", "tanh")  # that the rules "fused" give to the op before


def notes(groups: Sequence[Group], found: Found, lowering: str) -> list[str]:
    """What is guessed, scaled, left out or unknown in the model."""
    notes = []
    acts = [group.name for group in groups if group.rows and group.name in _ACTIVATIONS]
    if acts and lowering == "fused":
        notes.append(
            f"Here {', '.join(acts)} are ops of their own; of networks in notation they are "
            "counted with the op before, so their time is left out."
        )
    poor = [group.name for group in groups if 0 < group.shapes < fit.FEW_SHAPES]
    if poor:
        notes.append(
            f"Fewer than {fit.FEW_SHAPES} shapes of {', '.join(poor)}: their terms are guesses; "
            "measure more of them."
        )
    if found.calibration is not None:
        poor = [group.name for group in groups if group.pooled and not group.rows]
        if poor:
            notes.append(f"Not measured here, the prior's, scaled: {', '.join(poor)}.")
        if found.own:
            notes.append(f"Unknown to the prior, so from their own times: {', '.join(found.own)}.")
    if found.added.call_s <= 0:
        notes.append(
            "The cost of a call is not known: it was not measured, and fewer than "
            f"{LEAST_NETWORKS} clean times of networks with their ops tell it."
        )
    if abs(found.added.launches - 1) > 0.02:
        notes.append(f"Whole networks scaled the launch terms by {found.added.launches:.2f}.")
    return notes


def other_blocks(prior: CostModel | None, lowering: str) -> list[str]:
    """A sentence where the prior is of blocks of another width: its code ran on other vectors."""
    was, is_now = kernels.BLOCKS.get(prior.lowering if prior else ""), kernels.BLOCKS.get(lowering)
    if not was or not is_now or was == is_now:
        return []
    return [
        f"The prior is of blocks of {was} channels, and these Runs are of {is_now}: what was not "
        "measured here is other code's, scaled."
    ]
