"""What trtexec says while it runs: read for what it states, and asked for what it does not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from ort_profiles import imported

from nnprof.errors import BadFile, NnprofError, UsageError
from nnprof.profiler import checks, stats
from nnprof.profiler.importers import runs, trtexec_log
from nnprof.profiler.importers.importer import Told
from nnprof.profiler.report import rows

STAMP = "[05/13/2025-10:36:46] "
V8_2, V8_6, V10, V11 = "v8201", "v8601", "v100300] [b26", "v110201] [b3"


def line(name: str, ms: float, percentiles: str = "percentile(90%) = 9 ms, ") -> str:
    """One line of the summary."""
    return (
        f"{STAMP}[I] {name}: min = {ms * 0.9:g} ms, max = {ms * 2:g} ms, mean = {ms * 1.1:g} ms, "
        f"median = {ms:g} ms, {percentiles}percentile(99%) = {ms * 1.9:g} ms\n"
    )


def log(
    flags: str, version: str = V8_6, *, bound: str = "", layers: str = "", end: str = "PASSED"
) -> str:
    """A run of trtexec from its first to its last line."""
    banner = f"TensorRT.trtexec [TensorRT {version}] # /usr/src/tensorrt/bin/trtexec {flags}"
    summary = "".join(
        [
            f"{STAMP}[I] Timing trace has 960 queries over 3.00622 s\n",
            *(f"{STAMP}[I] \n", f"{STAMP}[I] === Trace details ===\n"),
            f"{STAMP}[I] Average on 10 runs - GPU latency: 3.1 ms - Host latency: 3.4 ms\n",
            f"{STAMP}[I] === Performance summary ===\n{STAMP}[I] Throughput: 318.007 qps\n",
            *(line("Latency", 3.36), line("End-to-End Host Latency", 6.2)),
            *(line("Enqueue Time", 0.87), line("H2D Latency", 0.2), line("GPU Compute Time", 3.14)),
            *(line("D2H Latency", 0.02), f"{STAMP}[I] Total GPU Compute Time: 3.00249 s\n"),
            f"{STAMP}[W] * GPU compute time is unstable, with coefficient of variance = 2.9%.\n",
        ]
    )
    return (
        f"&&&& RUNNING {banner}\n{STAMP}[I] === Model Options ===\n"
        f"{STAMP}[I] Selected Device: Orin\n{bound}{summary}{layers}{STAMP}[I] \n"
        f"&&&& {end} {banner}\n"
    )


def write(path: Path, text: str) -> Path:
    """The log as a file."""
    path.write_text(text)
    return path


@pytest.mark.parametrize("version", [V8_2, V8_6, V10, V11])
def test_the_median_of_compute_time_and_what_stands_beside_it(version: str, tmp_path: Path) -> None:
    """Median, spread, copies, GPU and network as the log states them, in every version."""
    flags = "--onnx=/models/resnet50.onnx --shapes=data:8x3x224x224"
    (cell,) = imported(write(tmp_path / "log.txt", log(flags, version)))
    assert stats.latency_s(cell) == pytest.approx(3.14e-3)
    assert (cell.workload.model.name, cell.workload.batch) == ("resnet50", 8)
    assert (cell.target.device, cell.target.backend, cell.clock) == (
        "Orin",
        "trtexec",
        "cuda_event",
    )
    assert cell.workload.precision == ("unknown" if version == V11 else "fp32")
    assert cell.facts["repetitions"] == 960
    assert [cell.facts[name] for name in ("h2d_s", "d2h_s", "enqueue_s", "latency_s")] == [
        pytest.approx(ms * 1e-3) for ms in (0.2, 0.02, 0.87, 3.36)
    ]
    assert checks.is_clean(cell)
    assert cell.ops is None


def test_a_summary_alone_is_enough(tmp_path: Path) -> None:
    """What people paste: a summary without its first lines; the rest is asked for."""
    text = log("--onnx=a.onnx")
    pasted = text[text.index(f"{STAMP}[I] === Performance") : text.index("&&&& PASSED")]
    path = write(tmp_path / "net.txt", pasted)
    with pytest.raises(UsageError, match="does not tell the batch"):
        imported(path)
    run = runs.import_run([path], Told(batch=2), command=["import"])
    (cell,) = run.measurements
    assert (cell.workload.model.name, cell.workload.precision) == ("net", "unknown")
    assert runs.unknowns(run) == ("device", "precision")
    assert rows.rows(run)


@pytest.mark.parametrize(
    ("flags", "bound", "batch"),
    [
        ("--onnx=a.onnx --shapes=x:8x3x9x9,mask:8x9", "", 8),
        ("--onnx=a.onnx --minShapes=x:1x3x9x9 --optShapes=x:4x3x9x9 --maxShapes=x:8x3x9x9", "", 4),
        ("--onnx=a.onnx --shapes='a:b':8x3x9x9", "", 8),
        ("--deploy=a.prototxt --batch=16", "", 16),
        ("--loadEngine=a.plan", "[I] Input binding for x with dimensions 2x3x9x9 is created.\n", 2),
        ("--loadEngine=a.plan", "[I] Created input binding for x with dimensions 2x3x9x9\n", 2),
        ("--onnx=a.onnx --shapes=ids:8x128,mask:8x128", "", None),
        ("--onnx=a.onnx --shapes=frames:100x4x64", "", None),
        ("--onnx=a.onnx --shapes=x:8x3x9x9,state:2x9", "", None),
        ("--onnx=a.onnx", "", None),
        ("--onnx=a.onnx --shapes=x:8x", "", None),
    ],
)
def test_the_batch_of_a_log(flags: str, bound: str, batch: int | None, tmp_path: Path) -> None:
    """As the bindings or the command state it, beyond doubt; else it is asked for, and believed."""
    path = write(tmp_path / "log.txt", log(flags, bound=bound))
    if batch is None:
        with pytest.raises(UsageError, match=r"does not tell the batch\. Tell it with --batch"):
            imported(path)
        batch = 3
        (cell,) = imported(path, batch=3)
    else:
        (cell,) = imported(path)
    assert cell.workload.batch == batch


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("--onnx=a.onnx", "fp32"),
        ("--onnx=a.onnx --fp16", "fp16"),
        ("--onnx=a.onnx --int8 --fp16", "int8"),
        ("--onnx=a.onnx --best", "unknown"),
        ("--onnx=a.onnx --stronglyTyped", "unknown"),
        ("--loadEngine=a.plan --fp16", "unknown"),
    ],
)
def test_the_precision_of_a_log(flags: str, precision: str, tmp_path: Path) -> None:
    """As the flags of the build state it; of an engine that was loaded nothing is known."""
    (cell,) = imported(write(tmp_path / "log.txt", log(flags, V10)), batch=1)
    assert cell.workload.precision == precision
    (cell,) = imported(write(tmp_path / "log.txt", log(flags, V10)), batch=1, precision="fp16")
    assert cell.workload.precision == "fp16"


LAST = (
    f"{STAMP}[I] === Profile (1434 iterations ) ===\n"
    f"{STAMP}[I]    Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer\n"
    f"{STAMP}[I]      486.12       0.3390       0.3389      79.0   {{ForeignNode[771...a]}}\n"
    f"{STAMP}[I]      109.12       0.0761       0.0758      21.0   Conv_235 + Relu_236\n"
    f"{STAMP}[I]      595.24       0.4151       0.4147     100.0   Total\n"
)
FIRST = (
    f"{STAMP}[I] === Profile (1434 iterations ) ===\n"
    f"{STAMP}[I]             Layer   Time (ms)   Avg. Time (ms)   Median Time (ms)   Time %\n"
    f"{STAMP}[I]  {{ForeignNode[771...a]}}   486.12  0.3390  0.3389     79.0\n"
    f"{STAMP}[I]  Conv_235 + Relu_236   109.12   0.0761   0.0758     21.0\n"
    f"{STAMP}[I]  Total   595.24   0.4151   0.4147     100.0\n"
)


@pytest.mark.parametrize("layers", [LAST, FIRST])
def test_the_layers_of_a_log(layers: str, tmp_path: Path) -> None:
    """The table of --dumpProfile, name last or first, with its medians."""
    text = log("--onnx=a.onnx --dumpProfile --separateProfileRun", layers=layers)
    (cell,) = imported(write(tmp_path / "log.txt", text), batch=1)
    assert cell.ops is not None
    assert [(op.node, op.seconds) for op in cell.ops.ops] == [
        ("{ForeignNode[771...a]}", pytest.approx(0.3389e-3)),
        ("Conv_235 + Relu_236", pytest.approx(0.0758e-3)),
    ]
    # Without a run of its own for the profile there is no summary.
    start, end = text.index(f"{STAMP}[I] Timing trace"), text.index(f"{STAMP}[I] === Profile")
    (cell,) = imported(write(tmp_path / "log.txt", text[:start] + text[end:]), batch=1)
    assert not checks.is_clean(cell)
    assert stats.latency_s(cell) == pytest.approx(0.4147e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            log("--onnx=a.onnx", end="FAILED").replace("[I] Selected", "[E] No such model.\n[I] S"),
            "is of a run of trtexec that failed: No such model",
        ),
        (log("--onnx=a.onnx", end="FAILED"), "that failed. Run it again"),
        (log("--onnx=a.onnx") * 2, "several runs of trtexec. Split it"),
        (log("--onnx=a.onnx").replace("&&&&", "#") * 2, "several runs of trtexec. Split it"),
        (log("--onnx=a.onnx")[:400], "had not yet told its times"),
        (
            "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # x\n"
            "&&&& PASSED TensorRT.trtexec [TensorRT v8601] # trtexec --onnx=a.onnx --buildOnly\n",
            "Run it without --buildOnly",
        ),
        (log("--onnx=a.onnx").replace("median = 3.14 ms", "median = nan ms"), "is not a time"),
        (log("--onnx=a.onnx").replace("median = 3.14 ms", "median = 0 ms"), "no median of GPU"),
        (log("--onnx=a.onnx", layers=LAST[:150]), "cut off in its table of layers"),
    ],
)
def test_a_log_without_times_says_why(text: str, said: str, tmp_path: Path) -> None:
    """It failed, had not ended, only built, or is several: one sentence each."""
    with pytest.raises(BadFile) as caught:
        imported(write(tmp_path / "log.txt", text), batch=1)
    assert said in str(caught.value)


def test_several_logs_are_several_cells(tmp_path: Path) -> None:
    """A file each; of one GPU."""
    logs = [
        write(tmp_path / f"{batch}.txt", log(f"--onnx=a.onnx --shapes=x:{batch}x3x9x9"))
        for batch in (1, 8)
    ]
    run = runs.import_run(logs, Told(), command=["import"])
    assert [cell.workload.batch for cell in run.measurements] == [1, 8]
    assert run.environment["backend"]["version"] == "8.6.1"
    logs.append(write(tmp_path / "x.txt", log("--onnx=b.onnx").replace("Orin", "Thor")))
    with pytest.raises(UsageError, match=r"several places: Orin with TensorRT 8\.6\.1, Thor"):
        runs.import_run(logs, Told(batch=1), command=["import"])


def test_a_log_in_the_encoding_of_windows(tmp_path: Path) -> None:
    """PowerShell redirects as UTF-16, and ends lines in its own way."""
    path = tmp_path / "log.txt"
    path.write_bytes(
        log("--onnx=C:\\nets\\a.onnx --batch=2").replace("\n", "\r\n").encode("utf-16")
    )
    (cell,) = imported(path)
    assert (cell.workload.model.name, cell.workload.batch) == ("a", 2)


WHOLE = log("--onnx=a.onnx --shapes=x:8x3x9x9", layers=LAST)


@given(st.integers(0, len(WHOLE)), st.text(max_size=20), st.integers(0, 60))
def test_no_damage_makes_a_log_fail_otherwise(at: int, junk: str, gone: int) -> None:
    """Whatever is lost or put into a log, it is read or refused with a sentence."""
    text = WHOLE[:at] + junk + WHOLE[at + gone :]
    with suppress(NnprofError):
        assert (
            trtexec_log.read(text, "log.txt").compute or trtexec_log.read(text, "log.txt").profile
        )


def test_the_file_of_the_network_tells_which_side_is_the_batch(tmp_path: Path) -> None:
    """A text model's inputs: asked for without --onnx, known with it; and its bound batch."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["ids"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["seq", "batch"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["seq", "batch"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "text.onnx")
    path = write(tmp_path / "log.txt", log("--onnx=text.onnx --shapes=ids:128x8"))
    (cell,) = imported(path, tmp_path / "text.onnx")
    assert (cell.workload.batch, cell.workload.model.name) == (8, "text")
