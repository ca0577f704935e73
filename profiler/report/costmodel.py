"""A cost model and its predictions as words, rates and records. Pure.

Seconds become milliseconds here; rates become GFLOP/s, GB/s, µs and ns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnprof.profiler.costmodel import features
from nnprof.profiler.costmodel.model import NETWORK, CostModel, Peaks, Term

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.profiler.deadlines import Claim

_ASSUMED = "assumed"  # a term that no measured op has any of
# What a call is, which is no feature of an op.
_NETWORK_WORDS = {"call": "one call", "launch": "one per op", "tiles": "image tiles"}


def heading(made: CostModel) -> str:
    """The model in one line."""
    target = made.target
    threads = f"{target.threads} thread{'s' if target.threads > 1 else ''}"
    known = [threads] if target.threads else []
    words = [target.backend, target.where, *known, made.precision]
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


def term_unit(term: Term) -> str:
    """The unit of `rate`."""
    feature = features.FEATURES.get(term.feature)
    unit = feature.unit if feature and term.group != NETWORK else term.feature
    return {"flop": "GFLOP/s", "byte": "GB/s", "launch": "µs", "call": "µs"}.get(unit, f"ns/{unit}")


def term_range(term: Term) -> str:
    """The 95 % interval of `rate`, or that the rate is assumed."""
    if term.low is None or term.high is None:
        return "" if term.identified else _ASSUMED
    ends = (rate(term, term.low), rate(term, term.high))
    return "…".join(ends if term_unit(term) not in ("GFLOP/s", "GB/s") else reversed(ends))


def term_words(term: Term) -> str:
    """What the term pays for."""
    if term.label:
        return term.label
    if term.group == NETWORK:
        return _NETWORK_WORDS.get(term.feature, term.feature)
    return features.FEATURES[term.feature].words


def check_lines(made: CostModel) -> list[str]:
    """Whole networks, noise, domain, peaks, and what the marks in the tables mean."""
    lines = _network_lines(made)
    if made.calibration:
        of = made.calibration
        lines.append(
            f"Calibrated from {of.prior.name} with {of.points} op times; they took {of.scale:.3g} "
            "times what it predicts."
        )
    if made.batches:
        low, high = made.batches
        lines.append(f"Seen: batch {low}{f' to {high}' if high > low else ''}.")
    return [*lines, _peaks_line(made.peaks), *_mark_lines(made)]


def _network_lines(made: CostModel) -> list[str]:
    """The errors of whole networks, or why none is known."""
    lines, whole = [], made.network
    if whole.error is not None:
        parts = [f"error {whole.error:.1%}"]
        parts += [f"half of them below {whole.median:.1%}"] if whole.median is not None else []
        parts += [f"noise of repeats {whole.noise:.1%}"] if whole.noise is not None else []
        parts += [f"plain sum of ops {whole.bias:+.1%}"] if whole.bias is not None else []
        lines.append(f"Whole networks ({whole.networks}, {whole.how}): {', '.join(parts)}.")
    elif whole.how:
        lines.append(
            "Whole networks: not checked, too few different ones with a clean time and op times."
        )
    if whole.factor:
        lines.append(f"90 % of networks within ÷× {whole.factor:.2f}.")
    return lines


def _peaks_line(peaks: Peaks) -> str:
    """What the audit held the rates against; without peaks, how to give them."""
    if not (peaks.flops_per_s or peaks.bytes_per_s):
        return (
            "No peaks known, so no audit: nnprof devices --measure, or --peak-gflops and "
            "--peak-gbytes."
        )
    parts = [f"{peaks.flops_per_s / 1e9:.4g} GFLOP/s"] if peaks.flops_per_s else []
    parts += [f"{peaks.bytes_per_s / 1e9:.3g} GB/s"] if peaks.bytes_per_s else []
    return f"Peaks for the audit: {', '.join(parts)} ({peaks.source})."


def _mark_lines(made: CostModel) -> list[str]:
    """The meaning of each mark and column that the tables of this model have."""
    lines = []
    if any(group.pooled for group in made.groups):
        lines.append("* too few rows of its own: pulled towards its kind or the device.")
    if any(term_range(term) == _ASSUMED for term in made.terms):
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
    flagged = [
        f"{term.group}, {term_words(term)}: {term.flag}." for term in made.terms if term.flag
    ]
    return [*flagged, *made.notes]


def error_line(known_error: float | None, doubt: str) -> str:
    """How far off a model is known to be, for those who read its predictions."""
    if doubt:
        return doubt
    if known_error is None:
        return "How far off the model is for whole networks is not known: none was held against it."
    return f"Known error: whole networks that it was not fitted on, {known_error:.1%} on average."


def doubts(made: CostModel, found: Sequence[Prediction], source: str) -> list[str]:
    """What a reader of predictions must know."""
    lines = [error_line(made.network.error, made.doubt)]
    lines += _by_network(found, lambda one: one.extrapolates, "extrapolates: ")
    lines += _by_network(
        found,
        lambda one: (", ".join(one.unknown),) if one.unknown else (),
        "the sum of the known ops only; unknown: ",
    )
    if any(one.low_s is None and not one.unknown for one in found):
        lines.append("No interval: the model was not held against enough measurements.")
    flagged = [f"{term.group}, {term_words(term)}: {term.flag}" for term in made.terms if term.flag]
    if flagged:
        lines.append(f"Faster than the device can be: {'; '.join(flagged)}.")
    lines += dict.fromkeys(one.elsewhere for one in found if one.elsewhere)
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


def frame_record(one: Prediction) -> dict[str, float | None]:
    """Of an image that is cut into tiles; nothing where none was asked about."""
    frame = one.frame
    if frame is None:
        return {}
    low, high = frame.rates
    return {
        "tiles_per_frame": one.tiles_per_frame,
        "ms_per_frame": frame.seconds * 1e3,
        "frames_per_s": frame.per_s,
        "low_frames_per_s": low,
        "high_frames_per_s": high,
    }


def _energy(one: Prediction) -> dict[str, Any]:
    """Of a tile, beyond idling; nothing of a batch at which none was measured."""
    told = one.joules
    ends = (told.per_tile, told.low, told.high) if told else (None, None, None)
    names = ("mj_per_tile", "low_mj_per_tile", "high_mj_per_tile")
    known = (None if value is None else value * 1e3 for value in ends)
    return {**dict(zip(names, known, strict=True)), "rail": told.rail if told else None}


def judged(made: Claim, budget_s: float) -> dict[str, Any]:
    """A budget, and what was claimed about it."""
    return {"budget_ms": budget_s * 1e3, "verdict": made.word, "reason": made.reason or None}


def records(found: Sequence[Prediction], budget_s: float | None = None) -> list[dict[str, Any]]:
    """The predictions as plain values, for JSON; with a budget what they say of it."""
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
            "known_error": one.known_error,
            "doubt": one.doubt,
            "elsewhere": one.elsewhere,
            **_energy(one),
            **frame_record(one),
            **({} if budget_s is None else judged(one.claim(budget_s), budget_s)),
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
