"""Which Jetson a snapshot is of, and which JetPack it has: chip, module, L4T, TensorRT, CUDA."""

from __future__ import annotations

import re
from typing import Any

from nnprof.profiler.devices.snapshot import Texts

_TREE = ("/proc/device-tree", "/sys/firmware/devicetree/base")
FILES = (
    *(f"{tree}/{name}" for tree in _TREE for name in ("model", "compatible")),
    *(f"{tree}/nvidia,{name}" for tree in _TREE for name in ("boardids", "dtsfilename")),
    "/etc/nv_tegra_release",
    "/etc/nv_boot_control.conf",
    "/usr/local/cuda/version.json",
)
PACKAGES = "dpkg-query -W libnvinfer-bin libnvinfer8 libnvinfer10 libnvinfer11 nvidia-l4t-core"

# Chip → (family, compute capability of its GPU).
_CHIPS = {
    "tegra210": ("Nano", "5.3"),
    "tegra186": ("TX2", "6.2"),
    "tegra194": ("Xavier", "7.2"),
    "tegra234": ("Orin", "8.7"),
    "tegra264": ("Thor", "11.0"),
}
# Part number → module (NVIDIA's compatible strings and data sheets).
_MODULES = {
    "p3767-0000": "Orin NX 16GB",
    "p3767-0001": "Orin NX 8GB",
    "p3767-0003": "Orin Nano 8GB",
    "p3767-0004": "Orin Nano 4GB",
    "p3767-0005": "Orin Nano 8GB (developer kit)",
    "p3701-0000": "AGX Orin 32GB (developer kit)",
    "p3701-0004": "AGX Orin 32GB",
    "p3701-0005": "AGX Orin 64GB",
    "p3701-0008": "AGX Orin Industrial",
    "p3834-0000": "AGX Thor T5000",
    "p3834-0008": "AGX Thor T5000 (developer kit)",
    "p3668-0000": "Xavier NX (developer kit)",
    "p3668-0001": "Xavier NX 8GB",
    "p3668-0003": "Xavier NX 16GB",
    "p2888": "AGX Xavier",
    "p3448": "Nano",
}
# Module or family → cores of its DLA. From memory, not read off NVIDIA's data sheets: a wrong
# number lets trtexec refuse, or refuses `--on dla` here, but makes no wrong time.
_DLA_CORES = {
    **{"Nano": 0, "TX2": 0, "Xavier": 2, "Thor": 0},
    **{"p3767-0000": 2, "p3767-0001": 1},
    **dict.fromkeys(("p3767-0003", "p3767-0004", "p3767-0005"), 0),
    **dict.fromkeys(("p3701-0000", "p3701-0004", "p3701-0005", "p3701-0008"), 2),
}
# L4T → JetPack. Releases come faster than tables: the L4T itself is always kept.
_JETPACKS = {
    "39.2.0": "7.2",
    "38.4.0": "7.1",
    "38.2": "7.0",
    "36.5.0": "6.2.2",
    "36.4.7": "6.2.1",
    "36.4.4": "6.2.1",
    "36.4.3": "6.2",
    "36.4.0": "6.1",
    "36.3.0": "6.0",
    "35.6.4": "5.1.6",
    "35.4.1": "5.1.2",
    "35.3.1": "5.1.1",
    "35.2.1": "5.1",
    "35.1.0": "5.0.2",
    "32.7": "4.6",
}
# JetPack → the Python of its Ubuntu, for which NVIDIA builds; and where wheels for its GPU are.
_PYTHONS = {"4": "3.6", "5": "3.8", "6": "3.10", "7": "3.12"}
_WHEELS = {
    "6": "https://pypi.jetson-ai-lab.io/jp6/cu126",
    "7": "https://pypi.jetson-ai-lab.io/sbsa/cu130",
}


def python_of(jetpack: str | None) -> str | None:
    """The Python that NVIDIA's packages of a JetPack are for; None where it is in no table."""
    return _PYTHONS.get((jetpack or "").partition(".")[0])


def wheels_of(jetpack: str | None) -> str | None:
    """The index of wheels for the GPU of a JetPack; None where it is in no table."""
    return _WHEELS.get((jetpack or "").partition(".")[0])


def dla_cores(texts: Texts) -> int | None:
    """How many deep learning accelerators the module has; None where it is in no table."""
    part, family = _part(texts), _CHIPS.get(chip(texts) or "", ("", ""))[0]
    return _DLA_CORES.get(part or "", _DLA_CORES.get(family))


def known(texts: Texts) -> dict[str, tuple[Any, str]]:
    """Facts of board, module and software: (value, why it is unknown if it is None)."""
    family, capability = _CHIPS.get(chip(texts) or "", (None, None))
    part, l4t = _part(texts), _l4t(texts)
    return {
        "board": (_tree(texts, "model"), "the device tree names none, as in some containers"),
        "module": (_module(part), f"part number {part} is not known" if part else "no part"),
        "part": (part, "the device tree has none"),
        "chip": (chip(texts), "the device tree names no Tegra chip"),
        "family": (family, "the chip is not known"),
        "compute_capability": (capability, "the chip is not known"),
        "dla_cores": (dla_cores(texts), "the module is not known"),
        "l4t": (l4t, "neither /etc/nv_tegra_release nor dpkg tells"),
        "jetpack": (_jetpack(l4t), f"L4T {l4t} is in no table here" if l4t else "no L4T"),
        "tensorrt_version": (_package(texts, "libnvinfer"), "dpkg lists no libnvinfer"),
        "cuda_version": (_cuda(texts), "no /usr/local/cuda/version.json"),
    }


def chip(texts: Texts) -> str | None:
    """The Tegra chip, such as "tegra234"; None on other machines."""
    words = (_tree(texts, "compatible") or "").replace(",", " ").split()
    return next((word for word in words if word.startswith("tegra")), None)


def _tree(texts: Texts, name: str) -> str | None:
    """A file of the device tree, by its name there."""
    return next((text for folder in _TREE if (text := texts.get(f"{folder}/{name}"))), None)


def _part(texts: Texts) -> str | None:
    """The part number of the module, such as "p3767-0003"; a known number goes first."""
    told = " ".join(
        _tree(texts, name) or "" for name in ("compatible", "nvidia,boardids", "nvidia,dtsfilename")
    )
    told += " " + texts.get("/etc/nv_boot_control.conf", "")
    parts = re.findall(r"p?(\d{4})-(\d{4})", told)
    numbers = [f"p{board}-{sku}" for board, sku in parts]
    known = [one for one in numbers if _module(one)]
    return next(iter(known), None) or next(iter(numbers), None)


def _module(number: str | None) -> str | None:
    """The module of a part number; None where it is in no table here."""
    return _MODULES.get(number or "") or _MODULES.get((number or "").split("-")[0])


_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


def _l4t(texts: Texts) -> str | None:
    """The release of Jetson Linux, such as "36.4.3"."""
    release = _RELEASE.search(texts.get("/etc/nv_tegra_release", ""))
    if release:
        return f"{release[1]}.{release[2]}"
    version = _package(texts, "nvidia-l4t-core")
    return version and version.split("-")[0]


def _jetpack(number: str | None) -> str | None:
    """The JetPack of a release of Jetson Linux; None where it is in no table here."""
    if number is None:
        return None
    return _JETPACKS.get(number) or _JETPACKS.get(number.rpartition(".")[0])


def _package(texts: Texts, prefix: str) -> str | None:
    """The version of the first package of that name, as `10.3.0.30` of `10.3.0.30-1+cuda12.5`."""
    for line in texts.get(PACKAGES, "").splitlines():
        name, _, version = line.partition("\t")
        if name.startswith(prefix) and version[:1].isdigit():
            return version.split("-")[0] if prefix != "nvidia-l4t-core" else version
    return None


def _cuda(texts: Texts) -> str | None:
    """The version of CUDA, such as "12.6.11"."""
    found = re.search(r'"version"\s*:\s*"([\d.]+)"', texts.get("/usr/local/cuda/version.json", ""))
    return found and found[1]
