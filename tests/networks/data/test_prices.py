"""Prices: windows, their scale, the year that parts them, and files with holes."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import NnprofError, Unavailable
from nnprof.networks import datasets
from nnprof.networks.data.prices import windows


def table(folder: Path, values: list[object], first: str = "2019-12-25") -> Path:
    """A CSV file with these values, one a day, latest first."""
    path = folder / "some prices.csv"
    days = np.datetime64(first) + np.arange(len(values))
    lines = [f"{day},{value},7" for day, value in zip(days, values, strict=True)]
    path.write_text("\n".join(["Date,Close,Volume", *reversed(lines)]), encoding="utf-8")
    return path


@given(st.integers(1, 20), st.integers(1, 20))
def test_each_window_is_followed_by_its_target(window: int, more: int) -> None:
    """Window i has the values i … i+window-1, its target is value i+window; none is left out."""
    values = np.arange(window + more, dtype=np.float32)
    inputs, targets = windows(values, window)
    assert inputs.shape == (more, window, 1)
    for number in range(more):
        assert inputs[number, :, 0].tolist() == [*range(number, number + window)]
        assert targets[number].tolist() == [number + window]


def test_the_scale_knows_the_training_part_only(tmp_path: Path) -> None:
    """Seven days of 2019 give 0…1; what comes later may lie beyond, and is turned back."""
    path = table(tmp_path, [10, 12, 14, 16, 18, 20, 11, 30, 5])
    data = datasets.load(f"prices(file={path}, window=3, until=2020)")
    assert data.train_inputs.shape == (4, 3, 1)
    assert data.train_inputs[0, :, 0] == pytest.approx([0, 0.2, 0.4])
    assert data.test_inputs[0, :, 0] == pytest.approx([0.8, 1, 0.1])  # reaches back into 2019
    assert data.test_targets[:, 0] == pytest.approx([2, -0.5])
    assert data.series is not None
    assert data.series.unscaled(data.test_targets)[:, 0] == pytest.approx([30, 5])
    days = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")
    assert (data.series.test_dates == days).all()
    assert (data.task, data.classes, data.outputs) == ("values", 0, 1)


def test_the_last_year_is_tested_where_none_is_named(tmp_path: Path) -> None:
    """The recorded name has the year that was found, and reads the same data again."""
    path = table(tmp_path, [*range(70)], "2019-10-30")
    data = datasets.load(f"prices:{path}")
    assert data.name == f"prices(file={path}, column=Close, window=60, until=2020)"
    assert (datasets.load(data.name).test_inputs == data.test_inputs).all()


@pytest.mark.parametrize(
    ("values", "arguments", "says"),
    [
        ([*range(9)], "window=3, column=Open", "Unknown column 'Open'.*Close"),
        ([*range(9)], "window=7", "7 values before 2020 and 2 from then on"),
        ([*range(9)], "window=0", "windows of 0"),
        ([*range(9)], "window=3, until=2025", "9 values before 2025 and 0"),
        ([*range(5), "x", "", *range(3)], "window=3", "Of 10 rows.* 2 without .*first in row 4"),
        ([5] * 9, "window=3", "nothing to learn"),
        ([], "window=3", "Of 0 rows"),
    ],
)
def test_what_gives_no_windows_is_refused(
    tmp_path: Path, values: list[object], arguments: str, says: str
) -> None:
    """Holes, unknown columns, and parts that are too short are one sentence each."""
    path = table(tmp_path, values)
    with pytest.raises(NnprofError, match=says) as caught:
        datasets.load(f"prices(file={path}, {arguments})")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("days", "last"),
    [
        ("201912{}", "20200101"),
        ("2019-12-{} 00:00:00-05:00", "2020-01-01 00:00:00-05:00"),
        ("Dec {} 2019", "Jan 01 2020"),
    ],
)
def test_dates_are_read_as_their_file_writes_them(tmp_path: Path, days: str, last: str) -> None:
    """Dates without dashes, with a time zone, or with a month's name are the same days."""
    path = tmp_path / "days.csv"
    lines = [*(f"{days.format(day)},{day}" for day in range(10, 32)), f"{last},32"]
    path.write_text("\n".join(["when,Close", *lines]), encoding="utf-8")
    data = datasets.load(f"prices(file={path}, window=3)")
    assert len(data.train_targets) == 19
    assert data.series is not None
    assert data.series.test_dates.astype("datetime64[D]").tolist() == [date(2020, 1, 1)]


@pytest.mark.parametrize("text", ["", "\0\0", "a,b\nno day,1", "Date\n2020-01-01,1,2\n3"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no table of dates and numbers is named."""
    path = tmp_path / "odd.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NnprofError, match=r"odd\.csv|Unknown column") as caught:
        datasets.load(f"prices(file={path}, column=b)")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a user's file nor Apple's is made up."""
    monkeypatch.setenv("NNPROF_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"none\.csv' is not here"):
        datasets.load(f"prices:{tmp_path / 'none.csv'}")
    with pytest.raises(Unavailable, match=r"AAPL\.csv.*prices:FILE\.csv"):
        datasets.load("aapl")


def test_apple_is_cut_to_the_years_of_the_study(data_folder: Path | None) -> None:
    """3,777 days of 2007 to 2021: 3,272 before 2020, of which 60 have no window before them."""
    if data_folder is None or not (data_folder / "aapl").is_dir():
        pytest.skip("NNPROF_DATA names no folder with aapl")
    data = datasets.load("aapl")
    assert data.name == "aapl(column=High, window=60, until=2020)"
    assert data.train_inputs.shape == (3212, 60, 1)
    assert data.test_inputs.shape == (505, 60, 1)
