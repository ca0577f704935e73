"""The table of a board in devices.toml: all else in the file stays, to the letter."""

from __future__ import annotations

import sys

import pytest

from nnprof.errors import UsageError
from nnprof.profiler.place import boards
from nnprof.profiler.place.boards import Board, parsed
from nnprof.profiler.setup import table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = {"device": "cpu", "python": "~/x/bin/python"}
ORIN = Board(host="me@orin", port=2222, name="orin")
THEIRS = """# Boards of the lab.
[thor]   # upstairs
host = "lab@10.0.0.7"
options = { trtexec = "/usr/src/tensorrt/bin/trtexec" }

# The one with the fan.
[pi]
host = "pi.local"
"""


@pytest.mark.parametrize(
    "text", ["", THEIRS, f"{THEIRS}\n", f"{THEIRS}\n\n# the end\n", "# nothing yet\n"],
    ids=["none", "two", "blank line", "comment behind", "comment alone"],
)  # fmt: skip
def test_written_and_gone_again(text: str) -> None:
    """A table is added behind all else, read as a board, and goes without a trace."""
    new = table.written(text, ORIN, KEYS)
    assert new.startswith(text)
    assert parsed(new.encode(), boards.file())["orin"] == Board(
        host="me@orin", port=2222, device="cpu", python="~/x/bin/python", name="orin"
    )
    assert table.written(new, ORIN, KEYS) == new
    assert table.without(new, "orin") == text


def test_what_the_user_wrote_behind_it_stays() -> None:
    """Comments and tables behind the table of setup are the user's."""
    behind = '\n# Mine.\n[mine]\nhost = "mine"\n'
    new = table.written(THEIRS, ORIN, KEYS) + behind
    gone = table.without(new, "orin")
    assert gone.startswith(THEIRS)
    assert gone.endswith(behind)
    assert set(tomllib.loads(gone)) == {"thor", "pi", "mine"}


def test_a_table_of_the_user_gets_one_line() -> None:
    """It stays as it is, with one line more at its own end, which goes again."""
    new = table.written(THEIRS, Board(host="lab@10.0.0.7", name="thor"), KEYS)
    assert [line for line in new.splitlines() if line not in THEIRS.splitlines()] == [
        f'python = "~/x/bin/python" # {table.MARK}'
    ]
    assert tomllib.loads(new)["thor"]["python"] == "~/x/bin/python"
    assert new.index("python =") < new.index("# The one with the fan.")
    assert table.without(new, "thor") == THEIRS


def test_what_setup_did_not_write_stays() -> None:
    """A table, or a Python, of the user's own is not taken away."""
    own = f'{THEIRS}python = "~/own/bin/python"\n'
    assert table.without(own, "pi") == own
    assert table.without(own, "nobody") == own
    with pytest.raises(UsageError, match=r"pi has its nnprof at ~/own/bin/python.*--name"):
        table.written(own, Board(host="pi.local", name="pi"), KEYS)


def test_which_board_is_meant() -> None:
    """A board is known by its name or its address; a new one is called as its host."""
    known = parsed(THEIRS.encode(), boards.file())
    assert table.meant("thor", None, known).host == "lab@10.0.0.7"
    assert table.meant("ssh://lab@10.0.0.7", None, known).name == "thor"
    assert table.meant("me@new.local", None, known).name == "new.local"
    assert table.meant("ssh://me@10.0.0.9:2222", "fresh", known) == Board(
        host="me@10.0.0.9", port=2222, name="fresh"
    )
    with pytest.raises(UsageError, match=r"another board called 'pi'.*--name"):
        table.meant("me@pi", None, known)
    with pytest.raises(UsageError, match="no host"):
        table.meant("-oProxyCommand=x", None, known)
