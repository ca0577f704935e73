"""What goes to the worker of a board, and what comes back: as JSON, like jobs and their answers.

An order is one process of one cell. It has a number, and so has its answer: whatever happens on the
way, a cell takes only the answer with the number that is due, and takes it once.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from nnprof.profiler.fleet.kinds import Seen
from nnprof.profiler.work.jobs import Fault, Measure, Measured
from nnprof.types import Target

State = Literal["joining", "here", "measuring", "away"]


class Post(NamedTuple):
    """A board and its place in the fleet.

    Attributes:
        target: of the Run's cells, on this board.
        environment: of the Run: what the board has to be like.
        kind: boards that may do each other's work have the same.
        seen: when it was like that; None where its worker has to look.
    """

    target: Target
    environment: dict[str, Any]
    kind: str
    seen: Seen | None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a cell: `number` is how many it has had; `job` names no board yet."""

    key: str
    number: int
    job: Measure
    limit_s: float


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order.

    Attributes:
        key, number: of the order.
        board: where it was done.
        begun_at_s: when, in seconds since 1970.
        wall_s: from then to the answer.
        patience_s, others: what it waited for other programs there (`run.patience`).
        answer: what was measured, or why the cell cannot be.
    """

    key: str
    number: int
    board: str
    begun_at_s: float
    wall_s: float
    patience_s: float
    others: float | None
    answer: Measured | Fault


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What a board does from now on.

    Attributes:
        board: its name.
        state: "joining" the fleet, "here", "measuring" or "away".
        order: the order that it is about, by its name in dask; empty where it is about none.
        network, batch: of that order.
        reason: why it is away.
    """

    board: str
    state: State
    order: str = ""
    network: str = ""
    batch: int = 0
    reason: str = ""
