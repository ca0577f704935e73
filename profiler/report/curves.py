"""Learning curves of trainings as a picture: mean and range over seeds, by epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler.report.folders import changes, missing, name_of, records_of
from nnprof.profiler.report.limits import Limits, limits
from nnprof.profiler.report.pictures import (
    LOOKS,
    MOST_LINES,
    STYLES,
    columns_of,
    plain_axes,
    require_ending,
    write_picture,
)
from nnprof.text import plain

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
_SMALL_LETTERS = 100  # of a line above a panel
_WIDE = 1000  # from the smallest to the largest loss: beyond that the axis is logarithmic
_MARKS = 12  # on a curve, at most


class _Group(NamedTuple):
    """Trainings that only their seeds tell apart; `of` is what they share."""

    of: Mapping[str, Any]
    records: Sequence[TrainingRecord]

    @property
    def epochs(self) -> int:
        return min(len(record.epochs) for record in self.records)


class _Panel(NamedTuple):
    """A y-axis: its name, what values are multiplied by, fields of Epoch with their set."""

    name: str
    scale: float
    fields: Sequence[tuple[str, str]]
    limits: Limits | None


def plot_trainings(
    folders: Iterable[Path | str],
    out: Path | str,
    *,
    of: Sequence[str] = (),
    cells: Sequence[str] = (),
) -> tuple[str, ...]:
    """Draw accuracy (%) and loss of trainings by epoch.

    Trainings of the same cell of a study, or else of the same network, data set and settings, are
    one curve: the mean of their seeds, with a band from the lowest to the highest of them.

    Args:
        folders: of trainings, or folders that hold such folders at any depth.
        out: the picture to write; its ending says how: .svg, .png or .pdf.
        of: "validation", "training" or both; where it is empty both, of many curves validation.
        cells: names of cells, `*` and `?` in them as in a shell's; all where it is empty.

    Returns:
        Sentences about what is not in the picture; none where it has everything.

    Raises:
        BadFile: a folder holds no training, or a record is corrupt.
        Unavailable: matplotlib is not installed.
        UsageError: the picture's ending is another, no epoch has ended, or the trainings are of
            more kinds than colours can tell apart.
    """
    out, folders = Path(out), list(folders)
    require_ending(out)
    found = records_of(folders, cells)
    groups, notes = _grouped(found)
    sets, left = _sets(of, len(groups))
    panels = _panels(groups, sets)
    differs = changes(folders)
    write_picture(out, lambda figure: _draw(figure, groups, panels, sets, differs), _size(groups))
    left += [f"{one.name}, {one.limits.outside}." for one in panels if one.limits]
    return (*notes, *left, *missing(folders, found, cells))


def _sets(of: Sequence[str], curves: int) -> tuple[tuple[str, ...], list[str]]:
    """The sets whose curves are drawn: one where there are many; and a sentence about the other."""
    for word in of:
        if word not in _STYLES:
            raise UsageError(f"'{word}' has no curve.", f"Curves: {', '.join(_STYLES)}.")
    sets = tuple(of or _STYLES)
    if len(sets) == 1 or curves <= len(LOOKS):
        return sets, []
    other = f"--of {sets[1]} draws the others."
    return sets[:1], [f"{curves} curves: only those of {sets[0]}; {other}"]


def _grouped(found: Mapping[Path, TrainingRecord]) -> tuple[list[_Group], tuple[str, ...]]:
    """The curves to draw, and what will not be seen."""
    groups: dict[bytes, _Group] = {}
    notes = []
    for folder, record in found.items():
        name = name_of(folder, record)
        if not record.finished:
            notes.append(f"'{name}' was cut off after {len(record.epochs)} epochs.")
        if not record.epochs:
            continue
        if any(epoch.loss is None for epoch in record.epochs):
            notes.append(f"'{name}' has epochs without a finite loss: gaps in its curve.")
        of = {
            "cell": record.cell,
            "network": _unseeded(record.network),
            "dataset": record.dataset,
            **record.settings,
        }
        group = groups.setdefault(msgspec.json.encode(of, order="sorted"), _Group(of, []))
        groups[msgspec.json.encode(of, order="sorted")] = _Group(of, [*group.records, record])
    if not groups:
        raise UsageError("No epoch of these trainings has ended.", "Train with --resume.")
    if len(groups) > MOST_LINES:
        raise UsageError(
            f"{len(groups)} kinds of trainings cannot be told apart in one picture.",
            f"Give at most {MOST_LINES} at a time; of a study choose cells: --cell NAME,NAME.",
        )
    return list(groups.values()), (*notes, *_shortened(groups.values()))


def _shortened(groups: Iterable[_Group]) -> Iterator[str]:
    """What is not drawn of trainings that ended later than another seed."""
    for group in groups:
        longest = max(len(record.epochs) for record in group.records)
        if longest > group.epochs:
            yield (
                f"Seeds of '{group.of['cell'] or group.of['network']}' ended after {group.epochs} "
                f"to {longest} epochs: the curve ends after {group.epochs}, where each of them has "
                "a value."
            )


def _unseeded(network: str) -> str:
    """The notation without its seed, which is all that tells trainings of one curve apart."""
    return msgspec.structs.replace(parse_network(network), seed=0).notation


def _labels(groups: Sequence[_Group]) -> list[str]:
    """What each curve is, and how many seeds it has, in lines of a legend."""
    texts = []
    for name, group in zip(_names(groups), groups, strict=True):
        seeds = len(group.records)
        texts.append(textwrap.fill(f"{name} ({seeds} seed{'s' if seeds > 1 else ''})", _LETTERS))
    return texts


def _names(groups: Sequence[_Group]) -> list[str]:
    """What tells each curve from the others.

    That is the cell's name, and of a cell that was trained in several ways what else differs.
    """
    named = []
    for group in groups:
        cell = group.of["cell"]
        same = [one for one in groups if one.of["cell"] == cell]
        words = [cell] if cell else []
        words += _differing(group, same if all(one.of["cell"] for one in groups) else groups)
        named.append(", ".join(words))
    return named


def _differing(group: _Group, among: Sequence[_Group]) -> list[str]:
    """In words, what tells it from the others, the cell aside; without others of no cell, all."""
    keys = dict.fromkeys(key for one in among for key in one.of if key != "cell")
    differ = [key for key in keys if len({repr(one.of.get(key)) for one in among}) > 1]
    if not differ and not group.of["cell"]:
        differ = ["network", "dataset"]
    return [
        str(group.of[key]) if key in ("network", "dataset") else f"{key} {group.of.get(key)}"
        for key in differ
    ]


def _size(groups: Sequence[_Group]) -> tuple[float, float]:
    """Inches: a legend of many curves needs a place of its own."""
    return (6.3, 6.5 if len(groups) <= len(LOOKS) else 8.0)


def _panels(groups: Sequence[_Group], sets: Sequence[str]) -> list[_Panel]:
    """Those of which the trainings have values.

    Raises:
        UsageError: there is none.
    """
    panels = []
    for name, scale, every in _PANELS:
        fields = [one for one in every if one[1] in sets]
        curves = {
            f"{label}{f' in {of}' if len(sets) > 1 else ''}": _mean(group, field) * scale
            for field, of in fields
            for label, group in zip(_names(groups), groups, strict=True)
        }
        if all(np.isnan(values).all() for values in curves.values()):
            continue
        ends = limits(curves, " %" if "%" in name else "")
        panels.append(_Panel(name if len(sets) > 1 else f"{sets[0]} {name}", scale, fields, ends))
    if not panels:
        raise UsageError("No epoch has a finite loss.", "Train with a smaller --learning-rate.")
    return panels


def _draw(
    figure: Figure, groups: Sequence[_Group], panels: Sequence[_Panel], sets: Sequence[str],
    changed: Sequence[str],
) -> None:  # fmt: skip
    from matplotlib.ticker import MaxNLocator

    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    styles = set()
    for axes, panel in zip(grid, panels, strict=True):
        axes.set_ylabel(panel.name)
        plain_axes(axes)
        for field, of in panel.fields:
            for at, group in enumerate(groups):
                look = (*LOOKS[at % len(LOOKS)], _style(at, of, sets))
                if _curve(axes, group, field, panel.scale, look):
                    styles.add(of)
        _scale(axes, groups, panel)
    grid[-1].set_xlabel("epoch")
    grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if changed:
        text = plain("; ".join(changed))
        figure.suptitle(textwrap.fill(text, _SMALL_LETTERS), fontsize=8)
    _legend(figure, groups, sets, styles)


def _scale(axes: Axes, groups: Sequence[_Group], panel: _Panel) -> None:
    """The y-axis: its limits, with what lies beyond; logarithmic where losses explode."""
    if panel.limits:
        axes.set_ylim(panel.limits.low, panel.limits.high)
        text = textwrap.fill(plain(panel.limits.outside), _SMALL_LETTERS)
        axes.set_title(text, fontsize=7, color="0.3", loc="left")
        return
    told = np.concatenate([_mean(group, field) for field, _ in panel.fields for group in groups])
    told = told[told > 0]
    if panel.scale == 1 and told.size and told.max() > _WIDE * told.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _legend(
    figure: Figure, groups: Sequence[_Group], sets: Sequence[str], styles: Collection[str]
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=LOOKS[at % len(LOOKS)][0], marker=LOOKS[at % len(LOOKS)][1],
               linestyle=_style(at, sets[0], sets), markersize=4, label=label)
        for at, label in enumerate(_labels(groups))
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="0.4", linestyle=style, label=of)
        for of, style in _STYLES.items()
        if of in styles and len(sets) > 1
    ]
    title = "mean of the seeds; band: lowest to highest"
    several = any(len(group.records) > 1 for group in groups)
    figure.legend(
        handles=handles, title=title if several else None, loc="outside lower center", fontsize=8,
        title_fontsize=8, ncols=columns_of([str(one.get_label()) for one in handles]),
        handlelength=3,
    )  # fmt: skip


def _style(at: int, of: str, sets: Sequence[str]) -> Any:
    """Of two sets the style says which; of one, which of two curves of a colour."""
    return _STYLES[of] if len(sets) > 1 else STYLES[at // len(LOOKS)]


def _mean(group: _Group, field: str) -> NDArray[np.float64]:
    """The mean over the seeds by epoch, as it is drawn."""
    found: NDArray[np.float64] = _values(group, field).mean(axis=0)
    return found


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
