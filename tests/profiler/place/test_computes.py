"""What of a device computes: chosen, refused, and kept in a target."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.profiler.place import computes
from nnprof.types import Cell, Model, Target, Workload


@pytest.mark.parametrize(
    ("backend", "device", "asked", "on"),
    [
        ("onnxruntime", "cpu", "", "cpu"),
        ("onnxruntime", "cuda", "", "gpu"),
        ("onnxruntime", "jetson", "", "cpu"),
        ("onnxruntime", "jetson", "gpu", "gpu"),
        ("torch", "cuda", "", "gpu"),
        ("trtexec", "jetson", "", "gpu"),
        ("trtexec", "jetson", "dla", "dla"),
        ("mnn", "jetson", "", "cpu"),
        ("litert", "pi", "", "cpu"),
    ],
)
def test_the_usual_part_is_the_backends_first_that_the_device_has(
    backend: str, device: str, asked: str, on: str
) -> None:
    """What was asked for goes before the first part of the backend's that the device has."""
    assert computes.chosen(backend, device, asked) == on


@pytest.mark.parametrize(
    ("backend", "device", "asked", "says", "remedy"),
    [
        (
            *("mnn", "jetson", "gpu"),
            "mnn backend computes on cpu; device 'jetson' has cpu, gpu and dla, and 'gpu' was",
            "--on cpu; or for --backend onnxruntime",
        ),
        (
            *("mnn", "cuda", ""),
            "mnn backend computes on cpu; device 'cuda' has gpu.",
            "; or for --device cpu",
        ),
        (
            *("trtexec", "cpu", ""),
            "trtexec backend computes on gpu and dla; device 'cpu' has cpu.",
            "--device cuda or jetson",
        ),
        (*("torch", "cpu", "gpu"), "device 'cpu' has cpu, and 'gpu'", "--on cpu"),
        (*("torch", "jetson", "dla"), "and 'dla' was asked for", "--backend trtexec"),
        (*("torch", "jetson", "npu"), "and 'npu' was asked for", "--on cpu or gpu"),
    ],
)
def test_a_refusal_names_both_and_the_ways(
    backend: str, device: str, asked: str, says: str, remedy: str
) -> None:
    """What does not go together is one sentence of backend and device, and what to type."""
    with pytest.raises(Unavailable) as caught:
        computes.chosen(backend, device, asked)
    assert says in caught.value.reason
    assert remedy in caught.value.remedy
    assert "fake" not in caught.value.remedy


def test_a_backend_is_taken_that_computes_on_what_was_asked() -> None:
    """A Jetson's own trtexec is the usual one, but not for its processor."""
    jetson, cpu = (registry.find("device", name) for name in ("jetson", "cpu"))
    assert computes.backend_for(jetson, "") == "trtexec"
    assert computes.backend_for(jetson, "dla") == "trtexec"
    assert computes.backend_for(jetson, "cpu") == "onnxruntime"
    assert computes.backend_for(cpu, "") == "onnxruntime"
    assert computes.device_for("onnxruntime") == "cpu"
    assert computes.device_for("trtexec") == "cuda"


def test_what_a_device_lacks_is_refused() -> None:
    """A kind of device refuses a part that no such device has; its facts one that it has not."""
    dla = Target(backend="trtexec", device="jetson", on="dla")
    computes.require_has(registry.find("device", "jetson"), dla)
    with pytest.raises(Unavailable, match="'cuda' computes on gpu, not on 'dla'"):
        computes.require_has(registry.find("device", "cuda"), replace(dla, device="cuda"))
    facts = {"computes_on": ("cpu", "gpu"), "module": "Orin Nano 8GB"}
    with pytest.raises(Unavailable, match="Orin Nano 8GB computes on cpu and gpu") as caught:
        computes.require_there(facts, dla)
    assert "--on cpu or gpu" in caught.value.remedy
    computes.require_there({}, dla)


@pytest.mark.parametrize(
    ("device", "on", "where"),
    [
        ("cpu", "cpu", "cpu"),
        ("cuda", "gpu", "cuda"),
        ("jetson", "gpu", "jetson gpu"),
        ("GTX 960", "", "GTX 960"),
    ],
)
def test_a_target_of_before_means_what_its_device_meant(device: str, on: str, where: str) -> None:
    """A target that says nothing of it, as in old Runs, computes on what its device meant then."""
    text = msgspec.json.encode({"backend": "x", "device": device})
    target = msgspec.json.decode(text, type=Target)
    assert (target.on, target.where) == (on, where)
    assert msgspec.json.decode(msgspec.json.encode(target), type=Target) == target


def test_another_part_is_another_cell(model: Model) -> None:
    """Cells on the processor and on the GPU of one board are two; old keys stay as they were."""
    work = Workload(model=model, batch=1)
    gpu = Target(backend="fake", device="jetson")
    keys = [Cell(workload=work, target=one).key for one in (gpu, replace(gpu, on="cpu"))]
    assert keys[1] == f"{keys[0]}|on=cpu"
