"""Gil (KTH), third part: recurrent networks on a share's prices.

Section 3.3 and the captions of chapter 4: Apple's prices, column High, 2007 to 2019 to train, 2020
and 2021 to test; windows of 60 days foretell the next; three layers of 50 neurons, batch 256, 20
epochs. Adam, mse and the ranges whose values are not given are our choice.
"""

from __future__ import annotations

import msgspec

from nnprof.networks.studies.claims import Above, Claim, Within
from nnprof.networks.studies.gil import KERAS, cell, names_of, study
from nnprof.networks.studies.study import Study

# Initial weights by default: Keras' own, which are orthogonal for the state.
RECURRENT = msgspec.structs.replace(
    KERAS, epochs=20, batch=256, optimizer="adam", loss="mse", init="default"
)
_RECURRENT_OF = ("aapl", RECURRENT)
_KINDS = ("lstm", "gru")


def _recurrent(kind: str, neurons: int = 50, activation: str = "", dropout: float = 0) -> str:
    """Three recurrent layers, each with this activation of its cell and this dropout behind."""
    layer = f"{kind}{neurons} " + (f"{activation} " if activation else "")
    layer += f"dropout{dropout:g} " if dropout else ""
    return f"60x1 {layer * 3}fc1 linear"


def device() -> Study:
    """Figure 4.18: twenty runs on each device; Figure 4.17 is the prediction of one."""
    cells = [
        cell(_recurrent(kind), kind, {"kind": kind}, _RECURRENT_OF, seeds=tuple(range(20)))
        for kind in _KINDS
    ]
    asks = "How much faster does a GPU train a recurrent network? (add --device cpu,cuda)"
    return study("rnn-device", asks, "Figures 4.17 (plot --predictions), 4.18", cells)


def batch() -> Study:
    """Figures 4.19 and 4.20: 32 batches for 8 epochs; 16…512 by 16 are our choice."""
    cells = [
        cell(
            _recurrent(kind),
            f"{kind}-batch{size}",
            {"kind": kind, "batch": str(size)},
            _RECURRENT_OF,
            {"batch": size, "epochs": 8},
            (0,),
        )
        for kind in _KINDS
        for size in range(16, 513, 16)
    ]
    faster = [
        Above(
            says=f"a larger batch trains faster ({kind})",
            of="training s",
            above=(f"{kind}-batch16",),
            below=(f"{kind}-batch512",),
        )
        for kind in _KINDS
    ]
    asks = "What does the batch change in time and loss?"
    return study("rnn-batch", asks, "Figures 4.19, 4.20", cells, *faster)


def activation() -> Study:
    """Figures 4.21 to 4.23."""
    words = ("tanh", "relu", "sigmoid", "softmax")
    cells = [
        cell(
            _recurrent(kind, activation=word),
            f"{kind}-{word}",
            {"kind": kind, "activation": word},
            _RECURRENT_OF,
        )
        for kind in _KINDS
        for word in words
    ]
    claims: list[Claim] = []
    for kind in _KINDS:
        tanh, *others = [f"{kind}-{word}" for word in words]
        claims += [
            Above(
                says=f"tanh and relu have a lower loss than sigmoid and softmax ({kind})",
                of="validation loss",
                above=tuple(others[1:]),
                below=(tanh, others[0]),
            ),
            Above(
                says=f"all but tanh are slower ({kind})",
                of="s per epoch",
                above=tuple(others),
                below=(tanh,),
            ),
        ]
    asks = "Which activation suits a recurrent cell?"
    return study("rnn-activation", asks, "Figures 4.21-4.23", cells, *claims)


def dropout() -> Study:
    """Figures 4.24 and 4.25: 0, 0.1 … 0.9, 0.99."""
    shares = [*(round(0.1 * step, 1) for step in range(10)), 0.99]
    cells = [
        cell(
            _recurrent(kind, dropout=share),
            f"{kind}-dropout{share:g}",
            {"kind": kind, "dropout": f"{share:g}"},
            _RECURRENT_OF,
        )
        for kind in _KINDS
        for share in shares
    ]
    claims: list[Claim] = []
    for kind in _KINDS:
        names = [name for name in names_of(cells) if name.startswith(kind)]
        claims.append(
            Above(
                says=f"dropout 0.99 is worst ({kind})",
                of="validation loss",
                above=tuple(names[-1:]),
                below=tuple(names[:-1]),
            )
        )
    asks = "How much dropout does a recurrent network bear?"
    return study("rnn-dropout", asks, "Figures 4.24, 4.25", cells, *claims)


def loss() -> Study:
    """Figures 4.26 to 4.29; a loss of one kind is compared with no other kind's, only times are."""
    cells = [
        cell(
            _recurrent(kind),
            f"{kind}-{loss}",
            {"kind": kind, "loss": loss},
            _RECURRENT_OF,
            {"loss": loss},
        )
        for kind in _KINDS
        for loss in ("mae", "mse", "rmse", "huber")
    ]
    asks = "Which loss suits a recurrent network?"
    return study("rnn-loss", asks, "Figures 4.26-4.29", cells)


def neurons() -> Study:
    """Figures 4.30 and 4.31: 5…100 neurons by 5 are our choice."""
    counts = range(5, 101, 5)
    cells = [
        cell(
            _recurrent(kind, count),
            f"{kind}-neurons{count:03d}",
            {"kind": kind, "neurons": str(count)},
            _RECURRENT_OF,
        )
        for kind in _KINDS
        for count in counts
    ]
    claims: list[Claim] = []
    for kind in _KINDS:
        names = [f"{kind}-neurons{count:03d}" for count in counts]
        claims += [
            Above(
                says=f"few neurons have a higher loss ({kind})",
                of="validation loss",
                above=tuple(names[:2]),
                below=tuple(names[-4:]),
            ),
            Within(
                says=f"above 20 neurons the loss is flat: within 0.01 ({kind})",
                of="validation loss",
                cells=tuple(names[4:]),
                most=0.01,
            ),
        ]
    asks = "How many neurons does a recurrent network need?"
    return study("rnn-neurons", asks, "Figures 4.30, 4.31", cells, *claims)
