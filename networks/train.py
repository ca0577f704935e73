"""Training: minibatch SGD or Adam, L2, early termination, time to accuracy; repeatable, resumable.

Follows Mattsson 2016, section 2: mean subtraction and normalisation (equations 1-3, which are per
pixel; the default is per channel), cross-entropy on the logits (7-9), SGD (10), L2 (11), early
termination on the validation set. The network's seed decides weights, split, order and dropout. The
same seed and thread count give the same weights, bit by bit, also when the training was killed and
resumed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, BadShape, UsageError
from nnprof.files import AnyPath
from nnprof.networks import build, checkpoint, datasets
from nnprof.networks.datasets import Dataset, Tiles
from nnprof.networks.families import parse_network
from nnprof.networks.settings import DEFAULTS, TrainingSettings
from nnprof.networks.spec import NetworkSpec
from nnprof.types import Epoch, TrainingRecord

# build says what to do where torch is missing, so it comes before torch.
import torch  # isort: skip
from torch import nn  # isort: skip


_LOG = logging.getLogger(__name__)
GOALS_PERCENT = (90, 95, 97)
CHECKS_PER_EPOCH = 8
CHECK_TILES = 1000
_CHUNK = 1000  # tiles at once where no gradient is needed
_MODEL, _BEST, _OPTIMISER = "model.", "best.", "optimiser."


def train(
    network: NetworkSpec | str,
    folder: AnyPath,
    *,
    dataset: Dataset | str = "mnist",
    settings: TrainingSettings = DEFAULTS,
    resume: bool = False,
) -> TrainingRecord:
    """Train the network, keep the weights of the best epoch in `folder`, return the record.

    After every epoch the folder is complete. With `resume` a training that was cut off goes on to
    the same result; a training that has ended is left as it is.

    Raises:
        BadShape: the network does not fit the tiles or the classes.
        BadFile: the training to resume is missing or corrupt.
        UsageError: the training was started with other settings, or, without `resume`, the folder
            holds a training already.
    """
    spec = parse_network(network) if isinstance(network, str) else network
    dataset = datasets.load(dataset) if isinstance(dataset, str) else dataset
    folder = Path(folder)
    _check_fit(spec, dataset)
    if resume and (folder / checkpoint.RECORD).is_file():
        record = checkpoint.load_record(folder)
        _check_same(record, _new_record(spec, dataset, settings), folder)
        if record.finished:
            return record
    elif not resume and (folder / checkpoint.RECORD).exists():
        raise UsageError(
            f"'{folder}' already holds a training.",
            "Add --resume to go on with it, or choose another folder.",
        )
    with _repeatable(settings.threads):
        trainer = _Training(spec, dataset, settings, folder)
        if resume and (folder / checkpoint.STATE).exists():
            trainer.resume()
        return trainer.run()


def statistics(
    tiles: Tiles, kind: str, input_shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the tiles (equations 1 and 2); a deviation of 0 becomes 1.

    Of shape (C, 1, 1) per channel and (C, H, W) per pixel; flat for a network with flat input.
    """
    axes = (0, 2, 3) if kind == "channel" else (0,)
    mean = tiles.mean(axis=axes, dtype=np.float64, keepdims=True)
    # In chunks: all differences at once would take gigabytes.
    squares = np.zeros_like(mean)
    for start in range(0, len(tiles), _CHUNK):
        squares += ((tiles[start : start + _CHUNK] - mean) ** 2).sum(axis=axes, keepdims=True)
    std = np.sqrt(squares / (tiles.size / mean.size))
    std[std == 0] = 1
    if len(input_shape) == 1:
        mean, std = (
            np.broadcast_to(value, (1, *tiles.shape[1:])).reshape(1, -1) for value in (mean, std)
        )
    return mean[0].astype(np.float32), std[0].astype(np.float32)


def accuracy(
    network: nn.Module, tiles: Tiles, labels: NDArray[np.int64], mean: Any, std: Any
) -> float:
    """Share (0…1) of the raw uint8 tiles whose top-1 class is the label. Keeps the mode."""
    mode = network.training
    network.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(tiles), _CHUNK):
            scores = network(_prepared(tiles[start : start + _CHUNK], mean, std))
            classes = scores.argmax(dim=1).numpy()
            right += int((classes == labels[start : start + _CHUNK]).sum())
    network.train(mode)
    return right / len(tiles)


# --- before the first epoch -----------------------------------------------------------------------


def _check_fit(spec: NetworkSpec, dataset: Dataset) -> None:
    tile = dataset.train_inputs.shape[1:]
    if spec.input_shape not in (tile, (int(np.prod(tile)),)):
        raise BadShape(
            f"The network takes {'×'.join(map(str, spec.input_shape))}, but the tiles of "
            f"'{dataset.name}' are {'×'.join(map(str, tile))}."
        )
    output = spec.shapes[-1]
    if len(output) != 1 or output[0] < dataset.classes:
        raise BadShape(
            f"The network gives {'×'.join(map(str, output))} values, but '{dataset.name}' has "
            f"{dataset.classes} classes: end it with fc{dataset.classes}."
        )


def _new_record(spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings) -> TrainingRecord:
    given = msgspec.structs.asdict(settings)
    return TrainingRecord(
        network=spec.notation,
        dataset=dataset.name,
        normalisation=settings.normalisation,
        settings={**given, "learning_rate": settings.rate},
        seed=spec.seed,
        time_to=dict.fromkeys(map(str, GOALS_PERCENT)),
    )


def _check_same(found: TrainingRecord, asked: TrainingRecord, folder: Path) -> None:
    for name in ("network", "dataset", "settings"):
        if getattr(found, name) != getattr(asked, name):
            raise UsageError(
                f"The training in '{folder}' has another {name}: {getattr(found, name)}.",
                "Resume it with the same arguments, or choose another folder.",
            )


@contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Deterministic operators and a private random state; torch is left as it was."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _prepared(tiles: Tiles, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Equation 3, in the input shape of the network."""
    values = torch.from_numpy(tiles.astype(np.float32))
    return (values.reshape(-1, *mean.shape) if mean.ndim == 1 else values).sub(mean).div(std)


# --- training -------------------------------------------------------------------------------------


class _Training:
    """The state of one training, which changes from epoch to epoch."""

    def __init__(
        self, spec: NetworkSpec, dataset: Dataset, settings: TrainingSettings, folder: Path
    ) -> None:
        self.spec, self.dataset, self.settings, self.folder = spec, dataset, settings, folder
        self.record = _new_record(spec, dataset, settings)
        self.split = datasets.split(dataset, spec.seed)
        tiles = dataset.train_inputs[self.split.training]
        mean, std = statistics(tiles, settings.normalisation, spec.input_shape)
        self.mean, self.std = torch.from_numpy(mean), torch.from_numpy(std)
        self.network = build.build(spec)
        self.optimiser = _optimiser(self.network, settings)
        self.best = _arrays(self.network.state_dict())

    def run(self) -> TrainingRecord:
        """The epochs that are left, then the test."""
        news = ""
        while not self._ended():
            number = len(self.record.epochs) + 1
            _LOG.info("training: epoch %d of %d%s", number, self.settings.epochs, news)
            self._epoch()
            self._save()
            last = self.record.epochs[-1]
            validation = f"validation {last.validation_accuracy:.2%}"
            news = f"; the last one: loss {last.loss:.4f}, {validation}"
        _LOG.debug("testing on %d tiles", len(self.dataset.test_inputs))
        network = build.restore(self.spec, self.best, str(self.folder))
        tested = accuracy(
            network, self.dataset.test_inputs, self.dataset.test_targets, self.mean, self.std
        )
        self.record = msgspec.structs.replace(self.record, test_accuracy=tested, finished=True)
        self._save_weights()
        checkpoint.drop_state(self.folder)
        return self.record

    def _ended(self) -> bool:
        done = len(self.record.epochs)
        best = self.record.best_epoch
        patient = best is None or done - 1 - best < self.settings.patience
        return done >= self.settings.epochs or not patient

    def _epoch(self) -> None:
        number = len(self.record.epochs)
        elapsed_s = self.record.epochs[-1].elapsed_s if number else 0.0
        # Everything random of an epoch comes from the seed and its number, so resuming is exact.
        random = np.random.default_rng([self.spec.seed, 1, number])
        torch.manual_seed(int(random.integers(2**63)))
        order = random.permutation(self.split.training)
        starts = range(0, len(order), self.settings.batch)
        check_every = max(1, len(starts) // CHECKS_PER_EPOCH)
        time_to = dict(self.record.time_to)
        losses = 0.0
        for step, start in enumerate(starts, start=1):
            chosen = order[start : start + self.settings.batch]
            begin = time.perf_counter()
            losses += self._step(chosen) * len(chosen)
            elapsed_s += time.perf_counter() - begin
            if step % check_every == 0:
                self._check_goals(time_to, random, elapsed_s, number + step / len(starts))
        validation = self._validation_accuracy(self.split.validation)
        epoch = Epoch(loss=losses / len(order), validation_accuracy=validation, elapsed_s=elapsed_s)
        self._keep(epoch, time_to)

    def _step(self, chosen: NDArray[np.int64]) -> float:
        """One step of the optimiser on these tiles; the mean cross-entropy before it."""
        inputs = _prepared(self.dataset.train_inputs[chosen], self.mean, self.std)
        labels = torch.from_numpy(self.dataset.train_targets[chosen])
        # A batch of one tells batch normalisation nothing about deviations.
        if len(chosen) == 1 and any(isinstance(part, nn.BatchNorm1d) for part in self.network):
            return 0.0
        self.optimiser.zero_grad()
        loss = nn.functional.cross_entropy(build.logits(self.network)(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def _check_goals(
        self,
        time_to: dict[str, tuple[float, float] | None],
        random: np.random.Generator,
        elapsed_s: float,
        epochs: float,
    ) -> None:
        """Note the goals that are reached on a random part of the validation tiles."""
        part = random.permutation(self.split.validation)[:CHECK_TILES]
        if all(time_to.values()):
            return
        reached = 100 * self._validation_accuracy(part)
        for goal in GOALS_PERCENT:
            if reached >= goal and time_to[str(goal)] is None:
                time_to[str(goal)] = (elapsed_s, epochs)

    def _validation_accuracy(self, chosen: NDArray[np.int64]) -> float:
        tiles, labels = self.split.inputs[chosen], self.split.targets[chosen]
        return accuracy(self.network, tiles, labels, self.mean, self.std)

    def _keep(self, epoch: Epoch, time_to: dict[str, tuple[float, float] | None]) -> None:
        best = self.record.best_epoch
        if best is None or (
            epoch.validation_accuracy > self.record.epochs[best].validation_accuracy
        ):
            best = len(self.record.epochs)
            self.best = _arrays(self.network.state_dict())
        self.record = msgspec.structs.replace(
            self.record, epochs=(*self.record.epochs, epoch), best_epoch=best, time_to=time_to
        )

    def _save(self) -> None:
        # The state comes first: it alone is enough to resume.
        tensors = {
            **_prefixed(_MODEL, _arrays(self.network.state_dict())),
            **_prefixed(_BEST, self.best),
            **_prefixed(_OPTIMISER, _optimiser_arrays(self.optimiser)),
        }
        checkpoint.save_state(self.folder, self.record, tensors)
        self._save_weights()

    def _save_weights(self) -> None:
        checkpoint.save_weights(
            self.folder, self.record, self.best, self.mean.numpy(), self.std.numpy()
        )

    def resume(self) -> None:
        """Go back to where state.safetensors was written."""
        record, tensors = checkpoint.load_state(self.folder)
        _check_same(record, self.record, self.folder)
        source = str(self.folder / checkpoint.STATE)
        weights = _without_prefix(_MODEL, tensors)
        self.best = _without_prefix(_BEST, tensors)
        self.network = build.restore(self.spec, weights, source)
        self.optimiser = _optimiser(self.network, self.settings)
        try:
            _restore_optimiser(self.optimiser, _without_prefix(_OPTIMISER, tensors))
        except (KeyError, ValueError) as error:
            raise BadFile(
                f"'{source}' lacks the optimiser's state.", "Train without --resume."
            ) from error
        self.record = record


# --- optimiser ------------------------------------------------------------------------------------


def _optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    # For both optimisers torch's weight_decay adds β·W to the gradient: that of equation 11.
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.l2},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.rate)
    return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum)


def _optimiser_arrays(optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """State per parameter as `3.momentum_buffer`, the parameter counted over all groups."""
    return {
        f"{index}.{name}": value.numpy(force=True)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, arrays: dict[str, NDArray[Any]]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in arrays.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = torch.tensor(value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _arrays(tensors: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: value.numpy(force=True).copy() for name, value in tensors.items()}


def _prefixed(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {prefix + name: value for name, value in arrays.items()}


def _without_prefix(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
