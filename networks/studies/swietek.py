"""Świętek 2024: fourteen shapes of fully connected networks on MNIST.

All have ReLU and then batch norm, as Keras orders them; 60,000 tiles to train, the 10,000 of the
test set to validate, 20 epochs, batch 128, the weights of the last epoch. Optimiser, rate, loss and
initial weights are not given: those of Keras are our choice. So are the widths where the picture
of a network is lost (sections 1, 2, 4) and the seed of the draw of section 5.
"""

from __future__ import annotations

import random

from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Above, Between, Claim
from nnprof.networks.studies.study import Asked, Study, Training

_SETTINGS = TrainingSettings(
    epochs=20,
    batch=128,
    optimizer="adam",
    defaults="keras",
    init="xavier-uniform",
    normalisation="unit",
    validation="test",
    patience=None,
    keep="last",
)
_END = "dropout0.15 fc10"
_DRAWN, _DRAW_SEED = (512, 28, 64, 32, 16), 5  # "28" as printed


def _line(*widths: int) -> str:
    return " ".join(f"fc{width} relu bn" for width in widths)


def _drawn() -> str:
    """Fifty widths of section 5, whose code draws each with the same chance; the seed is ours."""
    draw = random.Random(_DRAW_SEED)  # noqa: S311  not for secrets
    return _line(64, *(draw.choice(_DRAWN) for _ in range(50)), 64)


_NETWORKS = {
    "s01-as-it-came": f"784 {_line(128, 128, 128, 128)} {_END}",
    "s02-20-layers": f"784 {_line(64)} 20*[{_line(64)}] {_line(64)} {_END}",
    "s03-wide": f"784 {_line(512, 512, 512, 512, 512)} {_END}",
    "s04-halving": f"784 {_line(512, 256, 128, 64, 32)} {_END}",
    "s05-random": f"784 {_drawn()} {_END}",
    "s06-big-small-big": f"784 {_line(64, 512, 256, 128, 64, 32, 32, 64, 128, 256, 512)} fc10",
    "s07-then-big": f"784 {_line(512, 256, 128, 64, 32)} 5*[{_line(512)}] {_line(64)} {_END}",
    "s08-small-big-small": (
        f"784 {_line(32, 64, 128, 256, 512)} 2*[{_line(256, 128, 64, 32)}] {_line(32)} {_END}"
    ),
    "s09-parallel": f"784 [{_line(64, 128)} | {_line(32, 64)}] {_line(256)} fc10",
    "s10-diamond": f"784 {_line(32, 64, 128, 128, 128, 64, 32)} {_END}",
    "s11-wide-narrow": f"784 {_line(64)} 5*[{_line(256, 32)}] fc10",
    "s12-back-and-forth": (
        "784 fc32 fc64 relu bn fc32 fc128 relu bn fc16 fc512 relu bn fc256 relu bn fc10"
    ),
    "s13-thick-thin": f"784 {_line(64)} 5*[5*[{_line(512)}] 3*[{_line(64)}]] fc10",
    "s14-dropouts": (
        "784 " + " ".join(f"fc{width} relu bn dropout0.5" for width in (512, 256, 128, 64))
    )
    + " fc10",
}
# Validation accuracy of the last epoch, one run each; section 11 gives none.
_REPORTED = {
    "s01-as-it-came": 0.976, "s02-20-layers": 0.968, "s03-wide": 0.968, "s04-halving": 0.979,
    "s05-random": 0.20, "s06-big-small-big": 0.9767, "s07-then-big": 0.9769,
    "s08-small-big-small": 0.9729, "s09-parallel": 0.9767, "s10-diamond": 0.9713,
    "s12-back-and-forth": 0.97, "s13-thick-thin": 0.68, "s14-dropouts": 0.9811,
}  # fmt: skip
# One run each of networks on the edge of training: their numbers are not asked of another run.
_EDGE = ("s05-random", "s13-thick-thin")
_TOLERANCE = {"s02-20-layers": 0.02}  # deep and unsteady; of the others 0.01


def swietek() -> Study:
    """All fourteen sections."""
    return Study(
        name="swietek",
        asks="Which shape of a fully connected network classifies digits best?",
        gives="Figures 1-3 (plot), table of 14 (show)",
        cells=tuple(
            Asked(
                network=network,
                batch=128,
                name=name,
                varied={"section": str(int(name[1:3]))},
                train=Training(dataset="mnist", settings=_SETTINGS),
            )
            for name, network in _NETWORKS.items()
        ),
        claims=_claims(),
    )


def _claims() -> tuple[Claim, ...]:
    sure = tuple(name for name in _NETWORKS if name not in _EDGE)
    best = "s14-dropouts"
    near = [_near(name, value) for name, value in _REPORTED.items() if name in sure]
    worst = Above(
        says="sections 5 and 13 are the two worst",
        of="validation accuracy",
        above=sure,
        below=_EDGE,
    )
    dropouts = Above(
        says="dropout behind each layer (14) is best",
        of="validation accuracy",
        above=(best,),
        below=tuple(name for name in _REPORTED if name != best),
    )
    return (*near, worst, dropouts)


def _near(name: str, value: float) -> Between:
    reach = _TOLERANCE.get(name, 0.01)
    return Between(
        says=f"{name[1:3]}: {value:.4g} on validation, ± {reach} (ours)",
        of="validation accuracy",
        cells=(name,),
        low=round(value - reach, 4),
        high=round(value + reach, 4),
    )
