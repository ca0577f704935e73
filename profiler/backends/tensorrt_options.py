"""Options of TensorRT, checked; for its Python backend and for trtexec's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnprof.errors import UsageError

NO_PARTS = "TensorRT builds an engine of the network as a whole; a part would be another engine."


class Choices:
    """A target's options, checked.

    Raises:
        UsageError: an option or its value is unknown.
    """

    def __init__(self, options: Mapping[str, str], more: Sequence[str] = ()) -> None:
        known = ("engines", "cuda_graph", "transfers", *more)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise UsageError(
                f"TensorRT has no option '{unknown[0]}' here.", f"It has: {', '.join(known)}."
            )
        engines_wanted = options.get("engines", "1")
        if not engines_wanted.isdecimal() or int(engines_wanted) < 1:
            raise UsageError(
                f"Option engines={engines_wanted} is not a number of at least 1.",
                "Write it like this: --option engines=3",
            )
        self.engines = int(engines_wanted)
        self.cuda_graph = _one_of(options, "cuda_graph", "off", "on") == "on"
        self.transfers = _one_of(options, "transfers", "outside", "inside") == "inside"
        core = options.get("dla_core", "0")
        if not core.isdecimal():
            raise UsageError(
                f"Option dla_core={core} is not the number of a core.",
                "Write it like this: --option dla_core=1",
            )
        self.dla_core = int(core)


def _one_of(options: Mapping[str, str], name: str, usual: str, other: str) -> str:
    value = options.get(name, usual)
    if value not in (usual, other):
        raise UsageError(
            f"Option {name}={value} is neither {usual} nor {other}.",
            f"Write it like this: --option {name}={other}",
        )
    return value


def batches_of(text: str | None, batch: int) -> tuple[int, ...]:
    """The batches of one engine, as the option `batches` lists them; without it `batch` alone.

    Raises:
        UsageError: it is no such list, or `batch` is not in it.
    """
    if text is None:
        return (batch,)
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words) or str(batch) not in words:
        raise UsageError(
            f"Option batches={text} is not a list of batches with {batch} in it.",
            "Write it like this: --option batches=1,16,1024",
        )
    return tuple(map(int, words))
