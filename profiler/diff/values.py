"""What a diff says: nodes, rows, cells. Frozen; seconds; a difference is b less a."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nnprof.types import OpTime, Precision

Fate: TypeAlias = Literal["ran", "within", "folded", "absent", "unknown"]
RowKind: TypeAlias = Literal["nodes", "conversion", "moved", "unnamed", "call", "folded"]
RowVerdict: TypeAlias = Literal["FASTER", "SLOWER", ""]
IntervalFrom: TypeAlias = Literal["pairs", "processes", ""]


class DiffNode(msgspec.Struct, frozen=True, kw_only=True):
    """An ONNX node of either model; each stands in one row of a cell.

    Attributes:
        name: of the node; of one without a name its first output's.
        op: its ONNX type, empty where neither model's file is at hand.
        converts: it only quantises, dequantises or casts; by its type, else by its name.
        a, b: what became of it: "ran" (an op of this row names it), "within" (an op of another row
            names it: a conversion inside a fused op), "folded" (it is in the model, and no op names
            it: a constant, or inside an op that does not tell), "absent" (not in that model), or
            "unknown" (no op names it, and the model's file is not at hand).
    """

    name: str
    op: str
    converts: bool
    a: Fate
    b: Fate


class DiffRow(msgspec.Struct, frozen=True, kw_only=True):
    """Ops of both sides that belong together, and how much longer b takes.

    Attributes:
        place: in the order of execution, from 0.
        kind: "nodes": ONNX nodes; "conversion": nodes that only quantise, dequantise or cast;
            "moved": reorders and copies that stem from no ONNX node; "unnamed": ops that do not
            tell theirs; "call": what an inference costs with nothing to do; "folded": nodes that
            no op of either side names.
        nodes: ONNX nodes, in the order of the model. Empty for "moved", "unnamed" and "call".
        after, before: for rows without nodes: the nodes between which they run, "" at an end.
        a, b: ops, in order of execution.
        a_s, b_s: seconds per inference; 0 where nothing ran, None where that is not known.
        delta_s: b_s less a_s, None where one of them is.
        low_s, high_s: 95 % interval of delta_s, None where an op has none.
        share: of the end-to-end difference; None where there is none.
        verdict: SLOWER or FASTER where the interval excludes 0, else "".
        reasons: what differs between the ops, the most telling first.
    """

    place: int
    kind: RowKind
    nodes: tuple[DiffNode, ...] = ()
    after: str = ""
    before: str = ""
    a: tuple[OpTime, ...] = ()
    b: tuple[OpTime, ...] = ()
    a_s: float | None = None
    b_s: float | None = None
    delta_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    share: float | None = None
    verdict: RowVerdict = ""
    reasons: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the row is called: its nodes without conversions; without nodes, its ops."""
        if self.nodes:
            telling = [one for one in self.nodes if not one.converts] or self.nodes
            return tuple(one.name for one in telling)
        ops = self.a or self.b
        return tuple(dict.fromkeys(one.op if one.op != "unknown" else one.node for one in ops))

    @property
    def label(self) -> str:
        """Its names, in a line."""
        return " ".join(self.names)


class DiffSide(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a cell.

    Attributes:
        network: its name.
        backend, precision: of the cell.
        device: and what of it computes, such as "jetson cpu".
        latency_s, low_s, high_s: end to end, the clean median, and its 95 % interval.
        ops_s: sum of all its ops.
        residual_s: latency_s less the ops in rows that have a difference.
        method: of its op times.
        file: "" where its ONNX file was read; else why it was not.
    """

    network: str
    backend: str
    device: str
    precision: Precision
    latency_s: float
    low_s: float | None
    high_s: float | None
    ops_s: float
    residual_s: float
    method: str
    file: str = ""


class CellDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One network at one batch.

    Attributes:
        network, batch: which.
        a, b: its sides.
        rows: by the size of the difference, those without one last.
        delta_s: b end to end less a.
        low_s, high_s: 95 % interval of it, None where a side has a single process.
        interval_from: "pairs" (processes alternated), "processes", or "" without interval.
        rows_s: sum of the rows' differences.
        left_over_s: delta_s less rows_s: the residual of b less that of a.
        left_over_reasons: what it is made of: how the ops of each side add up, and a call whose
            cost one side alone knows.
        unlike: conditions that differ: name, a's, b's.
        notes: what else one must know, as sentences.
    """

    network: str
    batch: int
    a: DiffSide
    b: DiffSide
    rows: tuple[DiffRow, ...]
    delta_s: float
    low_s: float | None
    high_s: float | None
    interval_from: IntervalFrom
    rows_s: float
    left_over_s: float
    left_over_reasons: tuple[str, ...] = ()
    unlike: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[DiffNode, ...]:
        """Every ONNX node of both models, row by row; each is in one row."""
        return tuple(node for row in self.rows for node in row.nodes)


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """All cells that two Runs have in common, by network, then batch; `notes` are of the Runs."""

    cells: tuple[CellDiff, ...]
    notes: tuple[str, ...] = ()


CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"})
