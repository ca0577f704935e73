"""`--resume` of `bench` and `calibrate`: which of the other flags mean something there."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from nnprof.errors import UsageError
from nnprof.text import shell_word

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from nnprof.types import Run

# What says how this part is done, not what is measured; all else stands in the Run.
_ALLOWED = {"resume", "wait", "limit", "power_mode", "scheduler", "output"}


def given(context: typer.Context, name: str) -> bool:
    """Whether the user gave a flag, be it with the value that it has anyway."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_others(context: typer.Context, allowed: Collection[str] = _ALLOWED) -> None:
    """Refuse flags that a resumed Run would not obey: all but the allowed.

    Raises:
        UsageError: there are some; it names them.
    """
    words = [
        max(parameter.opts, key=len) if parameter.param_type_name == "option" else "networks"
        for parameter in context.command.params
        if parameter.name and parameter.name not in allowed and given(context, parameter.name)
    ]
    if words:
        raise UsageError(
            "A Run that is gone on with measures what it asks for; it would not obey "
            f"{', '.join(words)}.",
            f"Leave {'that' if len(words) == 1 else 'those'} out, or start a new run.",
        )


def stopped(run: Run, path: Path) -> str:
    """What the user reads who stopped a Run: what is kept, and how to go on."""
    if run.study.plan.sustained_s:
        return (
            "Stopped. The windows so far are kept; no later ones can be joined to them, for the "
            "machine cools meanwhile.\n"
        )
    return (
        "Stopped. What is measured is kept; go on with:\n"
        f"nnprof bench --resume {shell_word(path)}\n"
    )
