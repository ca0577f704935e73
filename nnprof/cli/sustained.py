"""`nnprof bench --for 10min`: one network, one process, no rest; which flags go with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from nnprof.cli import numbers, resumed
from nnprof.errors import UsageError

For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="Work without a rest for so long, such as 10min, with one network in one process: "
        "latency, clocks and temperature in windows.",
    ),
]

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_LEAST_S, _MOST_S = 1.0, 7 * 86400.0
_WINDOW_S = 10.0
_FEWEST, _MOST = 30, 360  # windows: enough to see a change in, few enough to look at
# One process does nothing but work; what else could be asked for would be a rest.
_ALONE = {"processes": 1, "max_processes": 1, "fresh": 0, "op_method": "none", "idle_s": ()}
_ALONE |= {"energy_s": 0.0, "budget_s": 0.0, "singles_s": 0.0}
_REFUSED = ("quick", "rigorous", "ops", "idle", "protocol", "pair", "against", "energy", "study")


def passes(context: typer.Context, how: Callable[[], dict[str, Any]], text: str) -> dict[str, Any]:
    """The fields of a plan for `--for TIME`, on top of those that the other flags give.

    Raises:
        UsageError: it is no time; or a flag is given that needs several processes, or a rest.
    """
    own = {one.name: max(one.opts, key=len) for one in context.command.params}
    given = [own[name] for name in _REFUSED if resumed.given(context, name)]
    if given:
        raise UsageError(
            f"--for is work of one process without a rest; it does not go with {', '.join(given)}.",
            "Leave that out, or measure it in a run of its own.",
        )
    sustained_s = _seconds(text)
    window_s = max(min(_WINDOW_S, sustained_s / _FEWEST), sustained_s / _MOST)
    return {**how(), **_ALONE, "sustained_s": sustained_s, "window_s": window_s}


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"--for {text} is not a time.", "Write it like this: --for 90s, --for 10min, --for 2h"
        )
    return numbers.within(
        f"--for {text}:", float(match[1]) * _UNITS_S[match[2]], _LEAST_S, _MOST_S, "so many seconds"
    )
