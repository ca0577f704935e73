"""Groth 2019: LeNet on MNIST and CIFAR-10, one parameter at a time, the mean of four seeds.

Table 1 and section 3: 100 epochs, batch 32, SGD with rate 0.5, ReLU, 20 and 50 filters of 5×5,
stride 1, max-pools of 2. Not given, and our choice: 500 neurons (Caffe's LeNet), valid padding but
where strides vary (with a valid stride of 2 nothing is left to pool), tiles / 255, the test set as
validation, the seeds 0 to 3, and the values where only a picture had them. The loss is not given
either: at the printed rate of 0.5 cross-entropy stayed at chance here (kernels 1 and 5, an epoch of
MNIST, two seeds: 10.8 %), so it is the mean squared error, which trains. No number of the study
survives, only orders.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Above, Between, Claim, Wider, Within
from nnprof.networks.studies.study import Asked, Study, Training, merged

SEEDS = (0, 1, 2, 3)
BASE = TrainingSettings(
    epochs=100,
    batch=32,
    learning_rate=0.5,
    loss="mse",
    defaults="keras",
    init="xavier-uniform",
    normalisation="unit",
    validation="test",
    patience=None,
    keep="last",
)
_MNIST, _CIFAR = "mnist", "cifar10"
_COLOURED = "channels=3, size=32"
_SAME_ON_MNIST = "no significant effect on MNIST: within 1 point"
_POINT = 0.01


def _cell(
    name: str,
    varied: tuple[str, str],
    call: str = "",
    dataset: str = _MNIST,
    changes: Mapping[str, object] | None = None,
) -> Asked:
    """A LeNet with these arguments, in a cell called NAME-DATASET."""
    arguments = [call] if call else []
    if dataset == _CIFAR:
        arguments.append(_COLOURED)
    settings = msgspec.structs.replace(BASE, **(changes or {}))
    return _written(name, f"lenet({', '.join(arguments)})", varied, dataset, settings)


def _written(
    name: str, network: str, varied: tuple[str, str], dataset: str, settings: TrainingSettings
) -> Asked:
    return Asked(
        network=network,
        batch=32,
        name=f"{name}-{dataset}",
        varied={varied[0]: varied[1], "dataset": dataset},
        train=Training(dataset=dataset, settings=settings, seeds=SEEDS),
    )


def _study(name: str, asks: str, gives: str, cells: list[Asked], *claims: Claim) -> Study:
    return Study(name=f"groth-{name}", asks=asks, gives=gives, cells=tuple(cells), claims=claims)


def _on(cells: list[Asked], dataset: str) -> tuple[str, ...]:
    """Names of the cells on a data set."""
    return tuple(cell.name for cell in cells if cell.varied["dataset"] == dataset)


def _same(names: tuple[str, ...]) -> Within:
    return Within(says=_SAME_ON_MNIST, of="validation accuracy", cells=names, most=_POINT)


def batch() -> Study:
    """Section 4.1.1."""
    cells = [
        _cell(f"batch{size}", ("batch", str(size)), changes={"batch": size})
        for size in (16, 32, 64, 128, 256)
    ]
    asks = "Does the batch in training change the accuracy?"
    return _study("batch", asks, "section 4.1.1", cells, _same(_on(cells, _MNIST)))


def solver() -> Study:
    """Section 4.1.2; each solver but SGD with Keras' rate."""
    solvers = ("sgd", "rmsprop", "adam", "adadelta", "adagrad")
    cells = [
        _cell(
            name,
            ("solver", name),
            changes={"optimizer": name, "learning_rate": BASE.learning_rate if at == 0 else None},
        )
        for at, name in enumerate(solvers)
    ]
    asks = "Does the solver change the accuracy?"
    return _study("solver", asks, "section 4.1.2", cells, _same(_on(cells, _MNIST)))


def rate() -> Study:
    """Section 4.1.3 and Figure 6."""
    cells = [
        _cell(f"rate{value}", ("rate", str(value)), changes={"learning_rate": value})
        for value in (0.5, 0.1, 0.05, 0.01, 0.001)
    ]
    names = _on(cells, _MNIST)
    rises = Above(
        says="a higher rate rises faster: 0.001 is last",
        of="training accuracy",
        above=names[:-1],
        below=names[-1:],
    )
    asks = "Does a higher rate learn faster? (Figure 6b: --epochs 300)"
    return _study("rate", asks, "Figure 6 (plot)", cells, rises)


def init() -> Study:
    """Section 4.1.4."""
    values = {
        "he": "he",
        "glorot": "xavier-uniform",
        "negative": "negative(0.05)",
        "around-one": "normal(1,0.05)",
    }
    cells = [
        _cell(name, ("initial weights", value), changes={"init": value})
        for name, value in values.items()
    ]
    nothing = Between(
        says="negative weights, and those around 1, learn nothing",
        of="validation accuracy",
        cells=_on(cells[2:], _MNIST),
        low=0.08,
        high=0.12,
    )
    asks = "Which initial weights keep a network from learning?"
    return _study("init", asks, "section 4.1.4", cells, nothing)


def activation() -> Study:
    """Section 4.1.5."""
    words = ("relu", "softsign", "tanh", "linear")
    cells = [
        _written(
            word,
            f"1x28x28 conv20k5 {word} pool2 conv50k5 {word} pool2 fc500 {word} fc10",
            ("activation", word),
            _MNIST,
            BASE,
        )
        for word in words
    ]
    asks = "Does the activation change the accuracy?"
    return _study("activation", asks, "section 4.1.5", cells, _same(_on(cells, _MNIST)))


def kernel() -> Study:
    """Section 4.2.1 and Figure 7; 11×11 does not fit behind the first pool."""
    cells = [
        _cell(f"kernel{size}", ("kernel", str(size)), f"kernel={size}", dataset)
        for dataset in (_MNIST, _CIFAR)
        for size in (1, 3, 5, 7, 9)
    ]
    mnist = _on(cells, _MNIST)
    worse = Above(
        says="on MNIST kernel 1 is worse than all others",
        of="validation accuracy",
        above=mnist[1:],
        below=mnist[:1],
    )
    asks = "Does the size of the kernel change the accuracy?"
    return _study("kernel", asks, "Figure 7 (plot)", cells, worse, _same(mnist[1:]))


def stride() -> Study:
    """Section 4.2.2 and Figure 8; padded, or nothing would be left to pool."""
    cells = [
        _cell(f"stride{size}", ("stride", str(size)), f"stride={size}, same=1", dataset)
        for dataset in (_MNIST, _CIFAR)
        for size in (1, 2, 3)
    ]
    falls = [
        Above(
            says=f"on {dataset} stride {size} is better than {size + 1}",
            of="validation accuracy",
            above=(f"stride{size}-{dataset}",),
            below=(f"stride{size + 1}-{dataset}",),
        )
        for dataset in (_MNIST, _CIFAR)
        for size in (1, 2)
    ]
    asks = "Is a larger stride worse?"
    return _study("stride", asks, "Figure 8 (plot)", cells, *falls)


def filters() -> Study:
    """Section 4.2.3 and Figure 9."""
    cells = [
        _cell(
            f"filters{first}-{second}",
            ("filters", f"{first}, {second}"),
            f"filters1={first}, filters2={second}",
            dataset,
        )
        for dataset in (_MNIST, _CIFAR)
        for first, second in ((5, 12), (10, 25), (20, 50), (40, 100))
    ]
    wider = Wider(
        says="the number of filters matters more on CIFAR-10",
        of="validation accuracy",
        wide=_on(cells, _CIFAR),
        narrow=_on(cells, _MNIST),
    )
    asks = "Does the number of filters matter more on CIFAR-10?"
    return _study("filters", asks, "Figure 9 (plot)", cells, wider)


def layers() -> Study:
    """Section 4.2.4."""
    cells = [
        _cell(f"convs{count}", ("conv layers", str(count)), f"convs={count}", dataset)
        for dataset in (_MNIST, _CIFAR)
        for count in (2, 1, 0)
    ]
    rises = [
        Above(
            says=f"on CIFAR-10 {count} conv layers are better than {count - 1}",
            of="validation accuracy",
            above=(f"convs{count}-{_CIFAR}",),
            below=(f"convs{count - 1}-{_CIFAR}",),
        )
        for count in (2, 1)
    ]
    asks = "Do more conv layers classify better?"
    return _study("layers", asks, "section 4.2.4", cells, *rises)


def pool() -> Study:
    """Section 4.2.5; its "L2-norm" contradicts its "average": average."""
    cells = []
    for dataset, shape in ((_MNIST, "1x28x28"), (_CIFAR, "3x32x32")):
        for name, first, second in (
            ("max-max", "pool2 ", "pool2 "),
            ("one-max", "pool2 ", ""),
            ("none", "", ""),
            ("average", "avgpool2 ", "avgpool2 "),
        ):
            network = f"{shape} conv20k5 {first}conv50k5 {second}fc500 fc10"
            cells.append(_written(name, network, ("pools", name), dataset, BASE))
    asks = "Do the pools change the accuracy?"
    return _study("pool", asks, "section 4.2.5", cells, _same(_on(cells, _MNIST)))


def groth() -> Study:
    """All of them."""
    parts = (batch, solver, rate, init, activation, kernel, stride, filters, layers, pool)
    every = merged("groth", [part() for part in parts], "All studies of Groth 2019")
    return msgspec.structs.replace(every, gives="Figures 6-9 (plot), sections 4.1 and 4.2")
