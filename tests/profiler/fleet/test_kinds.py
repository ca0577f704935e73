"""Which boards are alike, and which words name several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler.fleet import kinds
from nnprof.profiler.fleet.kinds import Member
from nnprof.profiler.place import boards
from nnprof.types import Target


def _member(name: str, options: dict[str, str] | None = None, **device: Any) -> Member:
    facts = {"name": "jetson", "module": "Orin Nano 8GB", "power_mode": "MAXN", **device}
    return Member(
        name=name,
        target=Target(backend="fake", device="jetson", host=name, options=options or {}),
        environment={"nnprof": "1", "host": name, "device": facts, "backend": {"version": "1"}},
    )


def test_boards_that_could_go_on_with_each_others_runs_are_alike() -> None:
    """Names, free memory and sensors do not part boards; power mode, module and options do."""
    found = kinds.of(
        [
            _member("a", memory_bytes=1),
            _member("b", memory_bytes=2, thermal_zones=["x"]),
            _member("c", power_mode="15W"),
            _member("d", options={"speed": "2"}),
            _member("e", power_mode="15W"),
        ]
    )
    assert [kind.boards for kind in found] == [("a", "b"), ("c", "e"), ("d",)]
    assert found[2].name == "d"  # one board alone is called what it is called
    assert found[0].name.startswith(f"{boards.KIND}orin-nano-8gb-")
    assert found[0].name != found[1].name


def test_a_kind_has_the_same_name_whoever_is_in_it() -> None:
    """Other boards of the same kind, another day, stand under the same name."""
    a, b, c = (_member(name) for name in "abc")
    assert kinds.of([a, b])[0].name == kinds.of([c, a])[0].name
    newer = [replace(one, environment={**one.environment, "nnprof": "2"}) for one in (a, b)]
    assert kinds.of(newer)[0].name != kinds.of([a, b])[0].name


def test_why_two_boards_are_not_alike() -> None:
    """The fact, and both values."""
    assert kinds.unlike(_member("a"), _member("b", power_mode="15W")) == [
        "device power_mode: MAXN and 15W"
    ]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A devices.toml with two boards."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "nnprof").mkdir()
    path = tmp_path / "nnprof/devices.toml"
    path.write_text('[pi]\nhost = "pi"\n[thor]\nhost = "thor"\n')
    return path


def test_words_that_name_several_boards(configured: Path) -> None:
    """`all` is every board of devices.toml; a list is taken once each; one name is one place."""
    assert kinds.names("all") == ("pi", "thor")
    assert kinds.names("thor, pi,thor") == ("thor", "pi")
    assert kinds.names("pi") is None


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("pi,cpu", "'cpu' is this machine, which drives the fleet"),
        ("pi,orin", "Unknown device 'orin'"),
        (",", "names no board"),
    ],
)
def test_words_that_name_no_boards(configured: Path, device: str, sentence: str) -> None:
    """This machine, unknown names and nothing at all are refused."""
    with pytest.raises(UsageError, match=sentence):
        kinds.names(device)


def test_nobody_can_call_a_board_like_a_kind(configured: Path) -> None:
    """The host of a kind is no board; the sentence says how to go on."""
    with pytest.raises(UsageError, match=r"several boards that are alike, not one\..*--resume"):
        boards.find(f"{boards.KIND}orin-nano-8gb-123456")
