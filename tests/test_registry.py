"""Plug points: names without imports, objects on demand, a sentence for an unknown name."""

import configparser
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nnprof import registry
from nnprof.errors import UnknownName

ROOT = Path(__file__).parents[1]
KINDS = {
    "nnprof.backends": "backend",
    "nnprof.devices": "device",
    "nnprof.datasets": "dataset",
    "nnprof.studies": "study",
    "nnprof.importers": "importer",
    "nnprof.outputs": "output",
}


def registered() -> list[tuple[str, str]]:
    """Kind and name of every plug that setup.cfg registers."""
    config = configparser.ConfigParser(delimiters="=")
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [
        (kind, line.split("=")[0].strip())
        for group, kind in KINDS.items()
        for line in config["options.entry_points"][group].split("\n")
        if line
    ]


@pytest.mark.parametrize(("kind", "name"), registered())
def test_every_registered_name_is_an_object(kind: str, name: str) -> None:
    """Each line of setup.cfg leads to an object that exists; reinstall after changing one."""
    assert name in registry.names(kind)
    assert registry.find(kind, name) is not None


def test_unknown_names_are_refused_with_the_known() -> None:
    """An unknown study is refused with the list of those there are."""
    with pytest.raises(UnknownName) as caught:
        registry.find("study", "group9")
    known = ", ".join(registry.names("study"))
    assert str(caught.value) == f"Unknown study 'group9'. Known: {known}."
    assert "group1, group2" in known


def test_names_import_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing names imports no plug, and each name is listed once, in order."""
    group = "nnprof.backends"
    points = [EntryPoint(name, "no_such_module:X", group) for name in ("b", "a", "b")]
    monkeypatch.setattr(registry, "entry_points", lambda **_: points)
    assert registry.names("backend") == ("a", "b")
    assert "no_such_module" not in sys.modules


def test_another_packages_plug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug of another distribution needs one line in its own setup.cfg and nothing here."""
    point = EntryPoint("theirs", "json:dumps", "nnprof.backends")
    asked: list[dict[str, str]] = []

    def entry_points(**wanted: str) -> list[EntryPoint]:
        asked.append(wanted)
        return [point]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert registry.find("backend", "theirs")([]) == "[]"
    assert asked == [{"group": "nnprof.backends", "name": "theirs"}]
