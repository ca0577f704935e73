"""A model and its predictions as tables for people: seconds become micro- and milliseconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.model import NETWORK, CostModel, Term

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.predict import Prediction
    from nnprof.terminal import Table

_ASSUMED = "assumed"  # a term that no measured op has any of
# What a call is, which is no feature of an op.
_NETWORK_WORDS = {"call": "one call", "launch": "one per op", "tiles": "image tiles"}


def heading(made: CostModel) -> str:
    """The model in one line."""
    target = made.target
    threads = f"{target.threads} thread{'s' if target.threads > 1 else ''}"
    known = [threads] if target.threads else []
    words = [target.backend, target.device, *known, made.precision]
    return f"{made.name}: {', '.join(words)}"


def rate(term: Term, value: float | None) -> str:
    """A coefficient in units that people know: µs, GFLOP/s, GB/s, ns."""
    if value is None:
        return ""
    feature = features.FEATURES.get(term.feature)
    unit = feature.unit if feature and term.group != NETWORK else term.feature
    if unit in ("flop", "byte"):
        return _three(1e-9 / value) if value > 0 else "∞"
    return _three(value * (1e6 if unit in ("launch", "call") else 1e9))


def _three(value: float) -> str:
    """Three digits, without exponents for what is large."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"


def _unit(term: Term) -> str:
    feature = features.FEATURES.get(term.feature)
    unit = feature.unit if feature and term.group != NETWORK else term.feature
    return {"flop": "GFLOP/s", "byte": "GB/s", "launch": "µs", "call": "µs"}.get(unit, f"ns/{unit}")


def _range(term: Term) -> str:
    if term.low is None or term.high is None:
        return "" if term.identified else _ASSUMED
    ends = (rate(term, term.low), rate(term, term.high))
    return "…".join(ends if _unit(term) not in ("GFLOP/s", "GB/s") else reversed(ends))


def _words(term: Term) -> str:
    if term.label:
        return term.label
    if term.group == NETWORK:
        return _NETWORK_WORDS.get(term.feature, term.feature)
    return features.FEATURES[term.feature].words


def _table(*columns: str) -> Table:
    from nnprof.terminal import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        words = index == 0 or column in ("pays for", "unit")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table


def terms(made: CostModel) -> Table:
    """The equations, term by term; what the data do not tell is no number."""
    table = _table("op", "pays for", "rate", "unit", "95 %", "share")
    before = ""
    for term in made.terms:
        known = term.identified or term.low is None
        mark = " !" if term.flag else ""
        table.add_row(
            term.group if term.group != before else "",
            _words(term),
            rate(term, term.coefficient) + mark if known else "not identified",
            _unit(term) if known else "",
            _range(term) if known else "",
            f"{term.share:.1%}" if term.share is not None else "",
        )
        before = term.group
    return table


def groups(made: CostModel) -> Table:
    """How well each group of ops is known."""
    table = _table("op", "rows", "shapes", "error", "noise", "90 % within", "per doubling")
    for group in made.groups:
        if not group.rows:
            continue
        table.add_row(
            group.name + (" *" if group.pooled else ""),
            str(group.rows),
            str(group.shapes),
            _percent(group.error),
            _percent(group.noise),
            f"÷× {group.factor:.2f}" if group.factor else "",
            f"× {math.exp(group.growth):.2f}" if group.growth is not None else "",
        )
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def check_lines(made: CostModel) -> list[str]:
    """Whole networks, noise, domain, peaks."""
    lines = []
    whole = made.network
    if whole.error is not None:
        parts = [f"error {whole.error:.1%}"]
        parts += [f"noise of repeats {whole.noise:.1%}"] if whole.noise is not None else []
        parts += [f"plain sum of ops {whole.bias:+.1%}"] if whole.bias is not None else []
        lines.append(f"Whole networks ({whole.networks}, {whole.how}): {', '.join(parts)}.")
    elif whole.how:
        lines.append(
            "Whole networks: not checked, too few different ones with a clean time and op times."
        )
    if whole.factor:
        lines.append(f"90 % of networks within ÷× {whole.factor:.2f}.")
    if made.calibration:
        of = made.calibration
        lines.append(
            f"Calibrated from {of.prior.name} with {of.points} op times; they took {of.scale:.3g} "
            "times what it predicts."
        )
    if made.batches:
        low, high = made.batches
        lines.append(f"Seen: batch {low}{f' to {high}' if high > low else ''}.")
    peaks = made.peaks
    if peaks.flops_per_s or peaks.bytes_per_s:
        parts = [f"{peaks.flops_per_s / 1e9:.4g} GFLOP/s"] if peaks.flops_per_s else []
        parts += [f"{peaks.bytes_per_s / 1e9:.3g} GB/s"] if peaks.bytes_per_s else []
        lines.append(f"Peaks for the audit: {', '.join(parts)} ({peaks.source}).")
    else:
        lines.append(
            "No peaks known, so no audit: nnprof devices --measure, or --peak-gflops and "
            "--peak-gbytes."
        )
    if any(group.pooled for group in made.groups):
        lines.append("* too few rows of its own: pulled towards its kind or the device.")
    if any(_range(term) == _ASSUMED for term in made.terms):
        lines.append(
            f"{_ASSUMED}: no measured op has any; from the measured bandwidths, or as other ops."
        )
    if any(group.growth is not None for group in made.groups):
        lines.append(
            "per doubling: so much wider with each doubling beyond the most that was measured."
        )
    return lines


def warning_lines(made: CostModel) -> list[str]:
    """The audit, and what the model itself says."""
    flagged = [f"{term.group}, {_words(term)}: {term.flag}." for term in made.terms if term.flag]
    return [*flagged, *made.notes]


# --- predictions ----------------------------------------------------------------------------------


def digits(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def predictions(found: Sequence[Prediction]) -> Table:
    """One line per network and batch."""
    table = _table("network", "batch", "ms/tile", "90 %", "tiles/ms")
    for one in found:
        table.add_row(
            one.network,
            str(one.batch),
            digits(one.ms_per_tile) + (" partial" if one.unknown else ""),
            "" if one.low_s is None or one.high_s is None else
            f"{digits(one.low_s * 1e3 / one.batch)}…{digits(one.high_s * 1e3 / one.batch)}",
            digits(1 / one.ms_per_tile) if one.ms_per_tile else "",
        )  # fmt: skip
    return table


def breakdown(one: Prediction) -> tuple[Table, Table]:
    """Where the time goes: by term, by op."""
    by_term = _table("op", "pays for", "µs/tile", "share")
    total = one.seconds or 1.0
    for part in one.terms:
        if part.seconds:
            micro = f"{part.seconds / one.batch * 1e6:.4g}"
            by_term.add_row(part.name, part.words, micro, f"{part.seconds / total:.1%}")
    by_op = _table("op", "kind", "µs/tile", "share")
    for part in one.layers:
        known = part.seconds == part.seconds
        by_op.add_row(
            part.name,
            part.term,
            f"{part.seconds / one.batch * 1e6:.4g}" if known else "unknown",
            f"{part.seconds / total:.1%}" if known else "",
        )
    return by_term, by_op


def doubts(made: CostModel, found: Sequence[Prediction], source: str) -> list[str]:
    """What a reader of predictions must know."""
    lines = _by_network(found, lambda one: one.extrapolates, "extrapolates: ")
    lines += _by_network(
        found,
        lambda one: (", ".join(one.unknown),) if one.unknown else (),
        "the sum of the known ops only; unknown: ",
    )
    if any(one.low_s is None and not one.unknown for one in found):
        lines.append("No interval: the model was not held against enough measurements.")
    flagged = [f"{term.group}, {_words(term)}: {term.flag}" for term in made.terms if term.flag]
    if flagged:
        lines.append(f"Faster than the device can be: {'; '.join(flagged)}.")
    where = source.replace("rules", "the model's rules").replace("runtime", "the runtime")
    return [*lines, f"Ops from {where}."]


def _by_network(
    found: Sequence[Prediction], said: Callable[[Prediction], Sequence[str]], words: str
) -> list[str]:
    """What is said of predictions, a line for each network, with the batches of which it is."""
    lines = []
    for network in dict.fromkeys(one.network for one in found):
        batches: dict[str, list[str]] = {}
        for one in found:
            for sentence in said(one) if one.network == network else ():
                batches.setdefault(sentence, []).append(str(one.batch))
        parts = [f"{text} (batch {', '.join(which)})" for text, which in batches.items()]
        if parts:
            lines.append(f"{network}: {words}{'; '.join(parts)}.")
    return lines


def records(found: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The predictions as plain values, for JSON."""
    return [
        {
            "network": one.network,
            "batch": one.batch,
            "ms_per_tile": one.ms_per_tile,
            "tiles_per_ms": 1 / one.ms_per_tile if one.ms_per_tile else None,
            "low_ms_per_tile": None if one.low_s is None else one.low_s * 1e3 / one.batch,
            "high_ms_per_tile": None if one.high_s is None else one.high_s * 1e3 / one.batch,
            "extrapolates": bool(one.extrapolates),
            "extrapolation": list(one.extrapolates),
            "partial": bool(one.unknown),
            "unknown": list(one.unknown),
            "terms": [
                {"op": part.name, "term": part.term, "ms_per_tile": part.seconds * 1e3 / one.batch}
                for part in one.terms
            ],
            "layers": [
                {
                    "op": part.name,
                    "kind": part.term,
                    "ms_per_tile": part.seconds * 1e3 / one.batch
                    if part.seconds == part.seconds
                    else None,
                }
                for part in one.layers
            ],
        }
        for one in found
    ]
