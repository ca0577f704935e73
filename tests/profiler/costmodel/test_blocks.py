"""Blocks of 8 and of 16 channels: a cost model is of one kind of processor, and says of which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from nnprof.errors import UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler import ports, studies
from nnprof.profiler.costmodel import (
    assemble,
    design,
    gather,
    graphs,
    kernels,
    model,
)
from nnprof.profiler.costmodel.lowering import of_spec
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.ran import widths
from nnprof.profiler.ports import OpNode
from nnprof.types import Cell, Measurement, OpPass, Run, Study, Target, Workload
from tests.profiler.conftest import SHORT
from tests.profiler.costmodel.test_work import NETWORKS, recorded

AVX2, AVX512 = ("sse4_2", "avx", "avx2", "fma"), ("sse4_2", "avx", "avx2", "fma", "avx512f")


def run_of(
    graphs_: Mapping[str, Sequence[OpNode]], extensions: Sequence[str] = (), slower: float = 1.0
) -> Run:
    """A Run in which ops took a nanosecond a byte and a microsecond more."""
    cells = []
    for text, nodes in graphs_.items():
        times = [1e-6 + slower * 1e-9 * (node.bytes_out or 0) for node in nodes]
        ops = tuple(
            ports.timed(node, index, seconds, "combined")
            for index, (node, seconds) in enumerate(zip(nodes, times, strict=True))
        )
        total_s = sum(times)
        cells.append(
            Measurement(
                workload=Workload(model=studies.model_of(text), batch=3),
                target=Target(),
                plan=SHORT,
                clock="fake",
                samples_s=((total_s,),),
                warmups_s=((),),
                processes=(),
                stopped="imported",
                ops=OpPass(method="combined", latency_s=total_s, ops=ops),
            )
        )
    environment: dict[str, Any] = {"device": {"extensions": list(extensions)}, "backend": {}}
    asked = tuple(Cell(workload=one.workload, target=one.target) for one in cells)
    study = Study(name="blocks", command=(), created="", plan=SHORT, cells=asked)
    return Run(study=study, environment=environment, measurements=tuple(cells))


def fitted(run: Run, prior: CostModel | None = None) -> CostModel:
    """The model of one Run."""
    return assemble.model(gather.gathered([run], ()), "toy", None, prior)


@pytest.fixture(scope="module")
def models() -> dict[int, CostModel]:
    """A model of each width, through its file."""
    made = {width: fitted(run_of(recorded(width))) for width in (8, 16)}
    return {width: model.decode(model.encode(one), "a file") for width, one in made.items()}


def test_the_model_file_says_of_which_blocks_it_is(models: Mapping[int, CostModel]) -> None:
    """A model has the width that its ops ran in, and ops of 24 channels among the blocked ones."""
    assert {width: one.lowering for width, one in models.items()} == {
        8: "blocked8",
        16: "blocked16",
    }
    (group,) = (one for one in models[8].groups if one.name == "conv-blocked")
    assert group.domain["n"][0] < 16


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("text", NETWORKS[:3])
def test_a_file_is_predicted_in_the_blocks_of_the_model(
    text: str, width: int, models: Mapping[int, CostModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the processor here, an ONNX file becomes the ops that the model's processor ran."""
    expected = of_spec(parse_network(text), f"blocked{width}", 3)
    for here in (8, 16):
        ran = recorded(here)[text]
        monkeypatch.setattr(graphs, "_ran", lambda *_, ran=ran: ran)
        lowered = graphs.of_file(studies.model_of(text), models[width], [3])
        assert [one.group for one in lowered.works[3]] == [one.group for one in expected]
        for name in ("c_in", "c_out", "flops", "bytes_out"):
            found = [getattr(one, name) for one in lowered.works[3]]
            assert found == pytest.approx([getattr(one, name) for one in expected])
        # 32 channels in both are the same ops, and the runtime here may give them.
        both = widths(recorded(width)[text]) == {8, 16}
        assert lowered.source == ("runtime" if here == width or both else "rules")


def test_runs_of_both_widths_make_no_model() -> None:
    """Ops of two kinds of processor are refused before they are mixed into one fit."""
    runs = [run_of(recorded(width)) for width in (8, 16)]
    with pytest.raises(UsageError, match="different widths"):
        gather.gathered(runs, ())
    with pytest.raises(UsageError, match="different widths"):
        design.known(runs, None)


def test_copies_of_no_known_width_are_refused() -> None:
    """Blocks of 5 channels are no code that nnprof knows."""
    nodes = recorded(8)[NETWORKS[0]]
    strange = [
        msgspec.structs.replace(node, inputs=((3, 25, *node.inputs[0][2:]),))
        if node.op == "ReorderOutput"
        else node
        for node in nodes
    ]
    with pytest.raises(UsageError, match="one that nnprof does not know"):
        gather.gathered([run_of({NETWORKS[0]: strange})], ())


def test_channels_that_tell_nothing_are_read_off_the_processor() -> None:
    """Networks of 32 channels are the same in both blocks; the extensions say what others are."""
    text = "32x12x12 conv32k3 fc10"
    shapes = ((3, 32, 10, 10),)
    copy = OpNode(node="out", op="ReorderOutput", kind="memory", inputs=shapes, outputs=shapes)
    conv = OpNode(node="relu_nchwc", op="Conv", kind="conv",
                  inputs=((3, 32, 12, 12), (32, 32, 3, 3)), outputs=shapes)  # fmt: skip
    for extensions, rules in ((AVX2, "blocked8"), (AVX512, "blocked16"), ((), "blocked16")):
        run = run_of({text: [conv, copy]}, extensions)
        assert gather.gathered([run], ()).lowering == rules
        # What tells goes before what the processor should do.
        told = run_of({text: [conv, copy], **recorded(16)}, extensions)
        assert gather.gathered([told], ()).lowering == "blocked16"
    assert kernels.block_of(["asimd", "asimddp"]) == 16


def test_a_prior_of_another_width_is_said(models: Mapping[int, CostModel]) -> None:
    """Blocks of 16 calibrated on blocks of 8 make a model of 8, which says what its prior was."""
    made = fitted(run_of(recorded(8), slower=2.0), models[16])
    assert made.lowering == "blocked8"
    assert any("prior is of blocks of 16 channels, and these Runs are of 8" in one
               for one in made.notes)  # fmt: skip
    same = fitted(run_of(recorded(16), slower=2.0), models[16])
    assert not any("prior is of blocks" in one for one in same.notes)


def test_a_plan_for_another_processor_is_refused(models: Mapping[int, CostModel]) -> None:
    """Runs of blocks of 8 do not say how far off a model of blocks of 16 is."""
    runs = [run_of(recorded(8))]
    with pytest.raises(UsageError, match="Runs are of blocked8 and toy is of blocked16"):
        design.known(runs, models[16])
    assert design.known(runs, models[8]).lowering == "blocked8"
