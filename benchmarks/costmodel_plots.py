"""Plots of the evaluation as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from costmodel_models import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nnprof.profiler.costmodel import features, sets
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.rows import Rows

DPI = 110
_SHOWN = ("frozen", "2016-rel", "A1", "forest", "forest-raw", "boosting")
_CURVES = {"ours": "C0", "A1": "C9", "2016-rel": "C1", "forest": "C2", "forest-raw": "C8",
           "boosting": "C3", "2016": "C7"}  # fmt: skip
_BAND = 0.10
_TOP = 3.0  # of learning curves
_APART = 1.25


def _figure(wide: float, high: float) -> Figure:
    mpl.use("Agg")
    return Figure(figsize=(wide, high), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
    print(f"{path} ({path.stat().st_size / 1e3:.0f} kB)")


def predicted(sets: Mapping[str, Mapping[str, Array]], path: Path) -> None:
    """Seconds of networks, one panel per model, one colour per set; the band is ±10 %."""
    figure = _figure(9, 6)
    every = np.concatenate([one["measured"] for one in sets.values()]) * 1e3
    ends = np.array([every.min() / 1.5, every.max() * 1.5])
    for place, model in enumerate(_SHOWN):
        axes = figure.add_subplot(2, 3, place + 1)
        axes.fill_between(ends, ends * (1 - _BAND), ends * (1 + _BAND), color="0.85", lw=0)
        axes.plot(ends, ends, color="0.5", lw=0.8)
        for index, (name, points) in enumerate(sets.items()):
            axes.plot(
                points["measured"] * 1e3, np.clip(points[model] * 1e3, *ends), "ox^s"[index % 4],
                ms=3.5, mfc="none", color=f"C{index}", label=name,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, title=model)
        axes.set_aspect("equal")
        if place >= 3:
            axes.set_xlabel("measured, ms per inference")
        if place % 3 == 0:
            axes.set_ylabel("predicted, ms")
    figure.axes[0].legend(fontsize=8, loc="upper left", frameon=False)
    _save(figure, path)


def residuals(rows: Rows, fitted: Mapping[str, Fitted], path: Path) -> None:
    """Relative error of ops that were not fitted, by the term that is the largest in each.

    More than 100 % is drawn at 100 %.
    """
    groups = [
        name for name in fitted if sets.kind_of(name) != "view" and (rows.groups == name).any()
    ]
    columns = 3
    lines = -(-len(groups) // columns)
    figure = _figure(9, 2.6 * lines)
    for place, name in enumerate(groups):
        axes = figure.add_subplot(lines, columns, place + 1)
        _group_residuals(axes, rows.only(rows.groups == name), fitted[name])
        axes.set_title(name, fontsize=10)
        if place % columns == 0:
            axes.set_ylabel("predicted / measured - 1")
        if place >= len(groups) - columns:
            axes.set_xlabel("measured, µs")
    _save(figure, path)


def _group_residuals(axes: Axes, mine: Rows, one: Fitted) -> None:
    parts = features.matrix(one.names, mine.columns) * one.coefficients
    off = parts.sum(axis=1) / mine.seconds - 1
    largest = parts.argmax(axis=1)
    axes.axhspan(-_BAND, _BAND, color="0.88", lw=0)
    axes.axhline(0, color="0.5", lw=0.8)
    for index in np.unique(largest):
        at = largest == index
        axes.plot(mine.seconds[at] * 1e6, np.clip(off[at], -1, 1), "os^Dv<>"[index % 7], ms=4,
                  mfc="none", color=f"C{index % 10}", label=one.names[index])  # fmt: skip
    axes.set(xscale="log", ylim=(-1.08, 1.9), yticks=(-1, -0.5, 0, 0.5, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(
        fontsize=6.5, loc="upper left", ncols=2, frameon=False, columnspacing=0.6, handletextpad=0
    )


def _apart(counts: Sequence[int]) -> list[str]:
    """Labels of ticks; none where it would touch the one before."""
    labels, last = [], 0
    for count in counts:
        near = count < _APART * last
        labels.append("" if near else str(count))
        last = last if near else count
    return labels


def learning(panels: Sequence[tuple[str, Mapping[str, Mapping], str]], path: Path) -> None:
    """MAPE by the number of measurements; a panel is a title, a curve and "ops" or "networks"."""
    figure = _figure(9, 3.0 * -(-len(panels) // 3))
    for place, (title, curve, part) in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // 3), 3, place + 1)
        counts = [int(count) for count in curve]
        for model, colour in _CURVES.items():
            if model not in next(iter(curve.values())):  # nobody timed the ops of these
                continue
            values = [min(one[model][part]["mape"], _TOP) for one in curve.values()]
            axes.plot(counts, values, "o-", ms=3, lw=2 if model == "ours" else 1, color=colour,
                      label=model)  # fmt: skip
        axes.set(xscale="log", yscale="log", ylim=(0.015, _TOP))
        axes.set_xticks([], minor=True)
        axes.set_xticks(counts, _apart(counts), fontsize=7)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_title(title, fontsize=10)
        if place % 3 == 0:
            axes.set_ylabel(f"MAPE, at most {_TOP:.0%} drawn")
        if place >= len(panels) - 3:
            axes.set_xlabel("measurements")
    figure.axes[0].legend(fontsize=7, ncols=2, frameon=False)
    _save(figure, path)
