"""Where to measure, in the user's words: --device, --on, --backend, --threads, --option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import nnprof
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nnprof.types import Target


class Place(NamedTuple):
    """A target and a precision, not looked at yet; None is what nnprof takes by itself."""

    backend: str | None
    device: str
    threads: int
    options: Sequence[str] = ()
    precision: str | None = None
    on: str | None = None

    def target(self) -> Target:
        """What the words mean.

        Raises:
            UsageError: an option without value; otherwise as `nnprof.named_target`.
        """
        pairs = {}
        for text in self.options:
            name, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--option {text} has no value.", "Write --option NAME=VALUE.")
            pairs[name] = value
        return nnprof.named_target(
            self.device, on=self.on, backend=self.backend, threads=self.threads, options=pairs
        )

    def changed(self, against: Iterable[str]) -> Place:
        """The other side of a pair: this place with what `--against NAME=VALUE` says.

        A name that is no flag is an option of the backend.

        Raises:
            UsageError: a word is not NAME=VALUE, or names no number of threads.
        """
        place = self
        for word in against:
            name, _, value = word.partition("=")
            if not name or not value:
                raise UsageError(
                    f"--against {word} changes nothing.",
                    "Write --against NAME=VALUE, such as --against threads=2.",
                )
            if name == "threads" and not (value.isdecimal() and len(value) < 10):
                raise UsageError(f"--against {word} is no number of threads.", "Give 1 or more.")
            if name == "threads":
                place = place._replace(threads=int(value))
            elif name in ("backend", "device", "on", "precision"):
                words: dict[str, Any] = {name: value}
                place = place._replace(**words)
            else:
                others = [one for one in place.options if one.partition("=")[0] != name]
                place = place._replace(options=[*others, word])
        return place
