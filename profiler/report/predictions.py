"""Predictions of trained networks against the values that came, as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnprof.errors import UsageError
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.folders import records_of
from nnprof.profiler.report.pictures import LOOKS, plain_axes, require_ending, write_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnprof.networks.predictions import Foretold

_SIZE = 7.5, 6.5  # inches
_LETTERS = 80  # of a line of the legend
_TODAY = "tomorrow = today"
_TRUE_COLOUR, _TODAY_COLOUR = "#000000", "0.5"
_COLOURS = [colour for colour, _ in LOOKS if colour != _TRUE_COLOUR]


def plot_predictions(folders: Iterable[Path | str], out: Path | str) -> tuple[str, ...]:
    """Draw what networks foretell on the test set of one data set, and what came.

    Above the values in the units of the file, by date where there are dates; below each prediction
    less the value that came. The legend has the root of the mean square of these differences
    (RMSE), and that of the forecast "tomorrow = today": a network not below it is of no use.

    Args:
        folders: of trainings, or folders that hold such folders at any depth.
        out: the picture to write; its ending says how: .svg, .png or .pdf.

    Returns:
        A sentence for each network, with its RMSE; and what is wrong with the trainings.

    Raises:
        BadFile: a folder holds no trained network.
        Unavailable: matplotlib, torch or the data set is not here.
        UsageError: the picture's ending is another, the trainings are of several data sets or too
            many, or what they give is classes.
    """
    from nnprof.networks.predictions import foretell

    out = Path(out)
    require_ending(out)
    found = records_of(folders)
    if len(found) > len(_COLOURS):
        raise UsageError(
            f"{len(found)} networks cannot be told apart in one picture.",
            f"Give at most {len(_COLOURS)} at a time.",
        )
    foretold = foretell(list(found))
    networks = [record.network for record in found.values()]
    named = [": ".join(pair) for pair in zip(networks, _judged(foretold), strict=True)]
    write_picture(out, lambda figure: _draw(figure, foretold, named), _SIZE)
    cut = [
        f"'{folder.name}' was cut off after {len(record.epochs)} epochs."
        for folder, record in found.items()
        if not record.finished
    ]
    return (*cut, *(f"{line}." for line in named))


def _judged(foretold: Foretold) -> list[str]:
    """The RMSE of each network, and how it stands to that of "tomorrow = today"."""
    from nnprof.networks.predictions import rmse

    said = []
    for given in foretold.networks:
        error = rmse(given, foretold.true)
        text = f"RMSE {digits(error, 3)}"
        if foretold.today is not None:
            known = rmse(foretold.today, foretold.true)
            times = f"{digits(error / known, 3)} times" if known else "beside"
            verdict = "better" if error < known else "no better"
            text += f", {times} that of {_TODAY}: {verdict}"
        said.append(text)
    return said


def _draw(figure: Figure, foretold: Foretold, named: list[str]) -> None:
    from nnprof.networks.predictions import rmse

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    at: Any = range(len(foretold.true)) if foretold.dates is None else foretold.dates
    drawn = []
    if foretold.today is not None:
        error = digits(rmse(foretold.today, foretold.true), 3)
        label = f"{_TODAY}: RMSE {error}"
        look = {"color": _TODAY_COLOUR, "linewidth": 0.9}
        drawn.append((foretold.today, label, look))
    drawn += [
        (given, textwrap.fill(name, _LETTERS), {"color": colour, "linewidth": 1.1})
        for given, name, colour in zip(foretold.networks, named, _COLOURS, strict=False)
    ]
    above.plot(at, foretold.true, color=_TRUE_COLOUR, linewidth=1.3, label="what came", zorder=3)
    for given, label, look in drawn:
        if given is not foretold.today:  # above it would hide what came
            above.plot(at, given, **look)
        below.plot(at, given - foretold.true, label=label, **look)
    below.axhline(0, color=_TRUE_COLOUR, linewidth=0.8)
    above.set_ylabel(foretold.what or "value")
    below.set_ylabel("foretold − came")
    below.set_xlabel("number in the test set" if foretold.dates is None else "")
    for axes in (above, below):
        plain_axes(axes)
    figure.suptitle(f"test set of {foretold.dataset}, in its own units", fontsize=9, wrap=True)
    handles = [*above.get_legend_handles_labels()[0], *below.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", fontsize=8)
