"""Sentences that a reader of a fitted model must see."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler.costmodel import (
    fit,
    kernels,
)
from nnprof.profiler.costmodel.model import (
    CostModel,
    Group,
    Whole,
)
from nnprof.profiler.costmodel.terms import Found
from nnprof.profiler.costmodel.whole import LEAST_NETWORKS

# A model is marked where what it was not fitted on is predicted farther off than this.
_NETWORKS_OFF = 0.10  # whole networks, on average
_GROUP_OFF, _GROUP_SHARE = 0.25, 0.10  # a group, on average, that takes so much of the time
_HOPELESS = 0.50  # half of the whole networks: no number deserves trust
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


def marked(made: CostModel, shapeless: float = 0.0) -> CostModel:
    """The model with its `doubt`, where it is far off on what it was not fitted on.

    Args:
        made: the model.
        shapeless: share of the measured time that is in no term, as its ops have no shapes.

    Raises:
        UsageError: half of the networks that were left out are predicted wrong by more than half.
    """
    whole = made.network
    off = whole.median or 0.0
    if off > _HOPELESS and whole.networks >= LEAST_NETWORKS:
        raise UsageError(
            f"No number of this model would deserve trust: half of the {whole.networks} networks "
            f"that it was held against ({whole.how}) are predicted more than {_percent(off)} off.",
            "Measure again where nothing else runs, or more networks like those that matter.",
        )
    parts = (*_networks_off(whole), *_groups_off(made), *_lost(shapeless))
    return replace(made, doubt=f"Known to be far off: {'; '.join(parts)}." if parts else "")


def _networks_off(whole: Whole) -> list[str]:
    if (whole.error or 0.0) <= _NETWORKS_OFF:
        return []
    noise = f", noise of repeats {_percent(whole.noise)}" if whole.noise is not None else ""
    return [
        f"whole networks by {_percent(whole.error)} on average "
        f"({whole.networks}, {whole.how}{noise})"
    ]


def _groups_off(made: CostModel) -> list[str]:
    """The groups that matter, each with its share of the time and its error."""
    found = []
    for group in made.groups:
        share = sum(term.share or 0.0 for term in made.terms_of(group.name))
        if share > _GROUP_SHARE and (group.error or 0.0) > _GROUP_OFF:
            shape = f"shapes of {group.name} ({_percent(share)} of the time)"
            found.append(f"{shape} by {_percent(group.error)}")
    return found


def _lost(share: float) -> list[str]:
    """What no prediction has, where it is more than a group that matters."""
    if share <= _GROUP_SHARE:
        return []
    return [f"{_percent(share)} of the time is of ops without shapes, and in no prediction"]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
