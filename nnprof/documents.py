"""JSON files of nnprof's own kinds (Runs, studies, cost models): one reader, whatever is wrong."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from nnprof.errors import BadFile, NewerSchema
from nnprof.files import read

Value = TypeVar("Value")


class _Head(msgspec.Struct):
    """As much of a file as tells whether the rest can be read."""

    schema: int = 1


@dataclass(frozen=True)
class Document(Generic[Value]):
    """A kind of file.

    Attributes:
        type: what it holds.
        what: what a person calls it, such as "a Run".
        remedy: what to do about a file of another kind.
        schema: the newest schema that is read; 0 for a kind of file without schema numbers.
        most: bytes that a file may have.
    """

    type: type[Value]
    what: str
    remedy: str
    schema: int = 0
    most: int = 1 << 24

    def load(self, path: Path) -> Value:
        """Read a file.

        Raises:
            NewerSchema: a later nnprof wrote it.
            BadFile: it is missing, too large, cut off, or something else.
        """
        return self.decode(read(path, self.most, self.remedy), str(path))

    def decode(self, text: bytes, name: str) -> Value:
        """Read the text of a file; `name` is for errors.

        Raises:
            NewerSchema: a later nnprof wrote it.
            BadFile: it is cut off, or something else.
        """
        text = text.removeprefix(codecs.BOM_UTF8)
        try:
            if self.schema:
                self._require_known(msgspec.json.decode(text, type=_Head).schema, name)
            return msgspec.json.decode(text, type=self.type)
        except (msgspec.ValidationError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else f"{error}"
            raise BadFile(f"{name} is not {self.what} of nnprof: {why}.", self.remedy) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadFile(
                f"{name} is cut off or is not JSON: {str(error).rstrip('.')}.",
                f"Take it from a backup. {self.remedy}",
            ) from error

    def _require_known(self, schema: int, name: str) -> None:
        if schema < 1:
            raise msgspec.ValidationError(f"there is no schema {schema}")
        if schema > self.schema:
            raise NewerSchema(
                f"{name} has schema {schema}; this nnprof reads up to {self.schema}.",
                "Install a newer nnprof.",
            )
