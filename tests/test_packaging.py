"""What a user's `pip install` gets is what the folders hold, under the one name nnprof."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOMES = {
    "nnprof": "nnprof",
    "networks": "nnprof/networks",
    "exporters": "nnprof/exporters",
    "profiler": "nnprof/profiler",
}


def installed_files() -> set[str]:
    """Every file of the package's folders by the path it is installed at; notes left out."""
    return {
        f"{home}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, home in HOMES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".md", ".pyc"}
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy, so that no earlier build leaks into it."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    for name in HOMES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_package_is_listed() -> None:
    """A folder with an __init__.py that setup.cfg does not list would miss from the wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    found = {
        path.removesuffix("/__init__.py").replace("/", ".")
        for path in installed_files()
        if path.endswith("/__init__.py")
    }
    assert sorted(listed) == sorted(found)


def test_the_wheel_holds_the_folders(wheel: zipfile.ZipFile) -> None:
    """Nothing is missing from the wheel, and nothing else is in it."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == installed_files()


def test_the_wheel_takes_one_top_level_name(wheel: zipfile.ZipFile) -> None:
    """A top-level `networks` or `profiler` would shadow folders in the users' repositories."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nnprof"}


def test_the_wheel_has_command_and_licence(wheel: zipfile.ZipFile) -> None:
    """The console script and the licence travel with the wheel."""
    (points,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    config = configparser.ConfigParser()
    config.read_string(wheel.read(points).decode())
    assert config["console_scripts"]["nnprof"] == "nnprof.cli.main:main"
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())
