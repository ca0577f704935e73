"""A column of a CSV file in the course of time, cut into windows: each foretells the next value.

Follows Gil (KTH): windows of 60 days, min-max scaling. Ours: the scale is of the part to train with
only; `until` is the first year to test on; the first windows to test on reach back into the part to
train with, so that every day from that year on is foretold.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UnknownName, UsageError
from nnprof.files import foreign, read
from nnprof.networks.data import names
from nnprof.networks.datasets import DATA_VARIABLE, Dataset, Series, folders

APPLE_FILES = ("AAPL_2007_2021.csv", "AAPL.csv")
APPLE_YEARS = 2007, 2021  # first and last, of Gil
_MOST = 1 << 28  # bytes of a CSV file


def aapl(column: str = "High", window: int = 60, until: int = 2020) -> Dataset:
    """Apple's prices of 2007 to 2021, in dollars: see `prices`.

    Raises:
        Unavailable: no AAPL.csv is here; nothing is downloaded.
    """
    every = folders("aapl")
    found = [folder / file for folder in every for file in APPLE_FILES if (folder / file).is_file()]
    if not found:
        raise Unavailable(
            "The data set 'aapl' is not here, and is not downloaded.",
            f"Put AAPL.csv, with columns Date and {column}, into '{every[-1]}' or "
            f"${DATA_VARIABLE}/aapl, or use prices:FILE.csv.",
        )
    values = _column(found[0], column)
    first, last = APPLE_YEARS
    values = values[(_years(values) >= first) & (_years(values) <= last)]
    arguments: dict[str, names.Argument] = {"column": column, "window": window, "until": until}
    return _windowed(values, found[0], names.text_of("aapl", arguments), window, until)


def prices(file: str, column: str = "Close", window: int = 60, until: int = 0) -> Dataset:
    """Windows (N, window, 1) of a column, each with the value behind it (N, 1), scaled to 0…1.

    Values before the year `until` are to train with, those from it on to test; 0 stands for the
    last year in the file. The file has a header, and dates in a column Date, or else in its first.

    Raises:
        Unavailable: the file is not here.
        BadFile: it is no such table, or has no number somewhere in the column.
        UnknownName: it has no such column.
        UsageError: too few values for a window are before or after the beginning of `until`.
    """
    values = _column(Path(file), column)
    until = until or int(_years(values)[-1])
    arguments: dict[str, names.Argument] = {
        "file": file,
        "column": column,
        "window": window,
        "until": until,
    }
    return _windowed(values, Path(file), names.text_of("prices", arguments), window, until)


def _column(path: Path, column: str) -> pd.Series[float]:
    """The values of a column by their dates, earliest first."""
    remedy = "Give the path of a CSV file with a header."
    if not path.exists():
        raise Unavailable(f"'{path}' is not here.", remedy)
    data = read(path, _MOST, remedy)
    with foreign(f"'{path}' is no CSV file", "Give a CSV file with a header."):
        table = pd.read_csv(io.BytesIO(data))
    if column not in table.columns:
        raise UnknownName("column", column, map(str, table.columns))
    dates = "Date" if "Date" in table.columns else str(table.columns[0])
    with foreign(f"The column '{dates}' of '{path}' has something that is no date"):
        # As text: a number would be read as nanoseconds since 1970.
        index = pd.DatetimeIndex(pd.to_datetime(table[dates].astype(str))).tz_localize(None)
    values = pd.Series(
        pd.to_numeric(table[column], errors="coerce").to_numpy(float), index, name=column
    )
    wrong = ~np.isfinite(values.to_numpy()) | index.isna()
    if wrong.any() or not len(values):
        where = f", the first in row {int(wrong.argmax()) + 1}" if wrong.any() else ""
        raise BadFile(
            f"Of {len(values)} rows, '{path}' has {int(wrong.sum())} without a date or a number in "
            f"'{column}'{where}.",
            "Remove those rows, or fill them.",
        )
    ordered: pd.Series[float] = values.sort_index(kind="stable")
    return ordered


def _years(values: pd.Series[float]) -> NDArray[np.int64]:
    return np.asarray(pd.DatetimeIndex(values.index).year, np.int64)


def _windowed(values: pd.Series[float], path: Path, name: str, window: int, until: int) -> Dataset:
    first = int((_years(values) < until).sum())
    if window < 1 or first <= window or first == len(values):
        raise UsageError(
            f"'{path}' has {first} values before {until} and {len(values) - first} from then on, "
            f"which do not do for windows of {window}.",
            "Choose another year with until=YEAR, or a shorter window=COUNT.",
        )
    numbers = values.to_numpy()
    low, high = float(numbers[:first].min()), float(numbers[:first].max())
    if low == high:
        raise UsageError(f"All values of '{path}' before {until} are {low:g}: nothing to learn.")
    scaled = ((numbers - low) / (high - low)).astype(np.float32)
    train, test = windows(scaled[:first], window), windows(scaled[first - window :], window)
    dates = values.index[first:].to_numpy()
    series = Series(str(values.name), low, high, dates)
    return Dataset(name, *train, *test, task="values", series=series)


def windows(
    values: NDArray[np.float32], window: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All windows (N, window, 1) that have a value behind them, and those values (N, 1)."""
    every = np.lib.stride_tricks.sliding_window_view(values, window)[:-1]
    return every[..., np.newaxis].copy(), values[window:, np.newaxis].copy()
