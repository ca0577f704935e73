"""Li: fully connected and convolutional networks of the same number of weights on Fashion-MNIST.

Sections 1 and 4: 60,000 tiles, of which a tenth validates; Adam with rate 0.001, batch 512,
cross-entropy, batch norm before ReLU. Epochs are not given; the lowest losses are of epochs 13 to
20: 20 is our choice, and so are tiles / 255. Table 2's FCN 50K and 200K give no widths: 50,120 is
the only pair that fits its weights, 200,200 one of two.
"""

from __future__ import annotations

import msgspec

from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Above, Between
from nnprof.networks.studies.study import Asked, Study, Training

_SETTINGS = TrainingSettings(
    epochs=20, batch=512, optimizer="adam", normalisation="unit", patience=None
)
_DENSE = {"50K": (50, 120), "100K": (100, 180), "200K": (200, 200)}
_CONV = {
    "10K": (10, 18, 8, 20),
    "20K": (20, 30, 9, 20),
    "50K": (25, 40, 20, 30),
    "100K": (40, 60, 25, 50),
}


def _cell(name: str, network: str, varied: dict[str, str], init: str) -> Asked:
    settings = msgspec.structs.replace(_SETTINGS, init=init)
    training = Training(dataset="fashion-mnist", settings=settings)
    return Asked(network=network, batch=512, name=name, varied=varied, train=training)


def li_fcn() -> Study:
    """Tables 1 and 2: Xavier's weights, and those of a framework (here ours) as the baseline."""
    cells = [
        _cell(f"fcn{name}", f"784 fc{a} bn relu fc{b} bn relu fc10", {"weights": name}, "xavier")
        for name, (a, b) in _DENSE.items()
    ]
    baseline = {"weights": "100K", "init": "default"}
    network = cells[1].network
    cells.append(_cell("fcn100K-baseline", network, baseline, "default"))
    return Study(
        name="li-fcn",
        asks="How well does a fully connected network do with 50K, 100K and 200K weights?",
        gives="Tables 1 and 2, Figure 1 (plot)",
        cells=tuple(cells),
        claims=(
            *_near({"fcn100K": 0.885156, "fcn100K-baseline": 0.878223}),
            *_near({"fcn50K": 0.874219, "fcn200K": 0.887988}),
        ),
    )


def li_cnn() -> Study:
    """Tables 3 to 5; beside them the FCN of 100K for the ratio of times."""
    cells = [
        _cell(
            f"cnn{name}",
            f"1x28x28 conv{a}k3same bn relu pool2 conv{b}k3same bn relu pool2 "
            f"fc{c} bn relu fc{d} bn relu fc10",
            {"weights": name},
            "default",
        )
        for name, (a, b, c, d) in _CONV.items()
    ]
    (dense,) = (cell for cell in li_fcn().cells if cell.name == "fcn100K")
    large = tuple(f"cnn{name}" for name in ("20K", "50K", "100K"))
    return Study(
        name="li-cnn",
        asks="How much better is a convolutional network of as many weights, and how much slower?",
        gives="Tables 3-5, Figures 2 and 3 (maps)",
        cells=(*cells, dense),
        claims=(
            *_near({"cnn10K": 0.892871, "cnn20K": 0.907031}),
            *_near({"cnn50K": 0.912207, "cnn100K": 0.907031}),
            Above(
                says="a CNN of 20K weights or more beats the FCN of 100K",
                of="test accuracy",
                above=large,
                below=("fcn100K",),
            ),
            Above(
                says="on a processor each CNN trains slower than the FCN",
                of="s per epoch",
                above=tuple(cell.name for cell in cells),
                below=("fcn100K",),
            ),
        ),
    )


def _near(reported: dict[str, float]) -> tuple[Between, ...]:
    """Accuracies of the tables; the tolerance of 0.8 points is ours."""
    return tuple(
        Between(
            says=f"{name}: {value:.2%} ± 0.8 points (ours)",
            of="test accuracy",
            cells=(name,),
            low=round(value - 0.008, 4),
            high=round(value + 0.008, 4),
        )
        for name, value in reported.items()
    )
