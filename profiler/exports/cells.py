"""What a cell is called in other tools: the same in each Run of it, one of its own within a Run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from nnprof.text import plain
from nnprof.types import LOCAL, Cell, Failure, Measurement, Run, Target

_MARK = 8  # digits of a hash that stand for what was cut off


AnyCell: TypeAlias = Measurement | Failure | Cell


def every(run: Run) -> tuple[Measurement | Failure, ...]:
    """The measured cells, then the failed ones, as `nnprof show` lists them."""
    return (*run.measurements, *run.failures)


def left_out(run: Run) -> tuple[Cell, ...]:
    """The cells that there was no time left for."""
    return tuple(run.study.cells[position] for position in run.left_out)


def names(cells: Sequence[AnyCell], most: int) -> list[str]:
    """A name for each cell, of at most so many characters.

    What several cells are called is told apart by the model's hash, then by a number.
    """
    plain_names = [name(cell) for cell in cells]
    seen = Counter(plain_names)
    hashed = [
        f"{called}, {cell.workload.model.sha256[:_MARK]}" if seen[called] > 1 else called
        for called, cell in zip(plain_names, cells, strict=True)
    ]
    return unique([shortened(called, most) for called in hashed], most)


def name(cell: AnyCell) -> str:
    """The network, and how and where it ran."""
    work, target = cell.workload, cell.target
    sides = [f"{side}={size}" for side, size in sorted(work.dims.items())]
    options = [f"{option}={value}" for option, value in sorted(target.options.items())]
    words = (
        work.model.name,
        f"batch {work.batch}",
        *([f"image {work.image}"] if work.image else []),
        *sides,
        work.precision,
        f"{target.backend} on {place(target)}" + (f" of {target.host}" if is_far(cell) else ""),
        *([f"{target.threads} threads"] if target.threads > 1 else []),
        *([f"{target.streams} streams"] if target.streams > 1 else []),
        *options,
    )
    return plain(", ".join(words))


def place(target: Target) -> str:
    """Device and what of it computes; as it was called before Runs told the two apart."""
    return f"{target.device} {target.beyond_device}".rstrip()


def is_far(cell: AnyCell) -> bool:
    """Whether the cell ran on another machine than nnprof's."""
    return cell.target.host != LOCAL


def shortened(text: str, most: int) -> str:
    """At most so many characters; what is cut off leaves a mark of its own."""
    if len(text) <= most:
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:_MARK]
    return f"{text[: most - _MARK - 1]}…{mark}"


def unique(called: Sequence[str], most: int) -> list[str]:
    """The same names; the second of a name is called "… #2"."""
    seen: Counter[str] = Counter()
    taken, found = set(called), []
    for one in called:
        seen[one] += 1
        number, given = seen[one], one
        while number > 1 and given in taken:
            given = f"{one[: most - len(str(number)) - 2]} #{number}"
            number += 1
        taken.add(given)
        found.append(given)
    return found


def run_id(run: Run) -> str:
    """What tells a Run from all others: the same before and after it is resumed."""
    study = run.study
    asked = (study.name, study.created, study.command, [cell.key for cell in study.cells])
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:16]
