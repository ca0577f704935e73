"""PyTorch as a backend: eager and compiled. The contract has the rest."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.backends.torch import BACKEND
from nnprof.types import Model, Target, Workload

COMPILED = Target(options={"mode": "compile"})


def _work(batch: int) -> Workload:
    model = load_model(bundled.model_path())
    return Workload(model=model, batch=batch, data=str(bundled.tiles_path()))


def test_eager_ops_are_the_nodes_of_the_file() -> None:
    """Eager torch runs the ONNX nodes one by one, and each is timed under its own name."""
    session = BACKEND.open(_work(4), Target())
    ops = session.op_times(0.02).ops
    assert [op.node for op in ops][:3] == ["conv1", "conv1_relu", "pool1"]
    assert all(op.origin == (op.node,) and op.seconds > 0 for op in ops)
    assert "convolution" in ops[0].kernel
    assert ops[0].flops == 2 * 4 * 8 * 24 * 24 * 25


def test_beginnings_compute_what_the_network_computes_so_far() -> None:
    """Each beginning does the work of all nodes before it, the last gives the network's output."""
    session = BACKEND.open(_work(4), Target())
    parts = list(session.beginnings())
    with torch.inference_mode():
        made = [part._calls[0](*part._bound)[0] for part in parts]
    (expected,) = session.infer(inputs.make(_work(4))).values()
    np.testing.assert_array_equal(made[-1].numpy(), expected)
    assert [tuple(tensor.shape) for tensor in made[:2]] == [(4, 8, 24, 24)] * 2
    assert all(before.shape != () and after.shape != () for before, after in pairwise(made))


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_kernels_are_the_ops(model: Model) -> None:
    """A compiled network computes the same, by fewer kernels, each timed; no part is offered."""
    work = Workload(model=model, batch=3)
    eager, session = BACKEND.open(work, Target()), BACKEND.open(work, COMPILED)
    tiles = inputs.make(work)
    np.testing.assert_allclose(session.infer(tiles)["y"], eager.infer(tiles)["y"], atol=1e-6)
    ops = session.op_times(0.02).ops
    assert [op.node for op in ops] == [node.node for node in session.graph()]
    assert len(ops) < len(eager.graph())
    assert {"gemm", "softmax"} <= {op.kind for op in ops}
    with pytest.raises(Unavailable, match="one program"):
        session.alone({})


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile needs a C++ compiler; without one the sentence says what to install."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unavailable, match=r"'no-such-compiler' is not here.*apt install"):
        BACKEND.open(_work(1), COMPILED)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target(device="tpu"), Unavailable, "computes on cpu and gpu, not on device 'tpu'"),
        (Target(options={"fast": "1"}), UsageError, "no option 'fast'"),
        (Target(options={"mode": "fast"}), UsageError, "Known: eager, compile"),
        (Target(options={"cuda_graph": "1"}), UsageError, "CUDA graphs need a GPU"),
    ],
)
def test_refuses_what_it_does_not_do(target: Target, error: type[Exception], says: str) -> None:
    """Other devices and options are refused with a sentence."""
    with pytest.raises(error, match=says):
        BACKEND.open(_work(1), target)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_here_is_refused() -> None:
    """Without a CUDA device the sentence says whether torch or the machine lacks it."""
    with pytest.raises(Unavailable, match=r"without CUDA|no CUDA device"):
        BACKEND.open(_work(1), Target(device="cuda"))


def test_memory_that_is_not_there_is_a_failure_of_the_cell(model: Model) -> None:
    """What torch says of memory becomes OutOfMemory, anything else BadFile."""
    from nnprof.errors import OutOfMemory
    from nnprof.profiler.backends.torch import _translated

    with pytest.raises(OutOfMemory), _translated(Workload(model=model, batch=3)):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(BadFile), _translated(Workload(model=model, batch=3)):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
