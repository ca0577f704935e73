"""devices.toml and --device: which board is meant, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadFile, Unavailable, UnknownName, UsageError
from nnprof.profiler.place import boards
from nnprof.profiler.place.boards import Board


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The devices.toml of this test, not yet there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "nnprof").mkdir()
    return tmp_path / "nnprof" / "devices.toml"


def test_all_keys_are_read(config: Path) -> None:
    """Every key of the documented example arrives, and the name is the one in brackets."""
    text = (Path(__file__).parents[3] / "docs/remote.md").read_text()
    config.write_text(text.partition("```toml\n")[2].partition("```")[0])
    found = boards.load()
    assert found["jetson"] == Board(name="jetson", host="orin", power_mode="MAXN_SUPER")
    assert found["thor"].port == 2222
    assert found["thor"].by_hand == "ssh -p 2222 lab@10.0.0.7"
    keys = {name for board in found.values() for name in _given(board)}
    assert keys == set(Board.__struct_fields__)


def _given(board: Board) -> set[str]:
    plain = Board(host="x")
    return {
        name for name in Board.__struct_fields__ if getattr(board, name) != getattr(plain, name)
    }


def test_no_file_is_no_boards(config: Path) -> None:
    """Without the file there are no boards, and cpu still means this machine."""
    assert not config.exists()
    assert boards.load() == {}
    assert boards.meant_by("cpu") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[jetson\n", "not TOML.*line 1"),
        ('host = "orin"\n', "'host' stands outside of any board"),
        ('[jetson]\nhots = "orin"\n', "board jetson: .*'?hots.*Keys of a board: host, port"),
        ("[jetson]\n", "board jetson: it has no `host`"),
        ('[jetson]\nhost = "x"\ncache_gb = -1\n', "board jetson: -1.0 is no number of GB"),
        ("[jetson]\nhost = 5\n", "board jetson: host: Expected `str`, got `int`"),
        ('[jetson]\nhost = "-oProxyCommand=evil"\n', "board jetson: .*is no host"),
        ('[jetson]\nhost = "a b"\n', "is no host"),
        ('[jetson]\nhost = "orin"\nport = 70000\n', "70000 is no port"),
        ('[jetson]\nhost = "orin"\nbackend = "magic"\n', "unknown backend 'magic'.*Known: .*fake"),
        ('[jetson]\nhost = "orin"\ndevice = "tpu"\n', "unknown device 'tpu'.*Known: .*cpu"),
        ('[jetson]\nhost = "orin"\non = "npu"\n', "unknown on 'npu'.*Known: cpu, dla, gpu"),
        ('[pi]\nhost = "pi"\ndevice = "cpu"\non = "gpu"\n', "unknown on 'gpu'.*Known: cpu"),
        ('[jetson]\nhost = "orin"\nname = "x"\n', "name stands in brackets"),
        ('["my board"]\nhost = "orin"\n', "'my board' cannot name a board"),
        ('[cpu]\nhost = "orin"\n', "--device cpu always means this machine"),
        ('[jetson]\nhost = "orin"\n[jetson]\n', "not TOML"),
    ],
)
def test_mistakes_are_told(config: Path, text: str, sentence: str) -> None:
    """A mistake in the file is one sentence with the file, the board and what to write."""
    config.write_text(text)
    with pytest.raises(BadFile, match=sentence) as caught:
        boards.load()
    assert str(config) in str(caught.value)


def test_jetson_is_explained_in_three_lines(config: Path) -> None:
    """On a machine that is none and without a board of that name, three lines say what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "nnprof", "bench", "--device", "jetson"],
        capture_output=True,
        text=True,
        check=False,
        cwd=config.parent,
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert str(config) in lines[0]
    assert "host =" in lines[1]
    assert "ssh://user@address" in lines[2]


def test_jetson_elsewhere_is_the_board_of_that_name(config: Path) -> None:
    """On a machine that is no Jetson, jetson is what devices.toml says."""
    config.write_text('[jetson]\nhost = "orin"\n[other]\nhost = "nano"\n')
    found = boards.meant_by("jetson")
    assert found is not None
    assert found.host == "orin"
    assert boards.meant_by("other") == boards.find("other")


def test_pi_elsewhere_is_the_board_of_that_name(config: Path) -> None:
    """On a machine that is no Raspberry Pi, pi is what devices.toml says, or is explained."""
    with pytest.raises(Unavailable, match="no Raspberry Pi, and no board is called") as caught:
        boards.meant_by("pi")
    assert "[pi] and, on the next line" in caught.value.remedy
    config.write_text('[pi]\nhost = "pi.local"\ndevice = "pi"\n')
    found = boards.meant_by("pi")
    assert found is not None
    assert (found.host, found.device) == ("pi.local", "pi")


def test_unknown_devices_list_the_boards(config: Path) -> None:
    """An unknown name lists devices, boards and the form of an address."""
    config.write_text('[orin-2]\nhost = "orin"\n')
    with pytest.raises(UnknownName, match=r"'orin-3'\. Known: cpu.*orin-2.*ssh://user@host"):
        boards.meant_by("orin-3")
    with pytest.raises(UsageError, match=r"no board 'orin-3' in .* It has: orin-2"):
        boards.find("orin-3")
    with pytest.raises(Unavailable, match="no Jetson"):
        boards.meant_by("jetson")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ssh://me@orin", "me@orin", None),
        ("ssh://orin/", "orin", None),
        ("ssh://me@10.0.0.7:2222", "me@10.0.0.7", 2222),
        ("ssh://Orin-Nano.local", "Orin-Nano.local", None),
        ("ssh://me@[fe80::1]:22", "me@fe80::1", 22),
        ("ssh://[::1]", "::1", None),
    ],
)
def test_addresses(text: str, host: str, port: int | None) -> None:
    """User, host as it is written, and port come out of a URL."""
    board = boards.find(text)
    assert (board.host, board.port) == (host, port)
    assert board.arguments[-2:] == ("--", host)


@pytest.mark.parametrize(
    "text",
    [
        "ssh://",
        "ssh://me@",
        "ssh://-oProxyCommand=x",
        "ssh://me:secret@orin",
        "ssh://orin/path",
        "ssh://orin:port",
        "ssh://orin:0",
        "ssh://a b",
        "ssh://me@$(x)",
        "ssh://[::1",
    ],
)
def test_no_addresses(text: str) -> None:
    """What is no address, or would be an option of ssh, is refused with the right form."""
    with pytest.raises(UsageError, match=r"ssh://user@host:22"):
        boards.find(text)


@given(st.text(max_size=30))
def test_any_text_is_a_board_or_a_sentence(text: str) -> None:
    """Whatever stands behind ssh://, ssh gets a host that cannot be an option, or we refuse."""
    try:
        board = boards.from_url("ssh://" + text)
    except UsageError:
        return
    assert board.arguments[-2] == "--"
    assert not board.host.startswith("-")
    assert not set(board.host) & set(" \t\n'\"$`;&|<>(){}*?!#~")
