"""`nnprof studies`: what there is to train and to time, and about how long it takes here."""

from __future__ import annotations

from typing import Annotated

import nnprof
from nnprof.cli import forms, progress


def studies(
    output: Annotated[str, forms.of_rows("How to print it.")] = forms.TABLE,
) -> None:
    """List the studies: question, cells, about how long here, figures and tables.

    How long training takes is a guess from the work of each network and the speed of two small
    trials here; `nnprof train --study` times the first steps of each before it begins.
    """
    with progress.shown():
        found = nnprof.studies_here()
    from nnprof.profiler.report import shown_studies

    shown_studies.print_studies(found, output)
