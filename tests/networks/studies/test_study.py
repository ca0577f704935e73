"""A study as a value and as a file: what it holds, what of it a user may change."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from nnprof import registry
from nnprof.errors import BadFile, NewerSchema, Unexportable, UsageError
from nnprof.networks.counts import counted
from nnprof.networks.families import parse_network
from nnprof.networks.studies import study as study_files
from nnprof.networks.studies.study import Asked, Study, find, load_study, save_study
from nnprof.profiler import studies
from nnprof.types import Target


def test_a_study_file_becomes_cells(tmp_path: Path) -> None:
    """Written, read, and turned into the cells that it asks for, or at other batches."""
    study = Study(
        name="mine",
        cells=(
            Asked(network="20x12x12 conv20k5", batch=16, why="conv, k-centre"),
            Asked(network="mattsson(conv=1)", batch=1),
        ),
    )
    path = tmp_path / "study.json"
    save_study(study, path)
    assert load_study(path) == study
    assert studies.study_name(str(path)) == "mine"
    cells = studies.study_cells(str(path), Target())
    assert [cell.workload.batch for cell in cells] == [16, 1]
    assert cells[0].workload.model.network == "20x12x12 conv20k5"
    other = studies.study_cells(str(path), Target(), [2, 3])
    assert [cell.workload.batch for cell in other] == [2, 3, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is cut off or is not JSON"),
        (b'{"schema": 1, "name": "x", "cells": []}', "asks for nothing"),
        (b'{"schema": 1, "name": "x", "cells": [{"network": "9 fc1", "batch": 0}]}', "batch"),
        (b"[]", "is not a study of nnprof"),
    ],
)
def test_bad_study_files_are_sentences(text: bytes, said: str, tmp_path: Path) -> None:
    """Each says what is wrong with the file."""
    path = tmp_path / "s.json"
    path.write_bytes(text)
    with pytest.raises(BadFile, match=said):
        load_study(path)


def test_a_later_study_is_refused(tmp_path: Path) -> None:
    """A schema of tomorrow is not guessed at."""
    path = tmp_path / "s.json"
    path.write_bytes(b'{"schema": 3, "name": "x", "cells": []}')
    with pytest.raises(NewerSchema, match="schema 3"):
        load_study(path)
    with pytest.raises(BadFile, match="Cannot read"):
        load_study(tmp_path / "none.json")


def test_a_file_of_the_first_form_is_read(tmp_path: Path) -> None:
    """Studies that `nnprof plan` wrote before trainings were in them."""
    path = tmp_path / "s.json"
    path.write_bytes(
        b'{"schema": 1, "name": "x", "cells": [{"network": "9 fc1", "batch": 4, "why": "so"}]}'
    )
    (cell,) = load_study(path).cells
    assert (cell.network, cell.batch, cell.why, cell.train) == ("9 fc1", 4, "so", None)


def test_the_example_of_the_page_is_a_study(tmp_path: Path) -> None:
    """The JSON of docs/studies.md reads as a study with a claim."""
    page = Path(__file__).parents[3] / "docs" / "studies.md"
    (example,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.json").write_text(example, encoding="utf-8")
    study = find(str(tmp_path / "mine.json"))
    assert len(study.trained) == 2
    assert study.claims[0].about() == {"wide", "narrow"}


# --- registered studies ---------------------------------------------------------------------------

STUDIES = registry.names("study")
# (conv, fc, depth, neurons, batch) of every cell; Mattsson 2016, section 3.1, written out here.
ONE_TO_FIVE = (1, 2, 3, 4, 5)
BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
GROUPS = {
    "group1": {(1, fc, 20, 128, batch) for fc in ONE_TO_FIVE for batch in BATCHES},
    "group2": {(conv, 1, 20, 128, batch) for conv in ONE_TO_FIVE for batch in BATCHES},
    "group3": {
        (1, fc, 20, neurons, 1024) for fc in ONE_TO_FIVE for neurons in (128, 256, 512, 1024, 2048)
    },
    "group3-100": {
        (1, fc, 20, neurons, 1024) for fc in ONE_TO_FIVE for neurons in (100, 200, 400, 800, 1600)
    },
    "group4": {
        (conv, 1, depth, 128, 1024) for conv in ONE_TO_FIVE for depth in (5, 10, 20, 40, 80)
    },
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_those_of_the_thesis(name: str) -> None:
    """Each group has the thesis's cells, each once; groups 2 and 4 with the pools of 1×1."""
    rows = []
    for cell in find(name).cells:
        spec = parse_network(cell.network)
        sizes = (spec.parameters[key] for key in ("conv", "fc", "depth", "neurons"))
        rows.append((*sizes, cell.batch))
        assert spec.parameters.get("pool1", 0) == (name in ("group2", "group4"))
    assert set(rows) == GROUPS[name]
    assert len(rows) == len(GROUPS[name])


def test_all_groups_in_one_study() -> None:
    """The study `groups` has every cell of groups 1 to 4."""
    cells = {(cell.network, cell.batch) for cell in find("groups").cells}
    for name in ("group1", "group2", "group3", "group4"):
        assert {(cell.network, cell.batch) for cell in find(name).cells} <= cells


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_whole(name: str, tmp_path: Path) -> None:
    """It has its own name, a question, networks that parse and claims about cells that it has."""
    study = find(name)
    assert study.name == name
    assert study.asks
    assert study.gives
    for cell in study.cells:
        parse_network(cell.network)
    names = {cell.name for cell in study.trained}
    assert all(claim.about() <= names for claim in study.claims)
    save_study(study, tmp_path / "s.json")
    assert load_study(tmp_path / "s.json") == study


def test_weights_of_swietek() -> None:
    """Weights with batch norm's, as the study's layers give them (her figures, by hand)."""
    weights = {}
    for cell in find("swietek").cells:
        count = counted(parse_network(cell.network))
        weights[cell.name[:3]] = count.weights + count.norm_weights
    del weights["s05"]  # drawn
    assert weights == {
        "s01": 152_330, "s02": 141_066, "s03": 1_462_794, "s04": 578_794, "s06": 443_402,
        "s07": 1_684_714, "s08": 431_754, "s09": 138_858, "s10": 80_394, "s11": 145_130,
        "s12": 180_122, "s13": 5_703_818, "s14": 576_970,
    }  # fmt: skip


def test_tables_of_li() -> None:
    """Weights and multiply-adds at batch 512, to the digit of Li's tables."""
    found = {}
    for cell in (*find("li-fcn").cells, *find("li-cnn").cells):
        count = counted(parse_network(cell.network))
        found[cell.name] = (count.weights, round(count.mult_adds * 512 / 1e6, 2))
    assert found == {
        "fcn50K": (46_580, 23.85), "fcn100K": (98_490, 50.43), "fcn200K": (199_210, 102.00),
        "fcn100K-baseline": (98_490, 50.43), "cnn10K": (9_192, 208.33),
        "cnn20K": (19_279, 632.18), "cnn50K": (49_450, 1028.10), "cnn100K": (97_395, 2372.76),
    }  # fmt: skip


# --- a user's changes -----------------------------------------------------------------------------


def test_settings_of_the_user_are_told() -> None:
    """Fewer epochs and seeds take the place of the study's, which the study then says."""
    study = study_files.with_settings(find("groth-kernel"), {"epochs": 2, "batch": 32}, (7, 8))
    assert {cell.train.settings.epochs for cell in study.cells if cell.train} == {2}
    assert {cell.train.seeds for cell in study.cells if cell.train} == {(7, 8)}
    assert study.changed == {"epochs": "2 for 100", "seeds": "2 for 4"}
    fewer = study_files.with_settings(find("li-cnn"), {"steps": 40}, None)
    assert fewer.changed == {"steps": "40 for none"}
    with pytest.raises(UsageError, match="trains nothing"):
        study_files.with_settings(find("group1"), {"epochs": 2}, None)


def test_a_data_set_picks_cells() -> None:
    """Cells on the data set stay, with the claims that need no others."""
    study = study_files.on_dataset(find("groth-stride"), "cifar10")
    assert [cell.name for cell in study.cells] == [
        "stride1-cifar10", "stride2-cifar10", "stride3-cifar10",
    ]  # fmt: skip
    assert len(study.claims) == 2
    with pytest.raises(UsageError, match=r"'digits'\. Its data sets: mnist, cifar10"):
        study_files.on_dataset(find("groth-stride"), "digits")


def test_two_cells_of_one_name_are_refused() -> None:
    """They would train in one folder."""
    cell = find("table2").cells[0]
    with pytest.raises(ValueError, match="two cells are called '5C1F'"):
        msgspec.structs.replace(find("table2"), cells=(cell, cell))


def test_what_cannot_be_exported_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A study that times such a network times the others, and says which it left out."""
    study = Study(
        name="s",
        cells=(
            Asked(network="4x1 lstm2 softmax fc1 linear", batch=1),
            Asked(network="4x1 lstm2 fc1 linear", batch=1),
        ),
    )
    models = studies._models([cell.network for cell in study.cells])
    assert list(models) == ["4x1 lstm2 fc1 linear"]
    assert "Left out: '4x1 lstm2 softmax fc1 linear'" in caplog.text
    with pytest.raises(Unexportable):
        studies._models([study.cells[0].network])
