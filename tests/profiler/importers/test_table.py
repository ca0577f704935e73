"""Tables of times that other tools measured."""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnprof.errors import BadFile, UsageError
from nnprof.profiler import checks, stats
from nnprof.profiler.graph import counts
from nnprof.profiler.importers import columns, table
from nnprof.profiler.importers.importer import Told
from nnprof.types import Measurement

TABLE = Path(__file__).parents[2] / "data" / "import" / "table.csv"


def measured(text: str) -> tuple[Measurement, ...]:
    """The measurements of a table's text."""
    return table.measurements(columns.parse(text, "t.csv").rows)


def test_the_table_of_the_documentation() -> None:
    """Every kind of op gets its shapes, FLOPs and bytes from the numbers of its row."""
    whole, alone = table.measurements(columns.read(TABLE).rows)
    assert whole.ops is not None
    conv, relu, pool, first, second, softmax = whole.ops.ops
    assert conv.inputs == ((64, 1, 28, 28), (20, 1, 5, 5))
    assert (conv.op, conv.flops) == ("Conv", 2 * 64 * 20 * 24 * 24 * 25)
    assert (conv.bytes_out, conv.bytes_weights) == (4 * 64 * 20 * 24 * 24, 4 * 20 * 25)
    assert (relu.kind, relu.flops, relu.outputs) == ("elementwise", 64 * 11520, ((64, 20, 24, 24),))
    assert (pool.kind, pool.flops) == ("pool", 64 * 20 * 144 * 4)
    assert first.inputs == ((64, 2880), (128, 2880))
    assert (second.op, second.kind, second.flops) == ("Gemm", "gemm", 2 * 64 * 128 * 10)
    assert (softmax.outputs, softmax.seconds) == (((64, 10),), 0.04e-3)
    assert whole.workload.model.network == "1x28x28 conv20k5 pool2 fc128 fc10"
    assert stats.latency_s(whole) == pytest.approx(0.98e-3)
    assert (whole.target.device, whole.target.backend) == ("Jetson TX1", "caffe cudnn")
    assert alone.workload.model.name == "my own net"


def test_what_a_table_does_not_tell_is_unknown() -> None:
    """No shape, no FLOPs, no bytes, no precision, no threads: none of it is made up."""
    alone = table.measurements(columns.read(TABLE).rows)[1]
    assert alone.ops is not None
    (norm,) = alone.ops.ops
    assert (norm.inputs, norm.outputs, norm.flops, norm.bytes_in) == ((), (), None, None)
    assert (alone.workload.precision, alone.target.threads) == ("unknown", 0)
    assert (alone.target.host, alone.clock, alone.workload.data) == ("unknown",) * 3
    assert alone.processes == ()


def test_a_sum_of_ops_is_labelled() -> None:
    """Where no row times the whole network, Σops stands in, and is never taken for a clean time."""
    whole, alone = table.measurements(columns.read(TABLE).rows)
    assert checks.is_clean(whole)
    assert checks.ops_over_clean(whole) == pytest.approx(0.91 / 0.98)
    assert not checks.is_clean(alone)
    assert checks.ops_over_clean(alone) is None
    assert stats.latency_s(alone) == pytest.approx(62.97e-3)


def test_least_and_largest_of_the_repetitions_are_kept() -> None:
    """Least and most of ops are passes of their own; those of a network are facts."""
    whole, alone = table.measurements(columns.read(TABLE).rows)
    assert [one.method for one in whole.op_passes] == ["smallest", "largest"]
    assert [one.ops[0].seconds for one in whole.op_passes] == [0.40e-3, 0.44e-3]
    assert whole.facts == pytest.approx({"repetitions": 3, "min_s": 0.97e-3, "max_s": 1.02e-3})
    assert alone.op_passes == ()


def test_repetitions_as_rows() -> None:
    """Rows of one op that number their repetitions become one median, with least and largest."""
    rows = [f"n,4,Relu,0,{number},{ms}" for number, ms in enumerate((3, 1, 2))]
    rows += [f"n,4,network,,,{ms}" for ms in (5, 6, 7)]
    (one,) = measured("\n".join(["network,batch,op,index,repetition,time_ms", *rows]))
    assert one.ops is not None
    assert (one.ops.ops[0].seconds, one.ops.ops[0].runs) == (2e-3, 3)
    assert [p.ops[0].seconds for p in one.op_passes] == [1e-3, 3e-3]
    assert one.samples_s == ((5e-3, 6e-3, 7e-3),)


def test_two_rows_for_one_op_are_refused() -> None:
    """Equal indices without numbered repetitions are a mistake, told with both rows."""
    with pytest.raises(BadFile, match="Rows 2 and 3 time the same op"):
        measured("network,batch,op,index,time_us\nn,1,Relu,0,1\nn,1,Relu,0,2")


def test_cells_of_other_precision_are_other_cells() -> None:
    """fp32 and fp16 of one network are two measurements."""
    found = measured("network,batch,precision,time_s\nn,1,fp32,1\nn,1,fp16,2\nn,1,fp32,3")
    assert [m.workload.precision for m in found] == ["fp32", "fp16"]
    assert [m.samples_s for m in found] == [((1.0, 3.0),), ((2.0,),)]


def test_shapes_can_be_given_outright() -> None:
    """input, weights and output as text win over numbers; bytes need the precision."""
    head = "network,batch,op,input,weights,output,time_ms,precision"
    (one,) = measured(f"{head}\nn,2,Conv,2x3x8x8,4x3x3x3;4,2x4x6x6,1,fp16")
    assert one.ops is not None
    (op,) = one.ops.ops
    assert op.inputs == ((2, 3, 8, 8), (4, 3, 3, 3), (4,))
    assert op.flops == counts.flops("Conv", op.inputs, op.outputs, {})
    assert (op.bytes_in, op.bytes_weights) == (2 * 2 * 3 * 64, 2 * (108 + 4))


def test_stride_and_padding_give_the_size_that_comes_out() -> None:
    """Without Hout, only stride and pad together tell it; one of them alone tells nothing."""
    head = "network,batch,op,Cin,H,Cout,k,stride,pad,time_ms"
    (one,) = measured(f"{head}\nn,1,Conv,3,227,96,11,4,0,1\nn,1,Conv,3,227,96,11,4,,1")
    assert one.ops is not None
    told, untold = one.ops.ops
    assert told.outputs == ((1, 96, 55, 55),)
    assert (untold.outputs, untold.flops) == ((), None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("n,1,Relu,-1", "row 3, column time_ms: '-1' is not a time of at least 0"),
        ("n,1,Relu,nan", "row 3, column time_ms: 'nan' is not a time"),
        ("n,1,Relu,1e999", "row 3, column time_ms"),
        ("n,1,Relu,", "row 3: no time"),
        ("n,0,Relu,1", "row 3, column batch: '0' is not a whole number of at least 1"),
        ("n,1.5,Relu,1", "row 3, column batch"),
        ("n,many,Relu,1", "row 3, column batch: 'many'"),
        (",1,Relu,1", "row 3: no network"),
        ("n,1,Relu", "row 3: 3 cells, but the header has 4"),
        ("n,1,network,0", "row 3: a whole network cannot take no time"),
        ('n,1,"Re"lu,1', "row 3: "),
    ],
)
def test_a_malformed_row_is_one_sentence_with_its_number(row: str, said: str) -> None:
    """The row, the column, what stands there and what should."""
    with pytest.raises(BadFile, match=said) as caught:
        columns.parse(f"network,batch,op,time_ms\nn,1,Conv,1\n{row}", "t.csv")
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("column", "known"), [("precision", "fp32, fp16, int8"), ("kind", "conv, gemm")]
)
def test_a_word_of_no_list_is_one_sentence(column: str, known: str) -> None:
    """A precision or a kind that a Run cannot hold is refused with those that there are."""
    text = f"network,batch,op,time_ms,{column}\nn,1,Conv,1,banana"
    with pytest.raises(BadFile, match=f"column {column}: 'banana' is not one of {known}"):
        columns.parse(text, "t.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column for network"),
        ("network,batch,time_ms", "no rows"),
        ("network,batch\nn,1", "no column for a time: time_s or time_ms or time_us"),
        ("network,batch,time_s,time_ms\nn,1,1,1", "gives a time twice: time_s and time_ms"),
        ("network,batch,time_s,batch\nn,1,1,1", "has the column 'batch' twice"),
    ],
)
def test_a_bad_header_is_one_sentence(text: str, said: str) -> None:
    """What is missing or twice, and where the columns are listed."""
    with pytest.raises(BadFile, match=said):
        columns.parse(text, "t.csv")


def test_columns_without_a_meaning_are_named() -> None:
    """What nnprof does not read is told, so that a slip in a name is seen."""
    assert columns.read(TABLE).ignored == ("lab",)


def test_an_op_without_a_type_is_no_network() -> None:
    """An empty op is an op of unknown type; only the word says that a row is a whole network."""
    (one,) = measured("network,batch,op,time_ms\nn,1,Relu,1\nn,1,,2\nn,1,Network,4")
    assert one.ops is not None
    assert [(op.op, op.kind) for op in one.ops.ops] == [
        ("Relu", "elementwise"),
        ("unknown", "other"),
    ]
    assert one.samples_s == ((4e-3,),)


def test_columns_of_other_names() -> None:
    """A column is read by the name that the user gives it; one that is not there is refused."""
    text = "net,B,ms,Type\nn,4,2,ReLU\n"
    names = {"net": "network", "b": "batch", "ms": "time_ms", "TYPE": "op"}
    (row,) = columns.parse(text, "t.csv", names).rows
    assert (row.network, row.batch, row.seconds, row.op) == ("n", 4, 2e-3, "ReLU")
    with pytest.raises(
        UsageError, match=r"no column 'nets' to rename\. It has: net, b, ms, type\."
    ):
        columns.parse(text, "t.csv", {"nets": "network"})
    with pytest.raises(UsageError, match="'network,ms=time_ms' is none of our columns"):
        columns.parse(text, "t.csv", {"net": "network,ms=time_ms"})


def test_tables_of_spreadsheets(tmp_path: Path) -> None:
    """A byte-order mark, semicolons, capitals, whole numbers with .0, empty lines, gzip."""
    text = "﻿Network;Batch;TIME_MS\n\nn;4.0;1.5\n"
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    (row,) = columns.read(path).rows
    assert (row.network, row.batch, row.seconds, row.line) == ("n", 4, 1.5e-3, 3)


def test_a_table_of_two_devices_needs_a_choice() -> None:
    """A Run is of one device; the user's word picks its rows, and fills gaps."""
    read = columns.parse("network,batch,device,time_s\nn,1,a,1\nn,1,b,2\nm,1,,3", "t.csv")
    with pytest.raises(UsageError, match="times of 2 devices: a, b"):
        table.chosen(read.rows, Told())
    rows = table.chosen(read.rows, Told(device="b", threads=2))
    assert [(row.network, row.device, row.threads) for row in rows] == [
        ("n", "b", 2),
        ("m", "b", 2),
    ]
    with pytest.raises(UsageError, match=r"No row has the device 'c'. The table has: a, b."):
        table.chosen(read.rows[:2], Told(device="c"))


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda text: text == text.strip())  # fmt: skip


@given(
    st.lists(
        st.tuples(TEXT, st.integers(1, 4096), st.floats(1e-6, 1e3), st.sampled_from(["s", "ms"])),
        min_size=1,
        max_size=10,
    )
)
def test_what_is_written_is_read_back(cells: list[tuple[str, int, float, str]]) -> None:
    """Any names, quoted as CSV quotes them, and any times in either unit."""
    unit = cells[0][3]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["network", "batch", f"time_{unit}"])
    writer.writerows([(name, batch, seconds) for name, batch, seconds, _ in cells])
    rows = columns.parse(out.getvalue(), "t.csv").rows
    factor = {"s": 1.0, "ms": 1e-3}[unit]
    assert [(row.network, row.batch) for row in rows] == [(name, b) for name, b, _, _ in cells]
    assert [row.seconds for row in rows] == pytest.approx([s * factor for _, _, s, _ in cells])


@given(st.text(max_size=300))
def test_any_text_gives_a_table_or_a_sentence(text: str) -> None:
    """No text makes the reader fail in another way than by BadFile."""
    with suppress(BadFile):
        assert columns.parse(text, "t.csv").rows


@example("Conv", {"Cin": 1, "W": 1, "k": 5, "Cout": 1, "Hout": 1, "stride": 1, "pad": 1})
@given(
    st.sampled_from(["Conv", "Gemm", "MaxPool", "Relu", "Softmax", "Pooling", "Frobnicate"]),
    st.dictionaries(
        st.sampled_from(["Cin", "H", "W", "Cout", "Hout", "k", "stride", "pad", "groups"]),
        st.integers(1, 64),
    ),
)
def test_any_numbers_of_an_op_are_taken(op: str, numbers: dict[str, int]) -> None:
    """However few numbers a row has, the op is kept; flops are never below 0 or invented."""
    head = ",".join(["network", "batch", "op", "time_ms", *numbers])
    (one,) = measured("\n".join([head, ",".join(["n", "8", op, "1", *map(str, numbers.values())])]))
    assert one.ops is not None
    (timed,) = one.ops.ops
    assert timed.seconds == 1e-3
    assert (timed.flops is None) or (timed.flops >= 0 and timed.outputs)
