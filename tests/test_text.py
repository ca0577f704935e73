"""What leaves nnprof as text is text: for a terminal, Markdown, a spreadsheet, JSON or a shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nnprof.text import csv_cell, json_lines, markdown, plain, shell_word


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mattsson(conv=2, fc=1)", "mattsson(conv=2, fc=1)"),
        ("Größe 5×5 µs 网络 👩\u200d💻", "Größe 5×5 µs 网络 👩\u200d💻"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("\x1b]0;owned\x07net", "]0;ownednet"),
        ("\x9b31mnet\x9c", "31mnet"),
        ("a\nb\r\nc\td\u2028e", "a b  c d e"),
        ("net\u202egnp.exe\u2066\ufeff\U000e0041", "netgnp.exe"),
        ("caf\udce9", "caf\ufffd"),
        ("\x00\x7f", ""),
    ],
)
def test_plain(text: str, shown: str) -> None:
    """Letters of every script stay; what a terminal would obey is gone."""
    assert plain(text) == shown
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<script>alert(1)</script>&", "&lt;script&gt;alert(1)&lt;/script&gt;&amp;"),
        ("`code`", "\\`code\\`"),
        ("# heading", "\\# heading"),
        ("[a](http://b.c)", "\\[a\\](http\\://b.c)"),
        ("www.b.c", "www\\.b.c"),
        ("*a* _b_ c_d not_reached", "\\*a\\* \\_b\\_ c_d not_reached"),
        ("two\nlines", "two lines"),
        ("1x28x28 conv20k5 pool2 fc128", "1x28x28 conv20k5 pool2 fc128"),
    ],
)
def test_markdown(text: str, shown: str) -> None:
    """Nothing in a name is markup, HTML or a link; ordinary names are left alone."""
    assert markdown(text) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\x1b="])
def test_a_spreadsheet_computes_no_name(start: str) -> None:
    """Text that a spreadsheet would take for a formula stands behind an apostrophe."""
    assert csv_cell(f"{start}HYPERLINK(1)") == f"'{start[-1]}HYPERLINK(1)"
    assert csv_cell("a=b") == "a=b"
    assert csv_cell(-1.5) == -1.5


def test_json_is_escaped_and_the_same() -> None:
    """JSON on standard output holds no control character, and reads back as it was."""
    names = ["\x9b31m\x7f", "\u202e", "\U000e0041", "µ", "\x1b[0m\n"]
    text = json_lines(names)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert json.loads(text) == names
    assert "µ" in text


@pytest.mark.parametrize(
    "name", ["a b.json", "[jetson]'$(x)`.json", "-x", "\x1b[31m\n'a", "caf\udce9"]
)
def test_a_shell_reads_the_path_back(name: str, tmp_path: Path) -> None:
    """The word on a line to be copied is plain, and names the file to bash."""
    word = shell_word(tmp_path / name)
    assert plain(word) == word
    command = f"printf %s {word}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == bytes(tmp_path / name)
