"""What to measure next, printed: cells and ops of each group, and the command for them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from nnprof.text import plain, shell_word

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.ask import Planned


def print_planned(found: Planned, path: Path) -> None:
    """The choices in numbers, and how to measure the study at `path`."""
    for line in _lines(found):
        sys.stdout.write(f"{plain(line)}\n")
    sys.stdout.write(f"Measure it with: nnprof bench --study {shell_word(path)}\n")


def _lines(found: Planned) -> list[str]:
    chosen = found.choices
    ops = sum(one.ops for one in chosen)
    counts = Counter((one.group, one.stage) for one in chosen)
    lines = [f"{len(chosen)} cells, {ops} ops; {found.known} were measured already."]
    for group in dict.fromkeys(one.group for one in chosen):
        stages = [f"{count} {stage}" for (of, stage), count in counts.items() if of == group]
        lines.append(f"  {group}: {', '.join(stages)}")
    return lines
