"""Gil (KTH): what training costs and gives on a processor and a GPU; dense and conv networks.

Section 3.2 and the captions of chapter 4. Dense: Reuters, 8 epochs, 64 neurons; its optimiser is
not given: RMSprop with Keras' rate is our choice, and so is the test set as validation. Conv:
CIFAR-10, batch 100, 500 steps; the network is not given. Where a caption gives a count of values
but not the values, they are ours, too. `gil_recurrent.py` has the third kind of network.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Above, Between, Claim, Linear
from nnprof.networks.studies.study import Asked, Study, Training

KERAS = TrainingSettings(
    defaults="keras",
    init="xavier-uniform",
    normalisation="none",
    validation="test",
    patience=None,
    keep="last",
)
DENSE = msgspec.structs.replace(KERAS, epochs=8, batch=128, optimizer="rmsprop")
# 500 steps of 100 are one epoch of the whole CIFAR-10, and ten of a subset of 5,000.
CONV = msgspec.structs.replace(
    KERAS, epochs=1000, steps=500, batch=100, optimizer="adam", normalisation="unit"
)
_REUTERS, _CIFAR = "reuters", "cifar10"
_MOST_LAYERS = 20


def cell(
    network: str,
    name: str,
    varied: Mapping[str, str],
    training: tuple[str, TrainingSettings],
    changes: Mapping[str, object] | None = None,
    seeds: tuple[int, ...] = (0, 1),
) -> Asked:
    """A cell trained on a data set with these settings, but for the changes."""
    dataset, base = training
    settings = msgspec.structs.replace(base, **(changes or {}))
    return Asked(
        network=network,
        batch=settings.batch,
        name=name,
        varied=dict(varied),
        train=Training(dataset=dataset, settings=settings, seeds=seeds),
    )


def study(name: str, asks: str, gives: str, cells: list[Asked], *claims: Claim) -> Study:
    """A study of Gil's."""
    return Study(name=f"gil-{name}", asks=asks, gives=gives, cells=tuple(cells), claims=claims)


def names_of(cells: list[Asked]) -> tuple[str, ...]:
    """What the cells are called."""
    return tuple(one.name for one in cells)


# --- dense ----------------------------------------------------------------------------------------

_DENSE_OF = (_REUTERS, DENSE)


def _dense(layers: int) -> str:
    """So many layers before the output, each of 64 neurons."""
    return f"10000 {'fc64 ' * layers}fc46"


def dense_device() -> Study:
    """Figure 4.1: five runs on each device."""
    cells = [
        cell(_dense(2), "dense", {}, _DENSE_OF, {"batch": 256}, seeds=(0, 1, 2, 3, 4)),
    ]
    asks = "Does a GPU train a small dense network faster? (add --device cpu,cuda)"
    return study("dense-device", asks, "Figure 4.1", cells)


def dense_batch() -> Study:
    """Figures 4.2 and 4.3: 64 batches; 16…1024 by 16 are our choice."""
    cells = [
        cell(_dense(2), f"batch{size}", {"batch": str(size)}, _DENSE_OF, {"batch": size}, (0,))
        for size in range(16, 1025, 16)
    ]
    faster = Above(
        says="a larger batch trains faster, most of it below 300",
        of="training s",
        above=("batch16", "batch32"),
        below=("batch304", "batch512", "batch1024"),
    )
    falls = Above(
        says="training accuracy falls with the batch",
        of="training accuracy",
        above=("batch64", "batch128"),
        below=("batch1008", "batch1024"),
    )
    asks = "What does the batch change in time and accuracy?"
    return study("dense-batch", asks, "Figures 4.2, 4.3", cells, faster, falls)


def dense_loss() -> Study:
    """Figures 4.4 and 4.5: four losses × batch 128, 144 … 256."""
    cells = [
        cell(
            _dense(2),
            f"{loss}-batch{size}",
            {"loss": loss, "batch": str(size)},
            _DENSE_OF,
            {"loss": loss, "batch": size},
        )
        for loss in ("cross-entropy", "hinge", "squared-hinge", "kl")
        for size in range(128, 257, 16)
    ]
    at128 = [one for one in cells if one.varied["batch"] == "128"]
    best = Above(
        says="cross-entropy is better than hinge and squared hinge",
        of="training accuracy",
        above=(names_of(at128)[0],),
        below=names_of(at128)[1:3],
    )
    asks = "Which loss suits a dense network?"
    return study("dense-loss", asks, "Figures 4.4, 4.5", cells, best)


def dense_layers() -> Study:
    """Figures 4.6 to 4.9: 1 to 20 layers, at batch 128, and at a batch that grows by 32 with each.

    The captions count runs, not layers: up to 20 is our choice.
    """
    cells = [
        cell(
            _dense(count),
            f"layers{count:02d}",
            {"layers": str(count), "batch": "128"},
            _DENSE_OF,
        )
        for count in range(1, _MOST_LAYERS + 1)
    ]
    names = names_of(cells)
    growing = [
        cell(
            _dense(count),
            f"layers{count:02d}-growing",
            {"layers": str(count), "batch": str(128 + 32 * (count - 1))},
            _DENSE_OF,
            {"batch": 128 + 32 * (count - 1)},
            (0,),
        )
        for count in range(1, _MOST_LAYERS + 1)
    ]
    asks = "How many dense layers pay?"
    return study("dense-layers", asks, "Figures 4.6-4.9", [*cells, *growing], *_of_layers(names))


def _of_layers(names: tuple[str, ...]) -> tuple[Claim, ...]:
    return (
        Between(
            says="validation accuracy of 1 and 2 layers is 0.79 to 0.87",
            of="validation accuracy",
            cells=names[:2],
            low=0.79,
            high=0.87,
        ),
        Above(
            says="many layers are worse than one or two, in training",
            of="training accuracy",
            above=names[:2],
            below=names[-3:],
        ),
        Above(
            says="many layers are worse than one or two, in validation",
            of="validation accuracy",
            above=names[:2],
            below=names[-3:],
        ),
        Linear(says="time is a line of the layers", of="s per epoch", cells=names, varied="layers"),
    )


# --- conv -----------------------------------------------------------------------------------------

_CONV_OF = (_CIFAR, CONV)


def _conv(layers: int) -> str:
    """So many convolutions, the first two of them with a pool: our choice, the study has none."""
    first, second = "conv32k5same pool2 ", "conv64k5same " if layers > 1 else ""
    between = "conv64k5same " * max(0, layers - 2)
    return f"3x32x32 {first}{between}{second}{'pool2 ' if layers > 1 else ''}fc512 fc10"


def conv_device() -> Study:
    """Figure 4.10: five runs on each device."""
    cells = [cell(_conv(2), "conv", {}, _CONV_OF, seeds=(0, 1, 2, 3, 4))]
    asks = "How much faster does a GPU train a convolutional network? (add --device cpu,cuda)"
    return study("conv-device", asks, "Figure 4.10", cells)


def conv_batch() -> Study:
    """Figures 4.11 and 4.12; of the batches 80, 100 and 500 are named."""
    cells = [
        cell(_conv(2), f"batch{size}", {"batch": str(size)}, _CONV_OF, {"batch": size})
        for size in (80, 100, 500)
    ]
    slower = Above(
        says="500 tiles a step take longer for as many steps",
        of="training s",
        above=("batch500",),
        below=("batch80", "batch100"),
    )
    asks = "Which batch suits a convolutional network?"
    return study("conv-batch", asks, "Figures 4.11, 4.12", cells, slower)


def conv_optimizer() -> Study:
    """Figures 4.13 and 4.14, each with Keras' rate."""
    cells = [
        cell(_conv(2), name, {"optimizer": name}, _CONV_OF, {"optimizer": name})
        for name in ("sgd", "adam", "rmsprop", "adadelta")
    ]
    claims = (
        Above(
            says="Adam and RMSprop are better than gradient descent",
            of="validation accuracy",
            above=("adam", "rmsprop"),
            below=("sgd",),
        ),
        Above(
            says="gradient descent is better than Adadelta",
            of="validation accuracy",
            above=("sgd",),
            below=("adadelta",),
        ),
        Between(
            says="gradient descent reaches 0.3 ± 0.1",
            of="validation accuracy",
            cells=("sgd",),
            low=0.2,
            high=0.4,
        ),
        Between(
            says="Adadelta stays at 0.1 ± 0.05",
            of="validation accuracy",
            cells=("adadelta",),
            low=0.05,
            high=0.15,
        ),
    )
    asks = "Which optimiser suits a convolutional network?"
    return study("conv-optimizer", asks, "Figures 4.13, 4.14", cells, *claims)


def conv_layers() -> Study:
    """Figures 4.15 and 4.16; 1, 2, 10 and 20 layers are named."""
    cells = [
        cell(_conv(count), f"convs{count:02d}", {"conv layers": str(count)}, _CONV_OF)
        for count in (1, 2, 10, 20)
    ]
    claims = (
        Above(
            says="two layers are best",
            of="validation accuracy",
            above=("convs02",),
            below=("convs01", "convs10", "convs20"),
        ),
        Above(
            says="20 layers collapse; 10 are fair",
            of="validation accuracy",
            above=("convs10",),
            below=("convs20",),
        ),
        Above(
            says="more layers take longer",
            of="training s",
            above=("convs20",),
            below=("convs01", "convs02", "convs10"),
        ),
    )
    asks = "How many conv layers pay?"
    return study("conv-layers", asks, "Figures 4.15, 4.16", cells, *claims)
