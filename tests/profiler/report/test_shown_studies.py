"""The list of studies as printed."""

from __future__ import annotations

import pytest

from nnprof.networks.studies.study import find
from nnprof.profiler.listed import Listed
from nnprof.profiler.report.forms import TABLE
from nnprof.profiler.report.shown_studies import print_studies


@pytest.mark.parametrize(
    ("seconds", "says"), [(None, "torch is missing"), (60.0, "Times are guesses")]
)
def test_times_are_guesses_or_it_is_said_why_there_are_none(
    capsys: pytest.CaptureFixture[str], seconds: float | None, says: str
) -> None:
    """A "?" never stands there without its reason."""
    print_studies((Listed(find("table2"), seconds, seconds),), TABLE)
    text = " ".join(capsys.readouterr().out.split())
    assert says in text
    assert ("3: ?" in text) == (seconds is None)
