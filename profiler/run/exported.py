"""A network becomes an ONNX file where the user wants it, checked against torch.

The file is first made in the cache by `exporters.export`, in float32, and converted from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import check
from nnprof.exporters.check import Agreement
from nnprof.exporters.export import export, reference
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.exporters.models import load_model
from nnprof.exporters.precision import convert
from nnprof.files import AnyPath, write_atomically
from nnprof.networks import checkpoint, datasets
from nnprof.networks.families import parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.place import computes
from nnprof.profiler.run.accuracy import calibration, form_for
from nnprof.profiler.work import hosts
from nnprof.types import Model, Target, TrainingRecord, Workload


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The file that was written, how it agrees with torch, and the tiles that told."""

    model: Model
    agreement: Agreement
    checked_on: str


def export_file(
    network: AnyPath,
    output: AnyPath,
    *,
    precision: str = "fp32",
    backend: str | None = None,
    device: str | None = None,
    on: str | None = None,
) -> Exported:
    """Write a network to an ONNX file, and check that the file computes what torch computes.

    Args:
        network: its text, for seeded weights; or a folder that `nnprof train` wrote.
        output: the file to write.
        precision: "fp32", "fp16" or "int8".
        backend: the runtime that an int8 file is for; its form follows from backend and device.
        device: where an int8 file will run. Without either the form runs right anywhere.
        on: what of it will compute; what the backend usually takes if not given.

    A trained network is checked on its data set's test tiles where they are here, others on random.

    Raises:
        BadFile, BadNotation, BadShape: that is no training, or no network.
        Unavailable: torch or a converter is not installed.
        Disagreement: the file would not compute what the network computes.
    """
    folder = _folder(str(network))
    record = checkpoint.load_record(folder) if folder else None
    spec = parse_network(record.network if record else str(network))
    model = export(spec, folder)
    tiles, source = _tiles(spec, folder, record)
    module = reference(spec, folder)
    agreement = check.check_against_torch(model, module, tiles)
    check.require_agreement(model, agreement)
    if precision != "fp32":
        calibrated = calibration(Workload(model=model, batch=1))
        model = convert(model, precision, calibrated, form=_form(precision, backend, device, on))
        agreement = check.check_against_torch(model, module, tiles)
    write_atomically(Path(output), Path(model.path).read_bytes())
    return Exported(model=load_model(output), agreement=agreement, checked_on=source)


def _form(precision: str, backend: str | None, device: str | None, on: str | None) -> Form:
    """The form of int8 for what was named; the one that runs right anywhere where nothing was."""
    if precision != "int8" or (backend is None and device is None):
        return ANYWHERE
    place = device or computes.device_for(backend or Target().backend)
    return form_for(hosts.named_target(place, on=on, backend=backend))


def _tiles(
    spec: NetworkSpec, folder: Path | None, record: TrainingRecord | None
) -> tuple[NDArray[Any], str]:
    """What the file is checked on, and what that is."""
    random = check.generated_for(checkpoint.source_of(spec, folder))
    if record is None:
        return random, "random tiles"
    try:
        tested = datasets.load(record.dataset).test_inputs
    except Unavailable:
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
