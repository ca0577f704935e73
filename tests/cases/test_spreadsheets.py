"""Tables in every dialect that spreadsheets save, and what cannot be read for certain."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ort_profiles import imported

from nnprof.errors import BadFile, NnprofError
from nnprof.profiler.importers import columns, sheets, sources, table

COMMA = "network;batch;op;time_ms\r\nnetA;1;Conv;0,512\r\nnetA;1;Relu;0,033\r\n"
POINT = COMMA.replace(",", ".")
DIALECTS = {
    "comma": COMMA,
    "point": POINT,
    "sep": f"sep=;\r\n{POINT}",
    "sep with a decimal comma": f"sep=;\r\n{COMMA}",
    "sep in quotes": f'"sep=;"\r\n{COMMA}',
    "sep of tabs": f"sep=\t\r\n{POINT}".replace(";", "\t").replace("sep=\r", "sep=\t\r"),
    "sep of tabs in letters": "sep=\\t\r\n" + POINT.replace(";", "\t"),
    "sep saved again": f"sep=;;;\r\n{COMMA}",
    "sep saved again in quotes": '"sep=,",,,\r\n' + POINT.replace(";", ","),
    "tabs": COMMA.replace(";", "\t"),
    "bars": POINT.replace(";", "|"),
    "commas": POINT.replace(";", ","),
    "commas and quotes": 'network,batch,op,time_ms\nnetA,1,Conv,"0,512"\nnetA,1,Relu,"0,033"\n',
    "lines of old Macs": COMMA.replace("\r\n", "\r"),
    "quoted header": COMMA.replace("network;batch;op;time_ms", '"Network";"Batch";"Op";"Time_ms"'),
    "empty lines before": f"\r\n;;;\r\n{COMMA}",
    "empty columns behind": COMMA.replace("\r\n", ";;\r\n"),
    "empty columns of the rows": COMMA.replace("512\r\n", "512;;\r\n"),
    "empty rows behind": f"{COMMA};;;\r\n;;;\r\n",
    "hard spaces": COMMA.replace(";1;", ";\u00a01\u00a0;").replace("time_ms", "time_ms\u00a0"),
    "whole numbers with a comma": COMMA.replace(";1;", ";1,0;"),
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


def check(path: Path) -> None:
    """It is the network of 0.545 ms."""
    (cell,) = imported(path)
    assert cell.ops is not None
    assert [(op.op, round(op.seconds * 1e6)) for op in cell.ops.ops] == [
        ("Conv", 512),
        ("Relu", 33),
    ]
    assert cell.samples_s[0][0] == pytest.approx(0.545e-3)
    assert (cell.workload.model.name, cell.workload.batch) == ("netA", 1)


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_is_read(text: str, tmp_path: Path) -> None:
    """0.512 ms and 0.033 ms, whatever separates, ends lines and marks decimals."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    check(path)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    """With a mark and without; packed, too; names keep their letters."""
    path = tmp_path / "t.csv"
    path.write_bytes(COMMA.encode(encoding))
    check(path)
    path.write_bytes(gzip.compress(COMMA.encode(encoding)))
    check(path)
    named = COMMA.replace("netA", "Größe é").encode(encoding)
    assert columns.parse(sources.text_of(named, "t"), "t").rows[0].network == "Größe é"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network;batch;time_ms\nn;1;1.234,5", "'1.234,5' has separators of thousands"),
        ("network;batch;time_ms\nn;1;0,5\nn;2;0.5", "'0,5' with a comma and '0.5' with a point"),
        ("network;batch;time_us;flops\nn;1;0,5;1.234", "with a comma and '1.234' with a point"),
        ("network;batch;time_us\nn;1;1,234,567", "'1,234,567' has separators of thousands"),
        ("network\tbatch\ttime_us\nn\t1\t1,234", "'1,234' may be a thousand or about one"),
        ('network,batch,time_us\nn,1,"1,234"\nn,2,"2,000"', "'1,234' may be a thousand"),
        ("network;batch;time_ms\nn;1;0,5 ms", "'0,5 ms' is not a time"),
        ("network;batch;time_ms\nn;1;05. Dez", "'05. Dez' is not a time"),
        ("network;batch;time_ms\nn;1;#DIV/0!", "is not a time"),
        ("network;batch;time_ms\nn;1;٣", "is not a time"),
        ("network;batch;time_ms\nn;1;1_0", "is not a time"),
        ("network;batch;time_ms\nn;1;1e300", "is not a time"),
        ("network;batch;time_ms\nn;1e40;1", "is not a whole number"),
        ("network;batch;time_ms\nn;1;1;x", "row 2: 4 cells, but the header has 3"),
        ('network;batch;time_ms\nn;1;"1', "unexpected end of data"),
        ("network;batch;op;input;output;time_ms\nn;1;Conv;4x-3;4x3;1", "is not shapes"),
    ],
)
def test_what_is_not_certain_is_asked(text: str, said: str, tmp_path: Path) -> None:
    """No number is read in one of two ways; one sentence has the cell and the remedy."""
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        imported(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["1 234,5", "1\u202f234,5", "1'234,5", "1\u00a0234,5", "1234,5"])
def test_spaces_and_apostrophes_part_thousands(text: str) -> None:
    """They can mean nothing else."""
    assert sheets.number(text, decimal_comma=True) == 1234.5


def test_a_name_with_a_comma_is_no_number() -> None:
    """Only columns of numbers tell what a comma is."""
    (row,) = columns.parse("network;batch;time_ms\nmattsson(conv=1, fc=2);1;0.5", "t").rows
    assert (row.network, row.seconds) == ("mattsson(conv=1, fc=2)", 0.5e-3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04 rest of a workbook", "Save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1 old workbook", "Save the sheet as CSV"),
        (b"<html><table>", "web page"),
        (gzip.compress(COMMA.encode())[:-9], "cannot be unpacked"),
        (gzip.compress(COMMA.encode() * 50)[:60] + b"\0" * 50, "cannot be unpacked"),
        (gzip.compress(b"PK\x03\x04"), "Save the sheet as CSV"),
        (bytes(range(256)) * 4, "is no text"),
        (b"", "is empty"),
        (b" \r\n\t", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\xff\xfe", "is empty"),
    ],
)
def test_what_is_no_table_says_so(data: bytes, said: str, tmp_path: Path) -> None:
    """Workbooks, pages, junk, and packed files that are damaged."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(BadFile) as caught:
        imported(path)
    assert said in str(caught.value)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, too large when unpacked, too many rows: refused, with the limit."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"n;1;1\n" * 400_000))
    monkeypatch.setattr(sources, "MOST_BYTES", 1 << 20)
    with pytest.raises(BadFile, match="larger than 1 MiB when unpacked"):
        imported(path)
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(BadFile, match="larger than 1 MiB"):
        imported(path)
    monkeypatch.setattr(sheets, "MOST_ROWS", 2)
    path.write_text(f"{COMMA}netA;1;Relu;0,1\n")
    with pytest.raises(BadFile, match="more than 2 rows"):
        imported(path)


@given(st.binary(max_size=120), st.integers(0, 400), st.booleans())
def test_no_damage_makes_a_table_fail_otherwise(junk: bytes, at: int, packed: bool) -> None:
    """Whatever stands in the middle of a table, it is read or refused with a sentence."""
    data = COMMA.encode("utf-16")
    at = min(at, len(data))
    data = data[:at] + junk + data[at + len(junk) // 2 :]
    whole = gzip.compress(data) if packed else data
    with suppress(NnprofError):
        assert table.measurements(columns.parse(sources.text_of(whole, "t.csv"), "t.csv").rows)
