"""Training: minibatch steps, L2, early termination, time to accuracy; repeatable, resumable.

Follows Mattsson 2016, section 2: mean subtraction and normalisation (equations 1-3, which are per
pixel; the default is per channel), cross-entropy on the logits (7-9), SGD (10), L2 (11), early
termination on the validation set; other losses, optimisers and initial weights are settings. The
network's seed decides weights, split, order and dropout. The same seed and thread count give the
same weights, bit by bit, also when the training was killed and resumed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile
from nnprof.files import AnyPath
from nnprof.networks import (
    build,
    checkpoint,
    datasets,
    hardware,
    initialisers,
    losses,
    optimisers,
    preconditions,
)
from nnprof.networks.datasets import Dataset
from nnprof.networks.families import parse_network
from nnprof.networks.normalisation import statistics
from nnprof.networks.pace import Pace
from nnprof.networks.preconditions import GOALS_PERCENT
from nnprof.networks.pytorch import nn, torch
from nnprof.networks.settings import DEFAULTS, TrainingSettings, parse_init
from nnprof.networks.spec import NetworkSpec
from nnprof.types import Epoch, TrainingRecord

_LOG = logging.getLogger(__name__)
CHECKS_PER_EPOCH = 8
CHECK_TILES = 1000
_CHUNK = 1000  # inputs at once where no gradient is needed
_NEWS_S = 0.5  # between two words on the time left
_MODEL, _BEST, _OPTIMISER = "model.", "best.", "optimiser."


def train(
    network: NetworkSpec | str,
    folder: AnyPath,
    *,
    dataset: Dataset | str = "mnist",
    settings: TrainingSettings = DEFAULTS,
    resume: bool = False,
    study: str = "",
    cell: str = "",
    varied: Mapping[str, str] | None = None,
    at_once: int = 1,
) -> TrainingRecord:
    """Train the network, keep the weights of one epoch in `folder`, return the record.

    After every epoch the folder is complete. With `resume` a training that was cut off goes on to
    the same result; a training that has ended is left as it is. `study`, `cell` and `varied` say in
    the record what the training is part of, `at_once` how many trainings ran at a time.

    Raises:
        BadShape: the network does not fit the inputs or the targets.
        BadFile: the training to resume is missing or corrupt.
        Unavailable: there is no GPU where the settings ask for one.
        UsageError: the loss does not fit the targets, the training was started with other settings,
            or, without `resume`, the folder holds a training already.
    """
    spec = parse_network(network) if isinstance(network, str) else network
    hardware.require(settings.device)
    dataset = datasets.load(dataset) if isinstance(dataset, str) else dataset
    folder = Path(folder)
    preconditions.check(spec, dataset, settings)
    told = {"study": study, "cell": cell, "varied": dict(varied or {})}
    facts = {**hardware.facts(settings.device), "at_once": str(at_once)}
    new = preconditions.new_record(spec, dataset, settings, facts, told)
    if finished := preconditions.finished(folder, new, resume=resume):
        return finished
    with hardware.repeatable(settings.threads, settings.device):
        trainer = Trainer(spec, dataset, settings, folder, new)
        if resume and (folder / checkpoint.STATE).exists():
            trainer.resume()
        return trainer.run()


def outputs(network: nn.Module, inputs: NDArray[Any], mean: Any, std: Any) -> torch.Tensor:
    """What the network gives for raw inputs, on the processor. Keeps the mode."""
    mode = network.training
    network.eval()
    with torch.no_grad():
        parts = [
            network(_prepared(inputs[start : start + _CHUNK], mean, std)).cpu()
            for start in range(0, len(inputs), _CHUNK)
        ]
    network.train(mode)
    return torch.cat(parts)


def accuracy(
    network: nn.Module, inputs: NDArray[Any], labels: NDArray[np.int64], mean: Any, std: Any
) -> float:
    """Share (0…1) of the raw inputs whose top-1 class is the label. Keeps the mode."""
    return _right(outputs(network, inputs, mean, std), labels) / len(inputs)


def _right(given: torch.Tensor, labels: NDArray[np.int64]) -> int:
    return int((given.argmax(dim=1).numpy(force=True) == labels).sum())


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _prepared(inputs: NDArray[Any], mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Equation 3, in the input shape of the network, where `mean` lies."""
    values = torch.from_numpy(inputs).to(mean.device).float()
    return (values.reshape(-1, *mean.shape) if mean.ndim == 1 else values).sub(mean).div(std)


# --- training -------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """What the steps of one epoch add up to."""

    loss: float = 0.0
    right: int = 0
    inputs: int = 0
    wall_s: float = 0.0
    processor_s: float = 0.0


class Trainer:
    """The state of one training, which changes from epoch to epoch."""

    def __init__(
        self,
        spec: NetworkSpec,
        dataset: Dataset,
        settings: TrainingSettings,
        folder: Path,
        record: TrainingRecord,
    ) -> None:
        self.spec, self.dataset, self.settings, self.folder = spec, dataset, settings, folder
        self.record = record
        self.split = datasets.split(dataset, spec.seed, settings.validation)
        inputs = dataset.train_inputs[self.split.training]
        mean, std = statistics(inputs, settings.normalisation, spec.input_shape)
        self.mean = torch.from_numpy(mean).to(settings.device)
        self.std = torch.from_numpy(std).to(settings.device)
        self.network = build.build(spec)
        initialisers.draw(self.network, parse_init(settings.init), spec.seed)
        self.network.to(settings.device)
        self.normalised = any(isinstance(one, nn.BatchNorm1d) for one in self.network.modules())
        self.optimiser = optimisers.optimiser(self.network, settings)
        self.best = _arrays(self.network.state_dict())
        self.per_epoch = -(-len(inputs) // settings.batch)
        all_steps = self.per_epoch * settings.epochs
        self.all_steps = min(all_steps, settings.steps or all_steps)
        self.pace: Pace | None = None
        self.news_s = 0.0

    def run(self) -> TrainingRecord:
        """The epochs that are left, then the test."""
        while not self._ended():
            self._epoch()
            self._save()
        _LOG.debug("testing on %d inputs", len(self.dataset.test_inputs))
        network = build.restore(self.spec, self.best, str(self.folder)).to(self.settings.device)
        loss, right = self.tested(network, self.dataset.test_inputs, self.dataset.test_targets)
        self.record = msgspec.structs.replace(
            self.record, test_accuracy=right, test_loss=loss, finished=True
        )
        self._save_weights()
        checkpoint.drop_state(self.folder)
        return self.record

    def _steps_done(self) -> int:
        return min(self.per_epoch * len(self.record.epochs), self.all_steps)

    def _ended(self) -> bool:
        done = len(self.record.epochs)
        scores = [_score(epoch) for epoch in self.record.epochs]
        patience = self.settings.patience
        patient = not done or patience is None or done - 1 - scores.index(max(scores)) < patience
        return self._steps_done() >= self.all_steps or not patient

    def _epoch(self) -> None:
        number = len(self.record.epochs)
        before_s = self.record.epochs[-1].elapsed_s if number else 0.0
        # Everything random of an epoch comes from the seed and its number, so resuming is exact.
        random = np.random.default_rng([self.spec.seed, 1, number])
        torch.manual_seed(int(random.integers(2**63)))
        order = random.permutation(self.split.training)
        steps = min(self.per_epoch, self.all_steps - number * self.per_epoch)
        check_every = max(1, steps // CHECKS_PER_EPOCH)
        time_to = dict(self.record.time_to)
        sums = Sums()
        for step in range(1, steps + 1):
            chosen = order[(step - 1) * self.settings.batch : step * self.settings.batch]
            sums = self.timed_step(chosen, sums)
            self._tell(number * self.per_epoch + step)
            if step % check_every == 0 and time_to:
                reached = before_s + sums.wall_s, number + step / self.per_epoch
                self._check_goals(time_to, random, reached)
        self._keep(self._validated(sums, before_s), time_to)

    def _validated(self, sums: Sums, before_s: float) -> Epoch:
        split = self.split
        chosen = split.validation
        loss, right = self.tested(self.network, split.inputs[chosen], split.targets[chosen])
        classes = self.dataset.task == "classes"
        return Epoch(
            loss=_finite(sums.loss / sums.inputs),
            training_accuracy=sums.right / sums.inputs if classes else None,
            validation_loss=loss,
            validation_accuracy=right,
            elapsed_s=before_s + sums.wall_s,
            seconds=sums.wall_s,
            processor_s=sums.processor_s,
        )

    def timed_step(self, chosen: NDArray[np.int64], sums: Sums) -> Sums:
        """One step on these inputs, added to the sums."""
        begin_s, processor_s = time.perf_counter(), time.process_time()
        loss, given = self._step(chosen)
        processor_s = time.process_time() - processor_s
        wall_s = time.perf_counter() - begin_s
        right = 0
        if given is not None and self.dataset.task == "classes":
            right = _right(given, self.dataset.train_targets[chosen])
        return Sums(
            sums.loss + loss * len(chosen),
            sums.right + right,
            sums.inputs + len(chosen),
            sums.wall_s + wall_s,
            sums.processor_s + processor_s,
        )

    def _step(self, chosen: NDArray[np.int64]) -> tuple[float, torch.Tensor | None]:
        """One step of the optimiser on these inputs; mean loss and outputs before it."""
        inputs = _prepared(self.dataset.train_inputs[chosen], self.mean, self.std)
        targets = torch.from_numpy(self.dataset.train_targets[chosen]).to(self.settings.device)
        # A batch of one tells batch normalisation nothing about deviations.
        if len(chosen) == 1 and self.normalised:
            return 0.0, None
        self.optimiser.zero_grad()
        given = self._scoring(self.network)(inputs)
        loss = losses.loss_of(self.settings.loss, given, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach()), given.detach()

    def _scoring(self, network: nn.Sequential) -> nn.Sequential:
        """What the loss is taken on."""
        return build.logits(network) if self.settings.loss in losses.ON_LOGITS else network

    def tested(
        self, network: nn.Sequential, inputs: NDArray[Any], targets: NDArray[Any]
    ) -> tuple[float | None, float | None]:
        """Loss and, for classes, accuracy; a loss that is no finite number is None."""
        mode = network.training
        given = outputs(self._scoring(network).eval(), inputs, self.mean, self.std)
        network.train(mode)
        loss = float(losses.loss_of(self.settings.loss, given, torch.from_numpy(targets)))
        right = _right(given, targets) / len(inputs) if self.dataset.task == "classes" else None
        return _finite(loss), right

    def _check_goals(
        self,
        time_to: dict[str, tuple[float, float] | None],
        random: np.random.Generator,
        reached: tuple[float, float],
    ) -> None:
        """Note the goals that are reached on a random part of the validation set."""
        part = random.permutation(self.split.validation)[:CHECK_TILES]
        if all(time_to.values()):
            return
        inputs, labels = self.split.inputs[part], self.split.targets[part]
        percent = 100 * accuracy(self.network, inputs, labels, self.mean, self.std)
        for goal in GOALS_PERCENT:
            if percent >= goal and time_to[str(goal)] is None:
                time_to[str(goal)] = reached

    def _tell(self, done: int) -> None:
        """Say where the training is, and how long it takes at most."""
        now_s = time.perf_counter()
        self.pace = self.pace or Pace(now_s, done)
        if now_s < self.news_s:
            return
        self.news_s = now_s + _NEWS_S
        left = self.pace.told(now_s, done, self.all_steps)
        text = f"{left}; epoch {len(self.record.epochs) + 1}"
        if self.record.epochs:
            last = self.record.epochs[-1]
            if last.validation_accuracy is not None:
                text += f"; the last one: validation {last.validation_accuracy:.2%}"
            elif last.validation_loss is not None:
                text += f"; the last one: validation loss {last.validation_loss:.4g}"
        _LOG.info("training: step %d of %d, %s", done, self.all_steps, text)

    def _keep(self, epoch: Epoch, time_to: dict[str, tuple[float, float] | None]) -> None:
        best = self.record.best_epoch
        better = best is None or _score(epoch) > _score(self.record.epochs[best])
        if better or self.settings.keep == "last":
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
            **_prefixed(_OPTIMISER, optimisers.arrays(self.optimiser)),
        }
        checkpoint.save_state(self.folder, self.record, tensors)
        self._save_weights()

    def _save_weights(self) -> None:
        mean, std = self.mean.numpy(force=True), self.std.numpy(force=True)
        checkpoint.save_weights(self.folder, self.record, self.best, mean, std)

    def resume(self) -> None:
        """Go back to where state.safetensors was written."""
        record, tensors = checkpoint.load_state(self.folder)
        preconditions.check_same(record, self.record, self.folder)
        source = str(self.folder / checkpoint.STATE)
        weights = _without_prefix(_MODEL, tensors)
        self.best = _without_prefix(_BEST, tensors)
        self.network = build.restore(self.spec, weights, source).to(self.settings.device)
        self.optimiser = optimisers.optimiser(self.network, self.settings)
        try:
            optimisers.restore(self.optimiser, _without_prefix(_OPTIMISER, tensors))
        except (KeyError, ValueError) as error:
            raise BadFile(
                f"'{source}' lacks the optimiser's state.", "Train without --resume."
            ) from error
        self.record = record


def _score(epoch: Epoch) -> float:
    """What is larger for a better epoch: its accuracy, or, of values, its loss below 0."""
    if epoch.validation_accuracy is not None:
        return epoch.validation_accuracy
    return -math.inf if epoch.validation_loss is None else -epoch.validation_loss


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
