"""A folder of wheels for boards that stand on this machine: what nnprof needs, as empty wheels.

One of them leads Python to the packages of this environment, so that what is installed from here
works, and takes no time to carry. pip is whole: it is what installs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from wheel.wheelfile import WheelFile

from nnprof.profiler.setup.wheels import OWN


def stub(
    folder: Path,
    name: str,
    version: str = "1.0",
    needs: Iterable[str] = (),
    files: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """A wheel with these requirements and files and nothing else."""
    stem = f"{canonicalize_name(name).replace('-', '_')}-{version}"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += "".join(f"Requires-Dist: {need}\n" for need in needs)
    whole = {
        **(files or {}),
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    path = folder / f"{stem}-{tag}.whl"
    with WheelFile(str(path), "w") as made:
        for place, text in whole.items():
            made.writestr(place, text)
    return path


def make(folder: Path, leave_out: Iterable[str] = ()) -> Path:
    """All that nnprof needs with the usual runtime, but for what is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for need in map(Requirement, requires(OWN) or ()):
        if not need.marker or "extra" not in str(need.marker) or need.name == "onnxruntime":
            found[canonicalize_name(need.name)] = _version(need.name)
    here = "\n".join(path for path in sys.path if Path(path).is_dir()) + "\n"
    for name, version in found.items():
        if name not in leave_out:
            files = {"zz_here.pth": here} if name == "msgspec" else {}
            stub(folder, name, version, files=files)
    _pack_pip(folder)
    return folder


def _version(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:  # for another Python than this one
        return "2.5"


def _pack_pip(folder: Path) -> None:
    """The pip of this environment as a wheel again."""
    stage = folder / "stage"
    pip = distribution("pip")
    for one in pip.files or ():
        if (
            ".." not in one.parts
            and one.suffix != ".pyc"
            and one.name not in ("RECORD", "INSTALLER")
        ):
            (stage / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(pip.locate_file(one)), stage / one)
    command = [sys.executable, "-m", "wheel", "pack", str(stage), "--dest-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(stage)
