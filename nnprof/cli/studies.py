"""`nnprof studies`: what there is to train and to time, and about how long it takes here."""

from __future__ import annotations

from typing import Annotated

import nnprof
from nnprof.cli import forms, progress


def studies(
    output: Annotated[str, forms.of_rows("How to print it.")] = forms.TABLE,
) -> None:
    """List the studies: question, figures and tables, trainings and cells, about how long here.

    The times are guesses from the work of each network and two small trainings here; before it
    begins, `nnprof train --study` times the first steps of each.
    """
    with progress.shown():
        found = nnprof.studies_here()
    from nnprof.profiler.report import shown_studies

    shown_studies.print_studies(found, output)
