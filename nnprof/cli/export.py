"""`nnprof export`: a network or a trained folder → an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import nnprof
from nnprof.cli import forms, progress
from nnprof.text import plain, shown_json

if TYPE_CHECKING:
    from nnprof import Exported


_Network = Annotated[
    str,
    typer.Argument(
        help="A network's text, for seeded weights; or a folder that 'nnprof train' wrote."
    ),
]
_Output = Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")]
_Precision = Annotated[
    str, typer.Option(help="fp32, fp16 or int8 (calibrated on training tiles where known).")
]
_Backend = Annotated[str | None, typer.Option(help="What will run an int8 file: its form follows.")]
_Device = Annotated[
    str | None, typer.Option(help="Where: cpu, a board of your devices.toml, ssh://user@host.")
]
_Form = Annotated[str, forms.fixed("json: one object, and nothing else.", "table", "json")]


def export(
    network: _Network,
    output: _Output,
    precision: _Precision = "fp32",
    backend: _Backend = None,
    device: _Device = None,
    format: _Form = forms.TABLE,
) -> None:
    """Export to ONNX, and check that the file computes what torch computes.

    A trained network is checked on all test tiles of its data set where they are at hand, an
    untrained one on random tiles.
    """
    with progress.shown():
        written = nnprof.export_file(
            network, output, precision=precision, backend=backend, device=device
        )
    _print(written, format)


def _print(written: Exported, format: str) -> None:
    from nnprof.terminal import Console, Table

    if format == forms.JSON:
        sys.stdout.write(shown_json(msgspec.json.encode(written).decode()) + "\n")
        return
    model, agreement = written.model, written.agreement
    table = Table("", plain(model.name))
    table.columns[1].overflow = "fold"
    table.add_row("file", model.path)
    table.add_row("sha256", model.sha256)
    table.add_row("weights", model.weights)
    table.add_row("normalisation", model.normalisation)
    table.add_row(
        "precision", model.precision + (f": {model.conversion}" if model.conversion else "")
    )
    table.add_row(
        "agreement with torch",
        f"classes {agreement.top1_agreement:.2%}, outputs within {agreement.max_difference:.1e}\n"
        f"{agreement.tiles} tiles: {written.checked_on}; {agreement.runtime}",
    )
    Console().print(table, soft_wrap=True)
