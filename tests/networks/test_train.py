"""Training: repeatable, resumable, honest about time, and never a pickle."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from processes import ended, until

from nnprof.errors import BadFile, BadShape, Unavailable, UsageError
from nnprof.networks import build, datasets
from nnprof.networks import train as training
from nnprof.networks.checkpoint import load_checkpoint
from nnprof.networks.datasets import Dataset
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.spec import parse
from nnprof.networks.train import train

SPEC = parse("1x28x28 conv4k5s2 pool2 dropout0.2 fc16 fc10")
SETTINGS = TrainingSettings(epochs=4, batch=32, momentum=0.9)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The digits."""
    return datasets.digits()


@pytest.fixture(scope="module")
def trained(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished training."""
    folder = tmp_path_factory.mktemp("trained") / "out"
    train(SPEC, folder, dataset=digits, settings=SETTINGS)
    return folder


def weights_of(folder: Path) -> bytes:
    """The bytes of the weights file."""
    return (folder / "weights.safetensors").read_bytes()


def test_a_network_learns_the_digits(digits: Dataset, tmp_path: Path) -> None:
    """Ten epochs read nine of ten digits, and the record says so as the weights do."""
    settings = TrainingSettings(epochs=10, batch=16, momentum=0.9, learning_rate=0.02)
    record = train(
        parse("1x28x28 conv6k5 pool2 fc32 fc10"), tmp_path, dataset=digits, settings=settings
    )
    assert record.finished
    assert record.test_accuracy is not None
    assert record.test_accuracy > 0.93
    saved = load_checkpoint(tmp_path)
    assert saved.record == record
    network = build.restore(saved.spec, saved.weights, "here")
    mean, std = torch.tensor(saved.mean), torch.tensor(saved.std)
    again = training.accuracy(network, digits.test_inputs, digits.test_targets, mean, std)
    assert again == record.test_accuracy
    losses = [epoch.loss for epoch in record.epochs]
    assert losses[-1] < losses[0] / 3


def test_the_record_keeps_the_best_epoch_and_the_time_to_accuracy(
    digits: Dataset, tmp_path: Path
) -> None:
    """Time to 90, 95 and 97 % rises, lies within the training, and is counted in epochs too."""
    settings = TrainingSettings(epochs=6, batch=16, momentum=0.9)
    record = train(
        parse("1x28x28 conv6k5 pool2 fc32 fc10"), tmp_path, dataset=digits, settings=settings
    )
    validations = [epoch.validation_accuracy for epoch in record.epochs]
    assert record.best_epoch == validations.index(max(validations))
    reached = record.time_to["90"]
    assert reached is not None
    assert 0 < reached[0] <= record.epochs[-1].elapsed_s
    assert 0 < reached[1] <= len(record.epochs)
    known = [goal for goal in record.time_to.values() if goal]
    assert known == sorted(known)


def test_the_same_seed_gives_the_same_bytes(digits: Dataset, trained: Path, tmp_path: Path) -> None:
    """Training again writes the same weights bit by bit; another seed does not."""
    train(SPEC, tmp_path / "again", dataset=digits, settings=SETTINGS)
    train(
        msgspec.structs.replace(SPEC, seed=1), tmp_path / "other", dataset=digits, settings=SETTINGS
    )
    assert weights_of(tmp_path / "again") == weights_of(trained)
    assert weights_of(tmp_path / "other") != weights_of(trained)


def test_torch_is_left_as_it_was(digits: Dataset, tmp_path: Path) -> None:
    """Training changes neither the random state, nor threads, nor determinism of the caller."""
    state = torch.get_rng_state()
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(SPEC, tmp_path / "out", dataset=digits, settings=TrainingSettings(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


LONG = parse("1x28x28 conv4k5s2 bn relu pool2 dropout0.2 fc16 fc10")
_SCRIPT = """
import sys
from msgspec.json import decode
from nnprof.networks import datasets
from nnprof.networks.spec import parse
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.train import train
settings = decode(sys.argv[3], type=TrainingSettings)
train(parse(sys.argv[2]), sys.argv[1], dataset=datasets.digits(), settings=settings)
"""


@pytest.mark.parametrize("options", [{"momentum": 0.9, "l2": 1e-4}, {"optimizer": "adam"}])
def test_a_killed_training_resumes_to_the_same_result(
    digits: Dataset, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Killed (-9) in the middle, then resumed: the same weights as a training left alone."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = TrainingSettings(epochs=20, batch=32, patience=20, **options)
    text = msgspec.json.encode(settings).decode()
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, cut, LONG.notation, text])
    with ended(process):
        until(lambda: (cut / "record.json").exists() and len(_epochs(cut)) >= 3, process)
        process.kill()
    assert len(_epochs(cut)) < 20
    assert not json.loads((cut / "record.json").read_text())["finished"]
    train(LONG, cut, dataset=digits, settings=settings, resume=True)
    train(LONG, whole, dataset=digits, settings=settings)
    assert weights_of(cut) == weights_of(whole)
    records = [load_checkpoint(folder).record for folder in (cut, whole)]
    losses = [[(e.loss, e.validation_accuracy) for e in record.epochs] for record in records]
    assert losses[0] == losses[1]
    assert records[0].test_accuracy == records[1].test_accuracy
    assert not (cut / "state.safetensors").exists()


def _epochs(folder: Path) -> list[object]:
    return list(json.loads((folder / "record.json").read_text())["epochs"])


def test_a_finished_training_is_not_trained_further(digits: Dataset, trained: Path) -> None:
    """Resuming what has ended gives its record and touches nothing."""
    before = weights_of(trained)
    record = train(SPEC, trained, dataset=digits, settings=SETTINGS, resume=True)
    assert record.finished
    assert weights_of(trained) == before


def test_a_training_is_never_overwritten_or_mixed(digits: Dataset, trained: Path) -> None:
    """Without --resume, or with other settings, a folder with a training is left alone."""
    with pytest.raises(UsageError, match="already holds a training"):
        train(SPEC, trained, dataset=digits, settings=SETTINGS)
    with pytest.raises(UsageError, match="another settings"):
        train(SPEC, trained, dataset=digits, settings=TrainingSettings(epochs=5), resume=True)


def test_training_ends_early(digits: Dataset, tmp_path: Path) -> None:
    """With a patience of 1, the first epoch that is no better is the last."""
    settings = TrainingSettings(epochs=200, patience=1, batch=16, momentum=0.9)
    record = train(parse("1x28x28 fc10"), tmp_path, dataset=digits, settings=settings)
    validations = [epoch.validation_accuracy for epoch in record.epochs]
    assert len(validations) < 200
    assert record.best_epoch == len(validations) - 2
    assert validations[-1] <= validations[-2]


def test_l2_makes_weights_smaller(digits: Dataset, trained: Path, tmp_path: Path) -> None:
    """Equation 11: a penalty on the weights gives smaller ones."""
    settings = msgspec.structs.replace(SETTINGS, l2=0.1)
    train(SPEC, tmp_path, dataset=digits, settings=settings)
    free, held = (load_checkpoint(folder).weights["fc1.weight"] for folder in (trained, tmp_path))
    assert (held**2).sum() < (free**2).sum() / 2


TINY = parse("784 fc8 bn relu dropout0.2 fc10")


@pytest.mark.parametrize("name", ["rmsprop", "adadelta", "adagrad", "adamax"])
@pytest.mark.parametrize("defaults", ["torch", "keras"])
def test_every_optimiser_resumes_to_the_same_weights(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, defaults: str
) -> None:
    """Cut off after an epoch, then resumed: the same bytes, with either framework's defaults."""
    settings = TrainingSettings(epochs=2, optimizer=name, defaults=defaults)  # type: ignore[arg-type]
    train(TINY, tmp_path / "whole", dataset=digits, settings=settings)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("nnprof.networks.checkpoint.save_weights", cut)
        with pytest.raises(KeyboardInterrupt):
            train(TINY, tmp_path / "cut", dataset=digits, settings=settings)
    assert not (tmp_path / "cut" / "record.json").exists()
    train(TINY, tmp_path / "cut", dataset=digits, settings=settings, resume=True)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


def test_kl_is_cross_entropy_and_steps_end_a_training(digits: Dataset, tmp_path: Path) -> None:
    """With one right class both give the same weights; 30 steps are one epoch and a part."""
    records = []
    for loss in ("cross-entropy", "kl"):
        settings = TrainingSettings(loss=loss, steps=30, keep="last", validation="test")  # type: ignore[arg-type]
        records.append(train(TINY, tmp_path / loss, dataset=digits, settings=settings))
    first = load_checkpoint(tmp_path / "kl").weights["fc1.weight"]
    assert (
        first.tobytes()
        == load_checkpoint(tmp_path / "cross-entropy").weights["fc1.weight"].tobytes()
    )
    assert len(records[0].epochs) == 2
    assert records[0].best_epoch == 1
    assert records[0].test_accuracy == records[0].epochs[-1].validation_accuracy


@pytest.mark.parametrize("loss", ["mse", "mae", "rmse", "huber"])
def test_values_have_losses_and_no_accuracies(tmp_path: Path, loss: str) -> None:
    """A line is learned from its values; accuracies are None, and the record loads again."""
    inputs = np.linspace(-1, 1, 200, dtype=np.float32).reshape(-1, 2, 1)
    targets = inputs.sum(axis=1)
    line = Dataset("line", inputs, targets, inputs, targets, task="values")
    settings = TrainingSettings(loss=loss, optimizer="adam", learning_rate=0.03)  # type: ignore[arg-type]
    record = train(parse("2 fc1 linear"), tmp_path, dataset=line, settings=settings)
    assert record.test_accuracy is None
    assert {epoch.training_accuracy for epoch in record.epochs} == {None}
    assert record.test_loss is not None
    assert record.test_loss < 0.2
    assert load_checkpoint(tmp_path).record == record
    with pytest.raises(UsageError, match="no classes"):
        train(parse("2 fc1 linear"), tmp_path / "other", dataset=line)


def test_initial_weights_are_those_asked_for(digits: Dataset, tmp_path: Path) -> None:
    """Negative weights are negative after a step too short to change that; others differ."""
    for init in ("default", "he", "xavier", "xavier-uniform", "lecun", "negative(0.05)"):
        settings = TrainingSettings(init=init, steps=1, learning_rate=1e-12, keep="last")
        train(TINY, tmp_path / init, dataset=digits, settings=settings)
    drawn = {path.name: load_checkpoint(path).weights["fc1.weight"] for path in tmp_path.iterdir()}
    assert drawn["negative(0.05)"].max() <= 0
    assert drawn["he"].std() == pytest.approx((2 / 784) ** 0.5, rel=0.05)
    assert drawn["lecun"].std() == pytest.approx((1 / 784) ** 0.5, rel=0.05)
    assert drawn["xavier"].std() == pytest.approx((2 / 792) ** 0.5, rel=0.05)
    assert np.abs(drawn["xavier-uniform"]).max() <= (6 / 792) ** 0.5


def test_a_missing_gpu_is_a_sentence(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for a GPU that is not there, training says so and writes nothing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(Unavailable, match="no GPU"):
        train(TINY, tmp_path / "out", dataset=digits, settings=TrainingSettings(device="cuda"))
    assert not (tmp_path / "out").exists()


# --- normalisation --------------------------------------------------------------------------------


def test_statistics_are_those_of_equations_1_and_2(digits: Dataset) -> None:
    """Per channel and per pixel as numpy has them; a deviation of 0 becomes 1."""
    tiles = digits.train_inputs
    mean, std = training.statistics(tiles, "channel", (1, 28, 28))
    assert mean.shape == std.shape == (1, 1, 1)
    assert mean.item() == pytest.approx(tiles.mean())
    assert std.item() == pytest.approx(tiles.std())
    mean, std = training.statistics(tiles, "pixel", (1, 28, 28))
    np.testing.assert_allclose(mean, tiles.mean(axis=0), rtol=1e-6)
    raw = tiles.std(axis=0)
    np.testing.assert_allclose(std, np.where(raw == 0, 1, raw), rtol=1e-6)
    assert std[0, 0, 0] == 1
    flat, _ = training.statistics(tiles, "channel", (784,))
    assert flat.shape == (784,)


def test_normalisation_knows_the_training_part_only(digits: Dataset, tmp_path: Path) -> None:
    """Neither validation nor test tiles go into mean and deviation."""
    validation = datasets.split(digits, SPEC.seed).validation
    tiles = digits.train_inputs.copy()
    tiles[validation] = 255
    bright = Dataset(
        "digits", tiles, digits.train_targets, digits.test_inputs // 2, digits.test_targets
    )
    settings = TrainingSettings(epochs=1)
    train(SPEC, tmp_path / "plain", dataset=digits, settings=settings)
    train(SPEC, tmp_path / "bright", dataset=bright, settings=settings)
    plain, other = (load_checkpoint(tmp_path / name) for name in ("plain", "bright"))
    assert plain.mean.tobytes() == other.mean.tobytes()
    assert plain.std.tobytes() == other.std.tobytes()


@pytest.mark.parametrize("text", ["784 fc16 fc10", "1x28x28 fc16 bn relu fc10 linear"])
def test_flat_inputs_and_other_ends_train(digits: Dataset, tmp_path: Path, text: str) -> None:
    """Flat input, batch normalisation and a network without softmax train per pixel."""
    settings = TrainingSettings(epochs=2, normalisation="pixel", optimizer="adam", batch=13)
    record = train(parse(text), tmp_path, dataset=digits, settings=settings)
    assert record.test_accuracy is not None
    assert record.test_accuracy > 0.5


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1x27x28 fc10", "1x28x28 fc9", "1x28x28 conv10k5"])
def test_a_network_that_does_not_fit_the_data_is_refused(
    digits: Dataset, tmp_path: Path, text: str
) -> None:
    """Tiles of another shape and missing classes are told before training."""
    with pytest.raises(BadShape, match="'digits'"):
        train(parse(text), tmp_path, dataset=digits, settings=SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"learning_rate": -1.0}, {"momentum": 1.0}, {"l2": -1.0}, {"batch": 0},
     {"optimizer": "adam", "momentum": 0.9}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """Settings are valid from birth."""
    with pytest.raises(UsageError, match="cannot train"):
        TrainingSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["weights.safetensors", "record.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_corrupt_checkpoint_is_refused(
    trained: Path, tmp_path: Path, name: str, damage: str
) -> None:
    """A file that is missing, cut off or something else is named, with a remedy."""
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"not at all")
    with pytest.raises(BadFile, match=name) as caught:
        load_checkpoint(tmp_path)
    assert caught.value.remedy


def test_nothing_is_left_beside_the_two_files(trained: Path) -> None:
    """A finished folder holds weights and record, no temporary file and no pickle."""
    assert sorted(path.name for path in trained.iterdir()) == ["record.json", "weights.safetensors"]
