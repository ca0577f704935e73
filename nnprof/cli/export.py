"""`nnprof export`: a network or a trained folder → an ONNX file."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from nnprof.cli import progress
from nnprof.errors import BadFile, Unavailable
from nnprof.networks.families import parse_network
from nnprof.text import plain, shown_json
from nnprof.types import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnprof.exporters.check import Agreement
    from nnprof.exporters.int8 import Form
    from nnprof.networks.spec import NetworkSpec
    from nnprof.types import Model, TrainingRecord


class _Format(str, Enum):
    table = "table"
    json = "json"


def export(
    network: Annotated[
        str,
        typer.Argument(
            help="A network's text, for seeded weights; or a folder that 'nnprof train' wrote."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 or int8 (calibrated on training tiles where known).")
    ] = "fp32",
    backend: Annotated[
        str | None, typer.Option(help="What will run an int8 file: its form follows.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where: cpu, a board of your devices.toml, ssh://user@host.")
    ] = None,
    format: Annotated[
        _Format, typer.Option(help="json: one object, and nothing else.")
    ] = _Format.table,
) -> None:
    """Export to ONNX, and check that the file computes what torch computes.

    A trained network is checked on all test tiles of its data set where they are at hand, an
    untrained one on random tiles.
    """
    from nnprof.exporters import check, models
    from nnprof.exporters import export as exporter
    from nnprof.files import write_atomically
    from nnprof.networks import checkpoint

    with progress.shown():
        folder = _folder(network)
        record = checkpoint.load_record(folder) if folder else None
        spec = parse_network(record.network if record else network)
        model = exporter.export(spec, folder)
        tiles, source = _tiles(spec, record)
        reference = exporter.reference(spec, folder)
        agreement = check.check_against_torch(model, reference, tiles)
        check.require_agreement(model, agreement)
        if precision != "fp32":
            from nnprof.exporters.precision import convert
            from nnprof.profiler.run.accuracy import calibration

            calibrated = calibration(Workload(model=model, batch=1))
            form = _form(precision, backend, device)
            model = convert(model, precision, calibrated, form=form)
            agreement = check.check_against_torch(model, reference, tiles)
    write_atomically(output, Path(model.path).read_bytes())
    _print(models.load_model(output), agreement, source, format)


def _form(precision: str, backend: str | None, device: str | None) -> Form:
    """The form of int8 for what was named; the one that runs right anywhere where nothing was."""
    from nnprof.exporters.int8 import ANYWHERE
    from nnprof.profiler.run import accuracy
    from nnprof.profiler.work import hosts

    if precision != "int8" or (backend is None and device is None):
        return ANYWHERE
    return accuracy.form_for(hosts.target(device or "cpu", backend, 1, {}))


def _tiles(spec: NetworkSpec, record: TrainingRecord | None) -> tuple[NDArray[Any], str]:
    """What the file is checked on, and what that is."""
    from nnprof.exporters import check
    from nnprof.networks import datasets

    if record is None:
        return check.generated_tiles(spec.input_shape), "random tiles"
    try:
        tested = datasets.load(record.dataset).test_tiles
    except Unavailable:
        random = check.generated_tiles(spec.input_shape)
        return random, f"random tiles ({record.dataset} is not here)"
    return tested.reshape(-1, *spec.input_shape), f"all test tiles of {record.dataset}"


def _folder(text: str) -> Path | None:
    """The checkpoint folder that the text names, None where it is a network's notation."""
    path = Path(text)
    if path.is_dir():
        return path
    if path.exists() or len(path.parts) > 1:
        raise BadFile(f"'{text}' is no folder.", "Give the folder that 'nnprof train' wrote.")
    return None


def _print(model: Model, agreement: Agreement, source: str, format: _Format) -> None:
    from nnprof.terminal import Console, Table

    if format is _Format.json:
        both = {"model": model, "agreement": agreement, "checked_on": source}
        sys.stdout.write(shown_json(msgspec.json.encode(both).decode()) + "\n")
        return
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
        f"{agreement.tiles} tiles: {source}; {agreement.runtime}",
    )
    Console().print(table, soft_wrap=True)
