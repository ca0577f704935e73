"""`nnprof export`: a network or a trained folder → an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import nnprof
from nnprof.cli import forms, progress
from nnprof.text import shown_json

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
_On = Annotated[
    str | None,
    typer.Option(metavar="cpu|gpu|dla", help="What of that device will compute."),
]
_Form = Annotated[str, forms.fixed("json: one object, and nothing else.", "table", "json")]


def export(
    network: _Network,
    output: _Output,
    precision: _Precision = "fp32",
    backend: _Backend = None,
    device: _Device = None,
    on: _On = None,
    format: _Form = forms.TABLE,
) -> None:
    """Export to ONNX, and check that the file computes what torch computes.

    A trained network is checked on all test tiles of its data set where they are at hand, an
    untrained one on random tiles.
    """
    with progress.shown():
        written = nnprof.export_file(
            network, output, precision=precision, backend=backend, device=device, on=on
        )
    if format == forms.JSON:
        sys.stdout.write(shown_json(msgspec.json.encode(written).decode()) + "\n")
        return
    from nnprof.profiler.report import shown_network

    shown_network.print_exported(written)
