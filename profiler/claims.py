"""Whether the claims of a study hold by a user's trainings: held, not held or undecided. Pure.

A difference of means counts where its 95 % interval leaves out 0. The interval is Student's, with
one standard deviation pooled over all cells of the claim: few seeds of each say little of their own
spread, together they say more. With one seed everywhere there is no spread, and an order stays
undecided, as does a claim whose cells were not all trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from statistics import fmean, variance
from typing import Literal, NamedTuple

import numpy as np

from nnprof.networks.studies.claims import Above, Between, Claim, Linear, Wider, Within
from nnprof.profiler.stats import t_975
from nnprof.profiler.trained import values
from nnprof.types import TrainingRecord

Found = Literal["held", "not held", "undecided"]
_BY_CHANCE = "one seed each: no spread"


class Verdict(NamedTuple):
    """A claim, what the trainings say of it, and why: the numbers with their spread."""

    says: str
    found: Found
    why: str


class _Pooled(NamedTuple):
    """Means of the cells, and the half width of the interval of each, by one deviation."""

    means: Mapping[str, float]
    counts: Mapping[str, int]
    deviation: float
    freedom: int

    def half(self, *names: str) -> float:
        """Half of the interval of one mean, or of the difference of two; inf without a spread."""
        if not self.freedom:
            return math.inf
        scale = math.sqrt(sum(1 / self.counts[name] for name in names))
        return float(t_975(self.freedom)) * self.deviation * scale


def verdicts(
    claims: Iterable[Claim],
    trained: Mapping[str, Sequence[TrainingRecord]],
    varied: Mapping[str, Mapping[str, str]],
) -> tuple[Verdict, ...]:
    """What the trainings say of each claim.

    Args:
        claims: of the study.
        trained: by name of the cell; those of one device.
        varied: by name of the cell, what the study varies.
    """
    return tuple(_judged(claim, trained, varied) for claim in claims)


def _judged(
    claim: Claim,
    trained: Mapping[str, Sequence[TrainingRecord]],
    varied: Mapping[str, Mapping[str, str]],
) -> Verdict:
    told = {name: values(trained.get(name, ()), claim.of) for name in sorted(claim.about())}
    missing = [name for name, found in told.items() if not found]
    if missing:
        lacks = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        return Verdict(claim.says, "undecided", f"no {claim.of} of {lacks}")
    ratios = isinstance(claim, Above) and claim.of.endswith("loss") and _positive(told)
    pooled = _pooled(_logarithms(told) if ratios else told)
    match claim:
        case Above():
            found, why = _above(claim, pooled, ratios=ratios)
        case Within():
            found, why = _within(claim, pooled)
        case Between():
            found, why = _between(claim, pooled)
        case Wider():
            found, why = _wider(claim, pooled)
        case Linear():
            found, why = _linear(claim, pooled, varied)
    return Verdict(claim.says, found, why)


def _pooled(told: Mapping[str, Sequence[float]]) -> _Pooled:
    freedom = sum(len(found) - 1 for found in told.values())
    squares = sum(variance(found) * (len(found) - 1) for found in told.values() if len(found) > 1)
    return _Pooled(
        means={name: fmean(found) for name, found in told.items()},
        counts={name: len(found) for name, found in told.items()},
        deviation=math.sqrt(squares / freedom) if freedom else math.nan,
        freedom=freedom,
    )


def _positive(told: Mapping[str, Sequence[float]]) -> bool:
    return all(value > 0 for found in told.values() for value in found)


def _logarithms(told: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [math.log(value) for value in found] for name, found in told.items()}


def _above(claim: Above, pooled: _Pooled, *, ratios: bool) -> tuple[Found, str]:
    """The pair that speaks most against the order decides."""
    pairs = [
        (pooled.means[high] - pooled.means[low], pooled.half(high, low), high, low)
        for high, low in product(claim.above, claim.below)
    ]
    difference, half, high, low = min(pairs, key=lambda pair: pair[0])
    if ratios:
        why = f"least: {high} / {low} = {_number(math.exp(difference))} {_times(half)}"
    else:
        why = f"least: {high} − {low} = {_number(difference)} {_half(half)}"
    if any(other + reach < 0 for other, reach, _, _ in pairs):
        return "not held", why
    return ("held" if all(other - reach > 0 for other, reach, _, _ in pairs) else "undecided"), why


def _within(claim: Within, pooled: _Pooled) -> tuple[Found, str]:
    lowest = min(claim.cells, key=lambda name: pooled.means[name])
    highest = max(claim.cells, key=lambda name: pooled.means[name])
    apart = pooled.means[highest] - pooled.means[lowest]
    half = pooled.half(highest, lowest)
    why = f"{highest} − {lowest} = {_number(apart)} {_half(half)}; at most {claim.most:g}"
    if apart - half > claim.most:
        return "not held", why
    return ("held" if apart + half <= claim.most else "undecided"), why


def _between(claim: Between, pooled: _Pooled) -> tuple[Found, str]:
    """With one seed the value itself decides: such a range is wide enough for another seed."""
    halves = {name: pooled.half(name) if pooled.freedom else 0.0 for name in claim.cells}
    told = ", ".join(
        f"{name} {_number(pooled.means[name])}" + (f" {_half(half)}" if half else "")
        for name, half in list(halves.items())[:4]
    )
    why = f"{told}; {claim.low:g} to {claim.high:g}" + ("" if pooled.freedom else "; one seed")
    ends = [(pooled.means[name] - half, pooled.means[name] + half) for name, half in halves.items()]
    if any(high < claim.low or low > claim.high for low, high in ends):
        return "not held", why
    inside = all(claim.low <= low and high <= claim.high for low, high in ends)
    return ("held" if inside else "undecided"), why


def _wider(claim: Wider, pooled: _Pooled) -> tuple[Found, str]:
    wide, narrow = _range(claim.wide, pooled), _range(claim.narrow, pooled)
    half = math.hypot(pooled.half(*claim.wide[:2]), pooled.half(*claim.narrow[:2]))
    why = f"ranges {_number(wide)} and {_number(narrow)}, difference {_half(half)}"
    if wide - narrow + half < 0:
        return "not held", why
    return ("held" if wide - narrow - half > 0 else "undecided"), why


def _range(names: Sequence[str], pooled: _Pooled) -> float:
    means = [pooled.means[name] for name in names]
    return max(means) - min(means)


def _linear(
    claim: Linear, pooled: _Pooled, varied: Mapping[str, Mapping[str, str]]
) -> tuple[Found, str]:
    x = np.array([float(varied[name][claim.varied]) for name in claim.cells])
    y = np.array([pooled.means[name] for name in claim.cells])
    square = float(np.corrcoef(x, y)[0, 1] ** 2) if np.ptp(y) else math.nan
    why = f"R² {square:.3f} over {len(x)} values of {claim.varied}; at least {claim.least:g}"
    return ("held" if square >= claim.least else "not held"), why


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e-2 else f"{value:.4g}"


def _times(half: float) -> str:
    """The interval of a ratio, whose logarithm has this half width."""
    return f"×/÷ {math.exp(min(half, 700)):.2g}" if math.isfinite(half) else f"({_BY_CHANCE})"


def _half(half: float) -> str:
    return f"± {half:.2g}" if math.isfinite(half) else f"({_BY_CHANCE})"
