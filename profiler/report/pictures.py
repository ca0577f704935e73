"""What all pictures share: colours, marks, endings, and the way to a file.

Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart; marks and line
styles repeat what colours say, for print in grey. The same values give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnprof.errors import Unavailable, UsageError
from nnprof.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
# Okabe-Ito without its yellow, which is faint on white paper.
LOOKS = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#000000", "v"),
    ("#E69F00", "P"),
    ("#56B4E9", "X"),
)
STYLES = ("-", "--")  # of the first lines, and of those that have the same colours again
MOST_LINES = len(LOOKS) * len(STYLES)
_DPI = 150
_WIDTH = 96  # letters beside each other in a legend below a picture


def require_ending(out: Path) -> None:
    """Refuse a picture of another kind before anything is computed.

    Raises:
        UsageError: its ending is none of FORMATS.
    """
    if out.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{word}" for word in FORMATS)
        raise UsageError(f"'{out}' has no known ending.", f"End it with one of {known}.")


def write_picture(
    out: Path, draw: Callable[[Figure], None], size: tuple[float, float] = (6.3, 6.5)
) -> None:
    """Let `draw` fill a figure of so many inches, and write it as its ending says.

    Raises:
        Unavailable: matplotlib is not installed.
        UsageError: the folder cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unavailable(
            "matplotlib is not installed.", "Try: pip install 'nnprof-embedded[plot]'."
        ) from error
    # Names are no formulas, and nothing in the file depends on chance or on the hour.
    settings: dict[Any, Any] = {"text.parse_math": False, "svg.hashsalt": "nnprof"}
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    form, output = out.suffix[1:].lower(), io.BytesIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(output, format=form, dpi=_DPI, metadata=dates[form])
    write_atomically(out, output.getvalue())


def plain_axes(axes: Axes) -> None:
    """A faint grid, and no frame where there is no scale."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def columns_of(labels: Sequence[str]) -> int:
    """Columns of a legend below a picture, so that the labels fit beside each other."""
    longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    return max(1, min(len(labels), _WIDTH // (longest + 8)))
