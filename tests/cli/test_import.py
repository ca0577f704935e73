"""`nnprof import` and `nnprof search` as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import pytest

DATA = Path(__file__).parents[1] / "data"
TABLE = DATA / "import" / "table.csv"


def nnprof(folder: Path, *arguments: object) -> commands.Done:
    """The command, run in a folder."""
    return commands.nnprof(*arguments, folder=folder)


def test_a_table_becomes_a_run_that_can_be_shown(tmp_path: Path) -> None:
    """The two commands of docs/import.md; what is unknown and what was not read is told."""
    done = nnprof(tmp_path, "import", TABLE, "-o", "tx1.json")
    assert done.returncode == 0, done.stderr
    assert "2 cells, 7 op times." in done.stdout
    assert "Unknown: precision, threads; tell with --precision --threads." in done.stdout
    assert "Columns that say nothing to nnprof: lab." in done.stdout
    assert done.stdout.endswith("Run: tx1.json\n")
    shown = nnprof(tmp_path, "show", "tx1.json", "--ops", "--batch", "64")
    assert shown.returncode == 0, shown.stderr
    assert "3 Gemm" in shown.stdout
    assert "Imported from table.csv" in shown.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "none.csv"), "none.csv cannot be read"),
        (("import", TABLE, "--device", "Jetson TX2"), "No row has the device 'Jetson TX2'"),
        (("import", TABLE, "-o", "run.txt"), "ends in .json"),
        (("import", TABLE, "--precision", "banana"), "No precision 'banana'. Known: fp32, fp16"),
        (("import", TABLE, "--onnx", "x.onnx"), "names its networks itself"),
        (("import", DATA / "trtexec" / "8.6" / "layers.json"), "has layers, but no times"),
        (("search", "none.json", "--min-tiles-per-ms", "1"), "There is no file none.json"),
        (
            ("search", "gtx960-mattsson2016", "--min-tiles-per-ms", "1", "--family", "vgg"),
            "Unknown family 'vgg'. Known: lenet, mattsson.",
        ),
        (("bench", "--study", "none.json"), "Cannot read none.json"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    """Exit code 2, one line on stderr, nothing written."""
    done = nnprof(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_search_as_json(tmp_path: Path) -> None:
    """All networks that meet the budget, with what they cost; none that does not."""
    done = nnprof(
        *(tmp_path, "search", "gtx960-mattsson2016", "--min-tiles-per-ms", 60),
        *("--family", "mattsson(conv=1..2, fc=1, depth=20, neurons=128)", "--format", "json"),
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["notation"] == "1x28x28 conv20k5 pool2 fc128 fc10"
    assert found["tiles_per_ms"] == pytest.approx(1 / found["ms_per_tile"])


def test_a_budget_that_nothing_meets_is_an_answer(tmp_path: Path) -> None:
    """Exit code 0, how many were looked at, and the fastest of them; lines of 80 columns."""
    done = nnprof(tmp_path, "search", "gtx960-mattsson2016", "--min-tiles-per-ms", "1e9")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "0 of 12800 networks reach 1e+09 tiles/ms" in text
    assert "The fastest is mattsson(conv=1, fc=1" in text
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_table_becomes_a_model_that_predicts(tmp_path: Path) -> None:
    """The path of issue 4: import, fit-model, predict; what is missing is said, in 80 columns."""
    header = "network,batch,op,time_ms,Cin,H,Cout,Hout,k,stride,pad"
    rows = [
        f"n{side},{batch},{op}"
        for side in (8, 16, 32) for batch in (1, 8, 64)
        for op in (
            f"Convolution,{0.1 + batch * side * side * 1e-4},8,{side},16,{side - 2},3,1,0",
            f"Pooling,{0.05 + batch * side * side * 2e-5},16,{side - 2},,{side // 2 - 1},2,2,0",
            f"InnerProduct,{0.04 + batch * 1e-3},{16 * side},,10,,,,",
            f"Softmax,{0.03 + batch * 1e-5},10,,,,,,",
        )
    ]  # fmt: skip
    (tmp_path / "ops.csv").write_text("\n".join([header, *rows]) + "\n")
    commands = [
        ("import", "ops.csv", "-o", "run.json", "--device", "TX1", "--runtime", "caffe"),
        ("fit-model", "run.json", "-o", "model.json"),
        ("predict", "model.json", "8x16x16 conv16k3 pool2 fc10", "--batch", "1,8", "--ops"),
        ("search", "model.json", "--min-tiles-per-ms", "1", "--family", "mattsson(conv=1, fc=1)"),
        ("plan", "model.json", "run.json", "--budget", "12", "-o", "next.json"),
    ]
    done = [nnprof(tmp_path, *command) for command in commands]
    assert [one.returncode for one in done] == [0] * len(done), [one.stderr for one in done]
    assert "their time is not a clean one" in " ".join(done[1].stdout.split())
    for one in done[1:4]:
        assert max(map(len, one.stdout.splitlines())) <= 80
    assert "partial" not in done[2].stdout
