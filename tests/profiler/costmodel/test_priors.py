"""Models that come with nnprof."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from nnprof.profiler.costmodel import model, priors
from nnprof.profiler.costmodel.model import CostModel
from nnprof.types import Target


def test_what_is_shipped_can_be_used() -> None:
    """Each decodes, has the ops of a network in it, and is named as its file."""
    found = priors.shipped()
    assert {one.name for one in found} <= set(model.published())
    for one in found:
        assert one.group("gemm") is not None, one.name
        assert "gtx960" not in one.name


def _made(name: str, target: Target, lowering: str, precision: str = "fp32") -> CostModel:
    return CostModel(
        name=name, target=target, lowering=lowering, precision=precision, terms=(), groups=()
    )


CPU = Target(backend="onnxruntime", threads=1)
MODELS = (
    _made("eight", CPU, "blocked8"),
    _made("sixteen", CPU, "blocked16"),
    _made("half", CPU, "blocked16", "fp16"),
    _made("two", replace(CPU, threads=2), "blocked16"),
    _made("other", replace(CPU, backend="openvino"), "fused"),
)


@pytest.mark.parametrize(
    ("target", "precision", "lowering", "name"),
    [
        (CPU, "fp32", "blocked16", "sixteen"),
        (CPU, "fp32", "blocked8", "eight"),
        (CPU, "fp16", "blocked16", "half"),
        (replace(CPU, threads=4), "fp32", "blocked16", "two"),
        (replace(CPU, backend="openvino"), "int8", "fused", "other"),
    ],
)
def test_the_nearest_is_the_most_alike(
    target: Target, precision: str, lowering: str, name: str
) -> None:
    """Same backend; then the code that runs, the precision, the threads."""
    found = priors.nearest(MODELS, target, precision, lowering)
    assert found is not None
    assert found.name == name


def test_no_model_of_the_backend_is_no_prior() -> None:
    """Another runtime runs other code."""
    assert priors.nearest(MODELS, replace(CPU, backend="torch"), "fp32", "fused") is None
