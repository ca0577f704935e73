"""The only way to a terminal: text is shown as it is, never read as markup."""

from __future__ import annotations

import errno
import os

import rich.console
import rich.table
from rich.console import RenderableType
from rich.style import Style
from rich.text import Text

from nnprof.text import plain


class Console(rich.console.Console):
    """A console without markup, emoji codes or colours for words that look like something."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def say(self, line: str, style: str = "") -> None:
        """A line of text, wrapped at the width of the terminal."""
        self.print(Text(plain(line), style=style))

    def on_broken_pipe(self) -> None:
        """Nobody reads any more: main ends quietly, as for all other output."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Table(rich.table.Table):
    """A table whose text is plain; what is to have a style comes as `rich.text.Text`."""

    def add_row(
        self,
        *cells: RenderableType | None,
        style: str | Style | None = None,
        end_section: bool = False,
    ) -> None:
        """Like rich's."""
        shown = (Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, style=style, end_section=end_section)


def styled(text: str, style: str) -> Text:
    """Text of a table with a style."""
    return Text(plain(text), style=style)
