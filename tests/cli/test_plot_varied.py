"""`nnprof plot --against`: a study's trainings over what it varies, from records made up here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import nnprof
from nnprof.errors import UsageError
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.study import Asked, Study, Training, save_study
from nnprof.profiler.varied import number, varied
from nnprof.types import Epoch, TrainingRecord
from tests.fakes.commands import nnprof as command

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


def record(cell: str, accuracy: float | None = 0.9, seed: int = 0, **varies: str) -> TrainingRecord:
    """A training of two epochs; of a name that ends in -cuda on a GPU."""
    device = "cuda" if cell.endswith("-cuda") else "cpu"
    return TrainingRecord(
        network="784 fc10", dataset="mnist", normalisation="unit", settings={}, seed=seed,
        epochs=tuple(
            Epoch(loss=0.5, validation_accuracy=accuracy, validation_loss=0.4, elapsed_s=10.0 * at)
            for at in (1, 2)
        ),
        finished=True, study="made-up", cell=cell.removesuffix("-cuda"), varied=varies,
        test_accuracy=accuracy, device={"device": device},
    )  # fmt: skip


def save(folder: Path, *records: TrainingRecord) -> Path:
    """Write records as `nnprof train --study` does; the folder."""
    for one in records:
        into = folder / one.cell / f"seed{one.seed}-{one.device['device']}"
        into.mkdir(parents=True)
        (into / "record.json").write_bytes(msgspec.json.encode(one))
    return folder


def lines(against: str, *records: TrainingRecord) -> dict[str, list[str]]:
    """Name of each line → the values at which it has trainings."""
    return {line.name: list(line.places) for line in varied(records, against).lines}


def test_a_point_is_the_mean_and_the_range_of_its_seeds() -> None:
    """Mean, lowest and highest by hand; where a line has no training there is no point."""
    seeds = [record("b16", value, at, batch="16") for at, value in enumerate((0.8, 0.9, 0.7))]
    told = varied([*seeds, record("b32", 0.5, batch="32")], "batch")
    (line,) = told.lines
    first, second, third = line.spreads(["16", "32", "64"], "validation accuracy")
    assert first == pytest.approx((0.8, 0.7, 0.9))
    assert (second, third) == ((0.5, 0.5, 0.5), None)


def test_numbers_are_sorted_as_numbers_and_words_as_the_study_has_them() -> None:
    """16 before 128, 50K before 100K; `tanh` stays before `relu`."""
    told = varied([record(f"b{size}", batch=size) for size in ("128", "16")], "batch")
    assert (told.along, told.numbers) == (("16", "128"), (16.0, 128.0))
    assert varied([record("a", w="100K"), record("b", w="50K")], "w").along == ("50K", "100K")
    words = varied([record("a", activation="tanh"), record("b", activation="relu")], "activation")
    assert (words.along, words.numbers) == (("tanh", "relu"), None)
    assert [number(text) for text in ("0.05", "1e-3", "5, 12", "nan")] == [0.05, 1e-3, None, None]


def test_other_parameters_are_a_line_each() -> None:
    """A line for each kind, and for each device where several trained."""
    cells = [(f"{kind}{size}", kind, size) for kind in ("lstm", "gru") for size in ("16", "32")]
    records = [record(name, kind=kind, batch=size) for name, kind, size in cells]
    assert lines("batch", *records) == {"lstm": ["16", "32"], "gru": ["16", "32"]}
    both = [record("dense"), record("dense-cuda")]
    assert lines("device", *both) == {"": ["cpu", "cuda"]}
    more = [record(f"b{size}{on}", batch=size) for on in ("", "-cuda") for size in ("16", "32")]
    assert lines("batch", *more) == {"cpu": ["16", "32"], "cuda": ["16", "32"]}


def test_two_parameters_that_grow_together_are_one_line() -> None:
    """Gil's layers at one batch, and layers whose batch grows: two lines, also where they meet."""
    fixed = [record(f"l{at}", layers=str(at), batch="128") for at in (1, 2, 3)]
    growing = [
        record(f"l{at}-growing", layers=str(at), batch=str(96 + 32 * at)) for at in (1, 2, 3)
    ]
    found = lines("layers", *fixed, *growing)
    assert found == {"batch 128": ["1", "2", "3"], "batch 128 to 192": ["1", "2", "3"]}


def test_two_cells_at_one_place_are_never_one_point() -> None:
    """Li's FCN beside the CNNs has as many weights as one of them: a line of its own."""
    cnns = [record(f"cnn{size}", weights=size) for size in ("50K", "100K")]
    found = lines("weights", *cnns, record("fcn100K", weights="100K"))
    assert found == {"cnn50K to cnn100K": ["50K", "100K"], "fcn100K": ["100K"]}


def test_what_says_nothing_is_told() -> None:
    """An unfinished training has no place, nor has a cell without the parameter: both are named."""
    cut = msgspec.structs.replace(record("b64", batch="64"), finished=False)
    told = varied([record("b16", batch="16"), record("b32", batch="32"), cut, record("x")], "batch")
    assert told.along == ("16", "32")
    assert told.left_out == ("b64 seed 0: not finished", "x: no batch")


def test_an_unknown_parameter_lists_those_that_vary() -> None:
    """A parameter of one value varies as little as one that is not there."""
    records = [record("a", kind="lstm", batch="16"), record("b", kind="lstm", batch="32")]
    for name in ("kind", "depth", "device"):
        with pytest.raises(UsageError, match=f"'{name}' does not vary.*What varies: batch"):
            varied(records, name)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"against": "depth"}, "What varies: batch"),
        ({"against": "batch", "of": ["speed"]}, "Measures: test accuracy"),
        ({"against": "batch", "of": ["training accuracy"]}, "They have: test accuracy"),
        ({"against": "batch", "cells": ["c*"]}, "Cells here: b16, b32"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    """A sentence with what there is, and no picture."""
    save(tmp_path / "in", record("b16", batch="16"), record("b32", batch="32"))
    with pytest.raises(UsageError, match=says):
        nnprof.plot_varied([tmp_path / "in"], given.pop("against"), tmp_path / "x.svg", **given)
    assert not (tmp_path / "x.svg").exists()


@needs_matplotlib
def test_the_same_trainings_give_the_same_bytes(tmp_path: Path) -> None:
    """A picture of numbers, one of words, and one of losses alone, each twice."""
    numbers = [record(f"b{size}", batch=str(size)) for size in (16, 32, 64)]
    folder = save(tmp_path / "in", *numbers)
    words = [record(name, None, activation=name) for name in ("tanh", "relu")]
    losses = save(tmp_path / "losses", *words)
    for at, (of, against) in enumerate([(folder, "batch"), (losses, "activation")]):
        pictures = [tmp_path / f"{at}{turn}.svg" for turn in (1, 2)]
        for picture in pictures:
            assert nnprof.plot_varied([of], against, picture) == ()
        first, second = (picture.read_bytes() for picture in pictures)
        assert first == second


@needs_matplotlib
def test_the_command_says_what_failed_and_what_is_not_trained_yet(tmp_path: Path) -> None:
    """Cells of the study without a training are named on stderr, and so is a failure's reason."""
    names = ("b16", "b32", "b64", "b128")
    train = Training(dataset="mnist", settings=TrainingSettings())
    cells = tuple(Asked(network="784 fc10", name=name, train=train) for name in names)
    folder = save(tmp_path / "in", record("b16", batch="16"), record("b32", batch="32"))
    save_study(Study(name="made-up", cells=cells), folder / "study.json")
    (folder / "b64").mkdir()
    failure = {"study": "", "cell": "b64", "network": "", "seed": 0, "device": "cpu", "error": ""}
    (folder / "b64" / "failure.json").write_bytes(
        msgspec.json.encode({**failure, "reason": "Out of memory."})
    )
    done = command("plot", str(folder), "--against", "batch", "-o", str(tmp_path / "x.png"))
    assert done.returncode == 0
    assert "b64 seed 0 failed: Out of memory." in done.stderr
    assert "Not trained yet: b128." in done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_curves_carry_the_names_of_cells(tmp_path: Path) -> None:
    """Fourteen curves in seven colours and two styles, only validation; --cell chooses."""
    cells = [f"s{at:02d}" for at in range(1, 15)]
    folder = save(tmp_path / "in", *(record(name, section=name) for name in cells))
    out = tmp_path / "x.svg"
    (note,) = nnprof.plot_trainings([folder], out)
    assert "only those of validation" in note
    text = out.read_text(encoding="utf-8")
    assert all(f"<!-- {name} (1 seed) -->" in text for name in cells)
    assert nnprof.plot_trainings([folder], out, cells=["s0[12]", "s14"]) == ()
    shown = re.findall(r"<!-- (s\d+) \(1 seed\) -->", out.read_text(encoding="utf-8"))
    assert shown == ["s01", "s02", "s14"]


@needs_matplotlib
def test_a_picture_says_what_was_set_otherwise_than_the_study(tmp_path: Path) -> None:
    """Three epochs for a hundred stand in both pictures, not only in the folder."""
    train = Training(dataset="mnist", settings=TrainingSettings())
    cells = tuple(Asked(network="784 fc10", name=name, train=train) for name in ("b16", "b32"))
    folder = save(tmp_path / "in", record("b16", batch="16"), record("b32", batch="32"))
    changed = {"epochs": "3 for 100"}
    save_study(Study(name="made-up", cells=cells, changed=changed), folder / "study.json")
    says = "not as made-up has it: epochs 3 for 100"
    nnprof.plot_varied([folder], "batch", tmp_path / "x.svg")
    assert says in (tmp_path / "x.svg").read_text(encoding="utf-8")
    nnprof.plot_trainings([folder], tmp_path / "y.svg")
    assert says in (tmp_path / "y.svg").read_text(encoding="utf-8")


@needs_matplotlib
def test_one_network_far_off_is_told_in_the_picture(tmp_path: Path) -> None:
    """What lies outside the axis stands above the panel, and among the sentences."""
    names = [f"s{at:02d}" for at in range(1, 9)]
    near = [record(name, 0.97 + at / 1000, section=name) for at, name in enumerate(names)]
    folder = save(tmp_path / "in", *near, record("s09", 0.2, section="s09"))
    notes = nnprof.plot_trainings([folder], tmp_path / "x.svg")
    outside = "outside: s09 (ends at 20.0 %)"
    assert f"validation accuracy (%), {outside}." in notes
    assert f"<!-- {outside} -->" in (tmp_path / "x.svg").read_text(encoding="utf-8")
