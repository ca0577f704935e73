"""Learning curves of trainings as a picture: mean and range over seeds, by epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, UsageError
from nnprof.networks.checkpoint import RECORD, load_record
from nnprof.networks.families import parse_network
from nnprof.profiler.report.pictures import LOOKS, plain_axes, require_ending, write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnprof.types import TrainingRecord

# Of each picture from top to bottom: its axis, what values are multiplied by, and fields of Epoch
# with the set that they are of.
_PANELS = (
    (
        "accuracy (%)",
        100,
        (("validation_accuracy", "validation"), ("training_accuracy", "training")),
    ),
    ("loss", 1, (("validation_loss", "validation"), ("loss", "training"))),
)
_STYLES: Mapping[str, Any] = {"validation": "-", "training": "--"}
_LETTERS = 70  # of a line of the legend
_MARKS = 12  # on a curve, at most


class _Group(NamedTuple):
    """Trainings that only their seeds tell apart; `of` is what they share."""

    of: Mapping[str, Any]
    records: Sequence[TrainingRecord]

    @property
    def epochs(self) -> int:
        return min(len(record.epochs) for record in self.records)


def plot_trainings(folders: Iterable[Path | str], out: Path | str) -> tuple[str, ...]:
    """Draw accuracy (%) and loss of trainings by epoch.

    Trainings of the same network, data set and settings are one curve: the mean of their seeds,
    with a band from the lowest to the highest of them.

    Args:
        folders: of trainings, or folders that hold such folders at any depth.
        out: the picture to write; its ending says how: .svg, .png or .pdf.

    Returns:
        Sentences about what is not in the picture; none where it has everything.

    Raises:
        BadFile: a folder holds no training, or a record is corrupt.
        Unavailable: matplotlib is not installed.
        UsageError: the picture's ending is another, no epoch has ended, or the trainings are of
            more kinds than colours can tell apart.
    """
    out = Path(out)
    require_ending(out)
    found = trainings(folders)
    groups, notes = _grouped(found)
    write_picture(out, lambda figure: _draw(figure, groups))
    return notes


def trainings(folders: Iterable[Path | str]) -> dict[Path, TrainingRecord]:
    """The record of each training in or below the folders."""
    found: dict[Path, TrainingRecord] = {}
    for folder in map(Path, folders):
        paths = sorted(path.parent for path in folder.rglob(RECORD))
        if not paths:
            raise BadFile(
                f"'{folder}' holds no training.",
                "Give a folder that 'nnprof train NETWORK --out FOLDER' wrote.",
            )
        found.update({path.resolve(): load_record(path) for path in paths})
    return found


def _grouped(found: Mapping[Path, TrainingRecord]) -> tuple[list[_Group], tuple[str, ...]]:
    """The curves to draw, and what will not be seen."""
    groups: dict[bytes, _Group] = {}
    notes = []
    for folder, record in found.items():
        if not record.finished:
            notes.append(f"'{folder.name}' was cut off after {len(record.epochs)} epochs.")
        if not record.epochs:
            continue
        if any(epoch.loss is None for epoch in record.epochs):
            notes.append(f"'{folder.name}' has epochs without a finite loss: gaps in its curve.")
        of = {"network": _unseeded(record.network), "dataset": record.dataset, **record.settings}
        group = groups.setdefault(msgspec.json.encode(of, order="sorted"), _Group(of, []))
        groups[msgspec.json.encode(of, order="sorted")] = _Group(of, [*group.records, record])
    if not groups:
        raise UsageError("No epoch of these trainings has ended.", "Train with --resume.")
    if len(groups) > len(LOOKS):
        raise UsageError(
            f"{len(groups)} kinds of trainings cannot be told apart in one picture.",
            f"Give at most {len(LOOKS)} at a time.",
        )
    for group in groups.values():
        longest = max(len(record.epochs) for record in group.records)
        if longest > group.epochs:
            notes.append(
                f"Seeds of '{group.of['network']}' ended after {group.epochs} to {longest} epochs: "
                f"the curve ends after {group.epochs}, where each of them has a value."
            )
    return list(groups.values()), tuple(notes)


def _unseeded(network: str) -> str:
    """The notation without its seed, which is all that tells trainings of one curve apart."""
    return msgspec.structs.replace(parse_network(network), seed=0).notation


def _labels(groups: Sequence[_Group]) -> list[str]:
    """What tells each curve from the others, and how many seeds it has."""
    keys = list(dict.fromkeys(key for group in groups for key in group.of))
    differ = [key for key in keys if len({repr(group.of.get(key)) for group in groups}) > 1]
    named = []
    for group in groups:
        words = [
            str(group.of[key]) if key in ("network", "dataset") else f"{key} {group.of.get(key)}"
            for key in differ or ("network", "dataset")
        ]
        seeds = len(group.records)
        text = f"{', '.join(words)} ({seeds} seed{'s' if seeds > 1 else ''})"
        named.append(textwrap.fill(text, _LETTERS))
    return named


def _draw(figure: Figure, groups: Sequence[_Group]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    told = [panel for panel in _PANELS if _any(groups, panel[2])]
    if not told:
        raise UsageError("No epoch has a finite loss.", "Train with a smaller --learning-rate.")
    panels = figure.subplots(len(told), 1, sharex=True, squeeze=False)[:, 0]
    styles = set()
    for axes, (name, scale, fields) in zip(panels, told, strict=True):
        axes.set_ylabel(name)
        plain_axes(axes)
        for field, of in fields:
            for group, look in zip(groups, LOOKS, strict=False):
                if _curve(axes, group, field, scale, (*look, _STYLES[of])):
                    styles.add(of)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [
        Line2D([], [], color=colour, marker=mark, label=label)
        for label, (colour, mark) in zip(_labels(groups), LOOKS, strict=False)
    ]
    handles += [
        Line2D([], [], color="0.4", linestyle=style, label=of)
        for of, style in _STYLES.items()
        if of in styles
    ]
    title = "mean of the seeds; band: lowest to highest"
    several = any(len(group.records) > 1 for group in groups)
    figure.legend(
        handles=handles, title=title if several else None, loc="outside lower center", fontsize=8
    )


def _any(groups: Sequence[_Group], fields: Sequence[tuple[str, str]]) -> bool:
    """Whether any training has any of the fields: networks whose targets are values lack some."""
    return any(not np.isnan(_values(group, field)).all() for group in groups for field, _ in fields)


def _values(group: _Group, field: str) -> NDArray[np.float64]:
    """One field of Epoch by seed and epoch; nan, a gap in the curve, where a record lacks it."""
    told = [
        [msgspec.structs.asdict(epoch)[field] for epoch in record.epochs[: group.epochs]]
        for record in group.records
    ]
    return np.array(told, dtype=np.float64)


def _curve(axes: Axes, group: _Group, field: str, scale: float, look: tuple[str, str, str]) -> bool:
    """Mean and band of one field by epoch; False where the records lack the field."""
    values = _values(group, field) * scale
    if np.isnan(values).all():
        return False
    colour, mark, style = look
    at = np.arange(1, group.epochs + 1)
    every = -(-group.epochs // _MARKS)
    axes.plot(
        at, values.mean(axis=0), color=colour, linestyle=style, marker=mark,
        markevery=every, markersize=4, linewidth=1.3,
    )  # fmt: skip
    axes.fill_between(
        at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
    )
    return True
