"""Numbers that a user gives: within bounds, or a sentence. NaN is within none."""

from __future__ import annotations

import re

from nnprof.errors import UsageError
from nnprof.types import MOST_BATCH, MOST_S

_MOST_SEEDS = 1000
_TIME = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(s|ms|us|µs|μs)")
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}


def within(option: str, value: float, least: float, most: float, what: str) -> float:
    """The value of an option.

    Raises:
        UsageError: it is not from `least` to `most`; `what` names what it should be.
    """
    if not least <= value <= most:
        raise UsageError(f"{option} {value:g} is not {what}.", f"Give {least:g} to {most:g}.")
    return value


def seconds(option: str, value: float, least: float = 0.0) -> float:
    """The same for a time."""
    return within(option, value, least, MOST_S, "a number of seconds")


def time(text: str) -> float | None:
    """Seconds of `33ms`, `0.5 ms`, `800us` or `2s`; None for other text."""
    match = _TIME.fullmatch(text.strip())
    return float(match[1]) * _UNITS_S[match[2]] if match else None


def batch_sizes(text: str | None) -> tuple[int, ...]:
    """The sizes of `--batch 1,16,1024`, each once; none for None.

    Raises:
        UsageError: one of them is no number, or none that a batch can have.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    longest = len(str(MOST_BATCH))
    if not all(word.isdecimal() and len(word) <= longest and int(word) >= 1 for word in words):
        raise UsageError(
            f"--batch {text} is not a list of whole numbers of at least 1.",
            "Write it like this: --batch 1,16,1024",
        )
    sizes = tuple(dict.fromkeys(map(int, words)))
    within("--batch", max(sizes), 1, MOST_BATCH, "a batch")
    return sizes


def seeds(text: str) -> tuple[int, ...]:
    """The seeds of `--seeds 0..3` or `--seeds 0,5,7`, each once.

    Raises:
        UsageError: it is neither, or names more than 1,000.
    """
    found: list[int] = []
    for word in text.split(","):
        first, dots, last = (part.strip() for part in word.partition(".."))
        ends = (first, last if dots else first)
        if not all(end.isdecimal() and len(end) < 19 for end in ends) or not (
            0 <= int(ends[1]) - int(ends[0]) < _MOST_SEEDS
        ):
            raise UsageError(
                f"--seeds {text} is no list of seeds.", "Write --seeds 0..3, or --seeds 0,5,7."
            )
        found += range(int(ends[0]), int(ends[1]) + 1)
    within("--seeds", len(found), 1, _MOST_SEEDS, "a number of trainings")
    return tuple(dict.fromkeys(found))


def tiles(text: str) -> tuple[int, ...]:
    """The indices of `--tile 1,4,7`.

    Raises:
        UsageError: one of them is no number.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 19 for word in words):
        raise UsageError(f"--tile {text} is no list of tiles.", "Write it like this: --tile 1,4,7")
    return tuple(map(int, words))


def patience(text: str) -> int | None:
    """Epochs of `--patience`; None for "none".

    Raises:
        UsageError: it is neither.
    """
    if text != "none" and not (text.isdecimal() and len(text) < 10):
        raise UsageError(f"--patience {text} is no number of epochs.", "Give 1 or more, or 'none'.")
    return None if text == "none" else int(text)
