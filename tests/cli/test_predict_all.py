"""`nnprof fit-model` over the Runs of a fleet, and `nnprof predict --all` over its models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import commands
import pytest

from nnprof.profiler.costmodel import priors

ROOT = Path(__file__).parents[2]
RUN = next((ROOT / "bench_results").glob("costmodel-train-*.json"))
PRIOR = Path(priors.__file__).with_name("priors") / "onnxruntime-avx2.json"
NETWORK = "mattsson(conv=1)"
KINDS = {"fleet:orin-3fa2c1": 1.0, "fleet:thor-77aa01": 0.5}  # and how long they take


def nnprof(*words: object, folder: Path) -> commands.Done:
    """The command as a user runs it, 80 columns wide."""
    return commands.nnprof(*words, folder=folder)


def _model(folder: Path, name: str, times: float = 1.0, **other: Any) -> None:
    """A model that comes with nnprof as one of another board that takes so many times as long."""
    made = json.loads(PRIOR.read_bytes())
    for term in made["terms"]:
        term["coefficient"] *= times
    made["target"] |= {"host": name, "device": "jetson", "on": "gpu"}
    (folder / f"{name}.json").write_text(json.dumps({**made, "name": name, **other}))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three boards; of one the energy is known, and one has not seen a max-pool."""
    _model(tmp_path, "slow", 10.0)
    power = [{"batch": 16, "watts": 4.0, "low": 3.0, "high": 5.0, "networks": 2, "rail": "VDD_IN"}]
    _model(tmp_path, "fast", power=power)
    made = json.loads(PRIOR.read_bytes())
    groups = [one for one in made["groups"] if not one["name"].startswith("maxpool")]
    terms = [one for one in made["terms"] if not one["group"].startswith("maxpool")]
    _model(tmp_path, "blind", groups=groups, terms=terms, standins=[])
    return tmp_path


def _asked(folder: Path, *words: object) -> list[dict[str, Any]]:
    done = nnprof("predict", "--all", NETWORK, *words, "--format", "json", folder=folder)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_the_best_board_is_on_top(models: Path) -> None:
    """What fits comes first, the fastest per tile before others; who cannot tell stays, and why."""
    times = {one["file"]: one["ms_per_tile"] for one in _asked(models, "--batch", "16") if
             one["batch"]}  # fmt: skip
    budget = f"{16 * times['fast.json'] * 2}ms"
    found = _asked(models, "--batch", "16", "--budget", budget)
    told = [(one["file"], one["verdict"]) for one in found]
    assert told == [("fast.json", "FITS"), ("blind.json", "UNDECIDED"), ("slow.json", "MISSES")]
    assert "has not seen MaxPool" in found[1]["refused"]
    assert found[1]["batch"] is None
    assert found[0]["mj_per_tile"] == pytest.approx(4.0 * times["fast.json"])
    assert found[0]["low_mj_per_tile"] == pytest.approx(3.0 * found[0]["low_ms_per_tile"])
    assert found[2]["mj_per_tile"] is None


def test_energy_of_a_batch_that_was_not_measured_is_not_made_up(models: Path) -> None:
    """Known at batch 16 alone."""
    found = {(one["file"], one["batch"]): one.get("mj_per_tile") for one in
             _asked(models, "--batch", "1,16")}  # fmt: skip
    assert found["fast.json", 16]
    assert found["fast.json", 1] is None


@pytest.mark.parametrize(("budget", "code"), [("1s", 0), ("1us", 3), ("0.5us", 1)])
def test_the_exit_code_is_of_the_best_board(models: Path, budget: str, code: int) -> None:
    """0 where one board fits; 1 where each misses; 3 while one that cannot tell may fit."""
    if code == 1:
        (models / "blind.json").unlink()
    words = ("--batch", "16", "--budget", budget)
    done = nnprof("predict", "--all", NETWORK, *words, folder=models)
    assert done.returncode == code, done.stderr
    assert f"exit code {code}." in " ".join(done.stdout.split())


def test_a_board_has_its_best_batch_of_an_image_alone(models: Path) -> None:
    """With an image one batch of one board is enough; without one each batch needs a board."""
    image = ("--image", "56x56", "--batch", "1,4")
    rows = _asked(models, *image, "--models", "fast.json")
    (slow, _), (fast, _) = sorted(
        ((1e3 / row["frames_per_s"], row["batch"]) for row in rows), reverse=True
    )
    words = (*image, "--models", "fast.json", "--budget", f"{(slow * fast) ** 0.5}ms")
    assert {row["verdict"] for row in _asked(models, *words)} != {"FITS"}
    tight = nnprof("predict", "--all", NETWORK, *words, folder=models)
    told = {row["verdict"] for row in _asked(models, *words)}
    assert tight.returncode == (0 if "FITS" in told else 3)
    assert "(the best board, at its best batch, counts)" in " ".join(tight.stdout.split())
    blind = ("--batch", "1,16", "--models", "fast.json", "--budget", "1us")
    each = nnprof("predict", "--all", NETWORK, *blind, folder=models)
    assert each.returncode == 1
    told = " ".join(each.stdout.split())
    assert "(the best board of each of 2 networks and batches counts; the worst decides)" in told


def test_a_table_of_boards_is_80_columns_wide(models: Path) -> None:
    """With every column, and names of boards as kinds of a fleet have them."""
    _model(models, "jetson-orin-nano-8gb-developer-kit-3fa2c1")
    done = nnprof("predict", "--all", NETWORK, "--budget", "1ms", folder=models)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "blind: The model has not seen MaxPool" in " ".join(done.stdout.split())
    for word in ("mJ/tile", "FITS", "UNDECIDED", "onnxruntime gpu fp32"):
        assert word in done.stdout


def test_the_newest_fit_of_a_board_is_asked(models: Path) -> None:
    """An older one is named and left out; one that is named is asked; other files are none."""
    old = json.loads((models / "fast.json").read_bytes())
    (models / "old.json").write_text(json.dumps({**old, "created": "2020-01-01T00:00:00+00:00"}))
    (models / "notes.json").write_text('{"terms": "none"}')
    (models / "cut.json").write_text('{"schema": 1, "terms": [], "groups": []}')
    done = nnprof("predict", "--all", NETWORK, folder=models)
    said = " ".join(done.stdout.split())
    assert "old.json is left out: fast.json is a newer fit of the same." in said
    assert "cut.json is left out: cut.json is not a cost model" in said
    assert "notes.json" not in said
    both = _asked(models, "--models", ".", "--models", "old.json", "--batch", "1")
    assert {one["file"] for one in both} == {"fast.json", "old.json", "blind.json", "slow.json"}


def test_rows_are_csv_too(models: Path) -> None:
    """A line for each offer, text in place of lists; of a single model as well."""
    done = nnprof("predict", "--all", NETWORK, "--batch", "1", "--format", "csv", folder=models)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["file"] for row in rows] == ["fast.json", "slow.json", "blind.json"]
    assert float(rows[0]["ms_per_tile"]) > 0
    one = nnprof("predict", "fast.json", NETWORK, "--format", "csv", folder=models)
    assert [row["batch"] for row in csv.DictReader(one.stdout.splitlines())] == ["1", "16", "1024"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fast.json",), "'fast.json' is one word, and a model and a network are needed."),
        (("fast.json", NETWORK, "--models", "."), "--models says where the models of --all are."),
        (("--all", NETWORK, "--ops"), "--ops shows one model."),
        (("--all", "nonsense"), "'nonsense' is not an input shape"),
        (("--all", NETWORK, "--models", "none"), "There is no file none."),
        (("--all", NETWORK, "--models", "empty"), "There is no cost model in empty."),
        ((".", NETWORK), "Cannot read '.': it is a folder."),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    models: Path, words: tuple[str, ...], said: str
) -> None:
    """Exit code 2, and nothing on standard output."""
    (models / "empty").mkdir()
    done = nnprof("predict", *words, folder=models)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_an_empty_folder_has_no_model(tmp_path: Path) -> None:
    """Where nobody says where the models are, the sentence does not end in two full stops."""
    done = nnprof("predict", "--all", NETWORK, "--budget", "5ms", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no cost model in this folder. Fit one" in done.stderr


def _of_kind(run: dict[str, Any], host: str, times: float) -> dict[str, Any]:
    """A Run as that of other boards that take so many times as long, whole networks alone."""
    for cell in run["measurements"]:
        cell["target"]["host"] = host
        cell["samples_s"] = [[times * one for one in each] for each in cell["samples_s"]]
        cell |= {"ops": None, "op_passes": []}
        for process in cell["processes"]:
            process["floor_s"] *= times
            process["energy"] = {"busy_w": {"VDD_IN": 6.0}, "idle_w": {"VDD_IN": 2.0},
                                 "busy_s": 1.0, "tiles": 1000, "readings": 9}  # fmt: skip
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs of two kinds of boards."""
    for number, (host, times) in enumerate(KINDS.items()):
        made = _of_kind(json.loads(RUN.read_bytes()), host, times)
        (tmp_path / f"run{number}.json").write_text(json.dumps(made))
    return tmp_path


def test_runs_of_a_fleet_give_a_model_of_each_kind(runs: Path) -> None:
    """Files by the names of kinds, with the energy of the Runs; all of them answer at once."""
    done = nnprof("fit-model", "run0.json", "run1.json", "-o", "lab.json", folder=runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model: lab-") == 2
    batch = json.loads(RUN.read_bytes())["measurements"][0]["workload"]["batch"]
    found = _asked(runs, "--batch", batch)
    assert [one["file"] for one in found] == ["lab-thor-77aa01.json", "lab-orin-3fa2c1.json"]
    assert [one["model"] for one in found] == ["thor-77aa01", "orin-3fa2c1"]
    assert found[0]["ms_per_tile"] == pytest.approx(found[1]["ms_per_tile"] / 2, rel=0.05)
    assert found[0]["rail"] == "VDD_IN"
    assert found[0]["mj_per_tile"] > 0


def test_one_kind_that_cannot_be_fitted_spares_the_others(runs: Path) -> None:
    """A sentence about it, exit code 2, and the other model on disk."""
    run = json.loads((runs / "run1.json").read_bytes())
    run["measurements"] = run["measurements"][:1]
    (runs / "run1.json").write_text(json.dumps(run))
    done = nnprof("fit-model", "run0.json", "run1.json", folder=runs)
    assert done.returncode == 2
    assert "No model of thor-77aa01: The Runs hold no op times" in done.stderr
    assert [path.name for path in runs.glob("model*.json")] == ["model-orin-3fa2c1.json"]


def test_a_name_is_for_one_model(runs: Path) -> None:
    """--name for two kinds is refused before anything is fitted."""
    done = nnprof("fit-model", "run0.json", "run1.json", "--name", "x", folder=runs)
    assert done.returncode == 2
    assert "A name and peaks are those of one model" in done.stderr
