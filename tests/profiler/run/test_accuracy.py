"""Precisions of cells, and the accuracy that they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.errors import Unavailable, UsageError
from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.networks import bundled, datasets
from nnprof.networks.spec import parse
from nnprof.profiler import results
from nnprof.profiler.report import lines
from nnprof.profiler.run import accuracy, begin
from nnprof.profiler.studies import bundled_cells
from nnprof.types import Cell, Model, Plan, Run, Study, Target, Workload


@pytest.fixture
def no_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without data sets."""

    def load(name: str) -> datasets.Dataset:
        raise Unavailable(f"The data set '{name}' is not here.")

    monkeypatch.setattr(datasets, "load", load)


def _scored(cells: tuple[Cell, ...], precisions: str, plan: Plan, folder: Path) -> Run:
    every, sources = accuracy.in_precisions(cells, accuracy.parse(precisions))
    run, path = begin.start(every, plan, folder, name="precisions")
    scored = accuracy.score(run, path, sources)
    assert results.load(path) == scored
    return scored


def test_values_have_no_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network trained on values is not scored by classes, and the reason says so."""
    tiles, values = np.zeros((20, 1, 28, 28), np.uint8), np.zeros((20, 1), np.float32)
    here = datasets.Dataset("mnist", tiles, values, tiles, values, task="values")
    monkeypatch.setattr(datasets, "load", lambda _: here)
    model = load_model(bundled.model_path())
    found = accuracy.labelled(Workload(model=model, batch=1), model)
    assert found == "mnist has values, not classes, to tell right from wrong"


@pytest.mark.usefixtures("no_mnist")
def test_each_cell_in_each_precision_and_what_it_costs(short: Plan, tmp_path: Path) -> None:
    """Cells come in every precision; each model's accuracy is of the runtime, on labelled tiles."""
    run = _scored(bundled_cells(Target(), (1, 4)), "fp32,int8", short, tmp_path)
    asked = [(cell.workload.precision, cell.workload.batch) for cell in run.study.cells]
    assert asked == [("fp32", 1), ("fp32", 4), ("int8", 1), ("int8", 4)]
    assert {cell.workload.model.precision for cell in run.study.cells} == {"fp32", "int8"}
    assert [one.precision for one in run.accuracies] == ["fp32", "int8"]
    for one in run.accuracies:
        assert (one.tiles, one.data) == (64, "tiles of tiles.npz")
        assert one.top1 is not None
        assert one.top1 > 0.8
    (line,) = lines.accuracy_lines(run)
    assert line.startswith("Accuracy of 1x28x28 conv8k5")
    assert "fp32" in line
    assert "int8" in line
    assert line.endswith("on 64 tiles of tiles.npz.")


@pytest.mark.usefixtures("no_mnist")
def test_int8_alone_is_held_against_its_fp32_file(short: Plan, tmp_path: Path) -> None:
    """Where only int8 is timed, the file that it came from is classified all the same."""
    run = _scored(bundled_cells(Target(), (4,)), "int8", short, tmp_path)
    assert {one.precision for one in run.accuracies} == {"fp32", "int8"}
    assert len(run.study.cells) == 1


def test_without_labels_the_accuracy_is_unknown_with_its_reason(
    short: Plan, model: Model, tmp_path: Path
) -> None:
    """No labelled tiles: never a made-up figure, but the reason and what to give."""
    cell = Cell(workload=Workload(model=model, batch=2), target=Target())
    run = _scored((cell,), "fp16", short, tmp_path)
    assert all(one.top1 is None for one in run.accuracies)
    (line,) = lines.accuracy_lines(run)
    assert "unknown: no labelled tiles of tiny are known: give --data FILE.npz" in line


def test_labels_in_the_users_file_are_used(short: Plan, model: Model, tmp_path: Path) -> None:
    """An .npz with tiles and labels is all that it takes; the share is that of the right ones."""
    random = np.random.default_rng(0)
    tiles = random.normal(size=(30, 6)).astype(np.float32)
    weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
    labels = np.maximum(tiles @ weights, 0).argmax(axis=1)
    labels[:6] = (labels[:6] + 1) % 4
    np.savez(tmp_path / "own.npz", tiles=tiles, labels=labels)
    work = Workload(model=model, batch=2, data=str(tmp_path / "own.npz"))
    run = _scored((Cell(workload=work, target=Target()),), "fp16", short, tmp_path)
    fp32 = next(one for one in run.accuracies if one.precision == "fp32")
    assert fp32.top1 == pytest.approx(24 / 30)
    assert fp32.data == "tiles of own.npz"


@pytest.mark.usefixtures("no_mnist")
def test_a_converted_file_is_measured_as_what_it_is() -> None:
    """Without a wish for precisions a cell has that of its file, and nothing is converted."""
    ((cell,), _) = accuracy.in_precisions(bundled_cells(Target(), (4,)), ("int8",))
    asked = replace(cell, workload=replace(cell.workload, precision="fp32"))
    ((found,), sources) = accuracy.in_precisions((asked,), ())
    assert (found.workload.precision, found.workload.model) == ("int8", cell.workload.model)
    assert not sources


@pytest.mark.usefixtures("no_mnist")
def test_calibration_says_what_it_used(tmp_path: Path) -> None:
    """Ranges come from real tiles where there are any; the file says from which."""
    seeded = export(parse("1x28x28 fc10"), cache=tmp_path)
    assert accuracy.calibration(Workload(model=seeded, batch=1)).source == "generated tiles"
    own = load_model(bundled.model_path())
    work = Workload(model=own, batch=1, data=str(bundled.tiles_path()))
    tiles, source, _ = accuracy.calibration(work)
    assert (len(tiles), source) == (64, "bundled tiles")


def test_training_tiles_calibrate_where_the_data_set_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network trained on a data set that is here is calibrated on its training tiles."""
    tiles = np.zeros((2000, 1, 28, 28), np.uint8)
    labels = np.zeros(2000, np.int64)
    here = datasets.Dataset("mnist", tiles, labels, tiles[:5], labels[:5])
    monkeypatch.setattr(datasets, "load", lambda _: here)
    work = Workload(model=load_model(bundled.model_path()), batch=1)
    found = accuracy.calibration(work)
    assert (len(found.tiles), found.source) == (512, "training tiles of mnist")


def test_the_form_of_int8_is_the_targets_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts of the board that is asked decide for a processor; TensorRT and others need none."""
    facts: dict[str, list[str]] = {"here": ["avx2", "avx512f", "avx512_vnni"], "zen": ["avx2"],
                                   "pi": ["asimd", "asimddp"], "odd": []}  # fmt: skip
    monkeypatch.setattr(
        begin, "probe", lambda target: {"device": {"extensions": facts[target.host]}}
    )
    found = {
        (backend, host): str(accuracy.form_for(Target(backend=backend, host=host)))
        for backend in ("onnxruntime", "openvino", "tensorrt", "trtexec", "fake")
        for host in facts
    }
    for backend in ("onnxruntime", "openvino"):
        assert found[backend, "here"] == "U8S8 per channel, 8-bit weights (x86 with VNNI)"
        assert found[backend, "zen"] == "U8S8 per channel, 7-bit weights (x86 without VNNI)"
        assert found[backend, "pi"] == "S8S8 per channel, 8-bit weights (Arm)"
        assert found[backend, "odd"] == "S8S8 per channel, 7-bit weights (processor unknown)"
    for host in facts:
        for backend in ("tensorrt", "trtexec"):
            assert found[backend, host] == "S8S8 per channel, 8-bit weights (TensorRT)"
        assert found["fake", host] == "S8S8 per channel, 7-bit weights (any runtime)"
    gpu = accuracy.form_for(Target(device="cuda", host="zen"))
    assert str(gpu) == "S8S8 per channel, 8-bit weights (GPU)"


@pytest.mark.usefixtures("no_mnist")
def test_cells_of_two_processors_are_two_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """One network for two boards is converted for each, and the table says how."""
    facts = {"vnni": ["avx2", "avx512f", "avx512_vnni"], "zen": ["avx2"]}
    monkeypatch.setattr(
        begin, "probe", lambda target: {"device": {"extensions": facts[target.host]}}
    )
    cells = [bundled_cells(Target(host=host), (1, 4)) for host in facts]
    every, sources = accuracy.in_precisions([one for pair in cells for one in pair], ("int8",))
    models = {one.target.host: one.workload.model for one in every}
    assert len(every) == 4
    assert len(sources) == 2
    assert models["vnni"].sha256 != models["zen"].sha256
    study = Study(name="two", command=(), created="", plan=Plan(), cells=every)
    said = lines.conversion_lines(Run(study=study, environment={}))
    assert [line.split(",")[1:3] for line in said] == [
        [" U8S8 per channel", " 8-bit weights (x86 with VNNI)"],
        [" U8S8 per channel", " 7-bit weights (x86 without VNNI)"],
    ]


def test_unknown_precisions_are_named() -> None:
    """A precision that there is not is refused before anything is converted."""
    assert accuracy.parse("fp32, int8,fp32") == ("fp32", "int8")
    with pytest.raises(UsageError, match=r"No precision 'int4'\. Known: fp32, fp16, int8"):
        accuracy.parse("fp32,int4")
