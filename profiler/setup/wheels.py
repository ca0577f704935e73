"""What a board needs as wheels: nnprof as it is installed here, a runtime, and all that they need.

Everything is gathered here, by pip, for the board's Python, machine and glibc: the board needs no
network, and its compiler is never asked for.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec
from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from nnprof.errors import NnprofError, Unavailable
from nnprof.profiler.place import listening
from nnprof.profiler.setup.there import There

_LOG = logging.getLogger(__name__)
OWN, PIP = "nnprof-embedded", "pip"  # distributions
_PACKAGES = ("nnprof", "nnprof.networks", "nnprof.exporters", "nnprof.profiler")
_NOT_CARRIED = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # how it came to be here
_LIMIT_S = 3600.0
_NO_NETWORK = re.compile(r"NewConnectionError|Max retries|Name or service not known|timed out")
_NO_WHEEL = re.compile(r"No matching distribution found for ([^\s;(]+)")


class Wheel(NamedTuple):
    """A wheel on disk.

    Attributes:
        name: of its distribution, as `canonicalize_name` has it.
        bytes, unpacked: as a file, and once it is installed.
        needs: its requirements, with markers.
    """

    path: Path
    name: str
    version: str
    bytes: int
    unpacked: int
    needs: tuple[str, ...]


def read(path: Path) -> Wheel:
    """What a wheel says of itself."""
    name, version, _, _ = parse_wheel_filename(path.name)
    with zipfile.ZipFile(path) as whole:
        # Packages within a package have theirs deeper down.
        (about,) = (
            one
            for one in whole.namelist()
            if one.endswith(".dist-info/METADATA") and one.count("/") == 1
        )
        raw, _ = parse_email(whole.read(about))
        unpacked = sum(one.file_size for one in whole.infolist())
    needs = tuple(raw.get("requires_dist", ()))
    return Wheel(path, str(name), str(version), path.stat().st_size, unpacked, needs)


def source_digest() -> str:
    """A digest of nnprof's own files here: the same version may be other code while it is made."""
    digest = hashlib.sha256()
    for name, path in sorted(_sources().items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources() -> dict[str, Path]:
    """Our own files as they are imported here, by their places in a wheel."""
    found = {}
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in Path(folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    place = Path(*package.split(".")) / path.relative_to(folder)
                    found[place.as_posix()] = path
    return found


def own(folder: Path) -> Path:
    """Pack nnprof as it is installed here, editable or not, as a wheel in that folder.

    Raises:
        Unavailable: it is not installed here, only imported.
    """
    stage = folder / "own"
    for name, path in (_sources() | _about(_here())).items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stage / name)
    pack = [sys.executable, "-m", "wheel", "pack", str(stage), "--dest-dir", str(folder)]
    code, said = _run(pack, folder)
    if code:
        raise Unavailable(f"nnprof cannot be packed: {said.strip()}.", "Install it anew here.")
    (made,) = folder.glob("*.whl")
    return made


def _here() -> Distribution:
    """The nnprof that is installed here; a checkout may have left-overs of a build beside it."""
    for one in distributions(name=OWN):
        if one.read_text("WHEEL"):
            return one
    raise Unavailable("nnprof is not installed here: nothing can be carried.", "pip install .")


def _about(here: Distribution) -> dict[str, Path]:
    """The files beside an installed package that tell pip what it is."""
    return {
        str(one): Path(str(here.locate_file(one)))
        for one in here.files or ()
        if one.parts[0].endswith(".dist-info") and one.name not in _NOT_CARRIED
    }


def gather(there: There, extras: Iterable[str], folder: Path) -> tuple[Wheel, ...]:
    """The wheels of nnprof, with these extras of it, of pip, and of all that they need there.

    Args:
        there: the board's Python.
        extras: of nnprof.
        folder: where the wheels will be.

    Raises:
        Unavailable: there is no wheel of one of them for that Python, or no index is reached.
    """
    made, dest = own(folder), folder / "wheels"
    names = ",".join(sorted(one for one in extras if one))
    wanted = [PIP, f"{made}[{names}]" if names else str(made)]
    _LOG.info("gathering wheels for %s", there.words)
    told = ["--dest", str(dest), "--only-binary=:all:", "--implementation=cp"]
    told += ["--python-version", there.version]
    told += [word for name in there.platforms for word in ("--platform", name)]
    markers = msgspec.json.encode(there.markers).decode()
    pip = [sys.executable, "-m", "nnprof.profiler.setup.pip_for", markers, "download"]
    code, said = _run([*pip, "--progress-bar=off", *told, *wanted], folder)
    if code:
        raise refusal(said, there)
    found = {one.name: one for one in map(read, dest.glob("*.whl"))}
    roots = {OWN: frozenset(names.split(",")), PIP: frozenset[str]()}
    return closure(found, roots, there.markers)


def closure(
    found: Mapping[str, Wheel], roots: Mapping[str, frozenset[str]], markers: Mapping[str, str]
) -> tuple[Wheel, ...]:
    """The wheels that these distributions, with these extras, need in an environment. Pure.

    Raises:
        Unavailable: one of them is missing.
    """
    todo, seen = list(roots.items()), set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in found:
            raise Unavailable(f"pip did not bring {name}.", "Try a newer pip here.")
        for need in map(Requirement, found[name].needs):
            cases = ({**markers, "extra": extra} for extra in (extras or {""}))
            if need.marker is None or any(need.marker.evaluate(case) for case in cases):
                todo.append((canonicalize_name(need.name), frozenset(need.extras)))
    return tuple(found[name] for name in sorted({name for name, _ in seen}))


def refusal(said: str, there: There) -> NnprofError:
    """What pip could not do, from what it said. Pure."""
    none = _NO_WHEEL.search(said)
    if re.search(r"No module named '?pip", said):
        return Unavailable(
            "pip is not installed here.", f"Install it: {sys.executable} -m ensurepip"
        )
    if _NO_NETWORK.search(said):
        return Unavailable(
            "pip here reaches no index of packages.",
            "Connect this machine, or give pip a folder of wheels: PIP_NO_INDEX=1 "
            "PIP_FIND_LINKS=FOLDER nnprof setup …",
        )
    if none:
        name = none[1]
        return Unavailable(
            f"There is no wheel of {name} for {there.words}.",
            "Choose another runtime with --backend, or install another Python there.",
        )
    if "No space left" in said:
        return Unavailable("This machine has no room for the wheels.", "Free some, or set TMPDIR.")
    lines = said.strip().splitlines()
    last = lines[-1].removeprefix("ERROR: ").rstrip(".") if lines else "it gave no reason"
    return Unavailable(f"pip could not gather the wheels: {last}.", "docs/setup.md has more.")


def _run(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """A program's exit code, and what it had to say against it; each line of output is progress."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            _, said = listening.communicate(process, None, _LIMIT_S, _told)
        except subprocess.TimeoutExpired as late:
            raise Unavailable(
                f"pip had not ended after {_LIMIT_S / 60:.0f} min.", "Look at the network here."
            ) from late
        finally:
            process.kill()
    return process.returncode, said.decode(errors="replace")


def _told(line: bytes) -> None:
    _LOG.info("%s", line.decode(errors="replace").strip())


def brought_by(extra: str) -> tuple[str, ...]:
    """The distributions that an extra of nnprof names, as it is installed here."""
    return tuple(
        canonicalize_name(one.name)
        for one in map(Requirement, _here().requires or ())
        if one.marker
        and one.marker.evaluate({"extra": extra})
        and not one.marker.evaluate({"extra": ""})
    )


def version_here(name: str) -> str:
    """The version of a distribution here; empty where it is not installed."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return ""
