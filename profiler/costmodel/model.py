"""`CostModel`: what a network costs on one device, as a list of terms, in a JSON of some kilobytes.

::

    seconds per inference = Σ network terms + Σ over ops Σ over terms of the op's group

A term is a coefficient times a feature (`features.FEATURES`), a physical amount such as FLOPs,
bytes or launches. So a coefficient is seconds per FLOP, per byte, per launch, and all are at
least 0. The form is that of equation 13 of Mattsson 2016; `gtx960-mattsson2016` is his model in it.
"""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from nnprof.documents import Document
from nnprof.errors import BadFile
from nnprof.files import AnyPath, write_atomically
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor
from nnprof.types import Target

if TYPE_CHECKING:
    from importlib.abc import Traversable

# The model file's history.
# 1  first published form.
SCHEMA = 1
NETWORK = "network"  # the group of terms that belong to no op
MOST_BYTES = 12_000  # of a model file: it is made to be read
# Digits on disk: three are more than any device repeats; what is multiplied and summed has five.
_DIGITS = {"coefficient": 5, "inverse": 5, "leverage": 5}
_OTHER_DIGITS = 4


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base: immutable, unknown fields refused, what is as usual not written."""


class Term(_Value, frozen=True, kw_only=True):
    """One coefficient.

    Attributes:
        group: group of ops that it belongs to (`work.group_of`), or "network".
        feature: name in `features.FEATURES`.
        coefficient: seconds per unit of the feature, at least 0.
        low, high: 95 % interval from a bootstrap over distinct ops; None where there is none.
        identified: whether the data tell this term from the others. If not, the sum of the group
            is still what was fitted, but this number means nothing by itself.
        largest: the most of the feature in an op of the training data; None where there is none.
        share: of the time of the training networks, or of the training ops where there are none.
        flag: what the speed-of-light audit says, "" when it passes.
        label: what a table calls it, where the feature's own words do not do.
    """

    group: str
    feature: str
    coefficient: float
    low: float | None = None
    high: float | None = None
    identified: bool = True
    largest: float | None = None
    share: float | None = None
    flag: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        """Refuse what no device has."""
        if not self.coefficient >= 0:
            raise ValueError(f"coefficient must be at least 0, not {self.coefficient}")


class Group(_Value, frozen=True, kw_only=True):
    """What is known of one group of ops.

    Attributes:
        name: such as "conv" or "maxpool".
        ops: types of op that it was fitted on, as the runtime names them.
        rows: measurements; `shapes`: distinct ones.
        domain: (smallest, largest) of each column (`work.COLUMNS`) that varied or matters.
        error: mean |predicted/measured - 1| when each shape is predicted without itself; ops
            count as in the fit.
        noise: relative spread of the measurements, median.
        factor: in 90 % of cases the measured time lies in predicted ÷ factor … × factor
            (conformal).
        growth: what the logarithm of the factor gains with each doubling beyond the most that was
            measured.
        leverage: largest in training of x'(X'X)⁻¹x, where x are the op's features over its
            predicted seconds; `inverse` is the upper triangle of R⁻¹ (X = QR), row by row.
        pooled: fitted together with its kind, having too few rows of its own.
    """

    name: str
    ops: tuple[str, ...]
    rows: int = 0
    shapes: int = 0
    domain: dict[str, tuple[float, float]] = {}
    error: float | None = None
    noise: float | None = None
    factor: float | None = None
    growth: float | None = None
    leverage: float | None = None
    inverse: tuple[float, ...] = ()
    pooled: bool = False


class StandIn(_Value, frozen=True, kw_only=True):
    """Terms for ops of a kind that was not measured (`standins`).

    Attributes:
        kind: "pool", "pool-plain", "computes" for convolutions and products, or "moves" for what
            does next to nothing with the values that it reads and writes.
        whose: what they are from: a group, or in words.
        terms: seconds per unit of each feature; those of the group `whose` where there are none.
    """

    kind: str
    whose: str
    terms: dict[str, float] = {}


class Peaks(_Value, frozen=True, kw_only=True):
    """The most that a device can do, for the audit. `source` says who says so."""

    flops_per_s: float | None = None
    bytes_per_s: float | None = None
    launch_s: float | None = None
    source: str = ""


class Source(_Value, frozen=True, kw_only=True):
    """A Run, or a publication, that the model came from."""

    name: str
    sha256: str = ""


class Whole(_Value, frozen=True, kw_only=True):
    """How well whole networks were predicted that were not fitted.

    Attributes:
        rows: networks × batches seen; `networks`: distinct.
        error: mean |predicted/measured - 1|; `bias`: median of predicted/measured - 1 of the plain
            sum of ops, before `floor and launches` were refitted.
        noise: relative spread of repeats, median.
        median: half of the networks were off by less.
        factor: conformal factor of a network's time, 90 %.
        how: how the networks were held out.
    """

    rows: int = 0
    networks: int = 0
    error: float | None = None
    median: float | None = None
    bias: float | None = None
    noise: float | None = None
    factor: float | None = None
    how: str = ""


class Neighbour(_Value, frozen=True, kw_only=True):
    """A network that was timed whole, for those beside it (`nearby`).

    Attributes:
        batch, flops, weights: its batch, the FLOPs of a tile and the bytes of its weights.
        weight: by which it pulls the logarithm of the time of a network that is the same.
    """

    batch: float
    flops: float
    weights: float
    weight: float


class Power(_Value, frozen=True, kw_only=True):
    """What a rail carried while networks ran at a batch, less what it carries idle (`power`).

    `watts` is the median over so many `networks`, `low` and `high` are the least and the most.
    """

    batch: int
    watts: float
    low: float
    high: float
    networks: int
    rail: str


class MadeFor(_Value, frozen=True, kw_only=True):
    """The networks that a published model is about (`made_for`).

    Attributes:
        layers: kinds of layer that they have, as `made_for.kind_of` calls them.
        activations: those of their layers.
        needed: kinds of layer that every one of them has.
        tiles: shape of their tiles.
    """

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    needed: tuple[str, ...] = ()
    tiles: tuple[int, ...] = ()


class Calibration(_Value, frozen=True, kw_only=True):
    """A model made from another device's by a few measurements.

    Attributes:
        prior: name and sha256 of the other model.
        scale: median of measured over the prior's prediction.
        points: measurements used.
    """

    prior: Source
    scale: float
    points: int


def _fp32() -> str:
    return "fp32"


class CostModel(_Value, frozen=True, kw_only=True):
    """The whole model of one device.

    Attributes:
        name: what tables show.
        target: backend, device, threads and options it holds for.
        device: facts of the device (name, model, clocks), as the Runs state them.
        processor: the kind of processor that its features speak of; unknown for other devices.
        precision: of the networks.
        lowering: how a network becomes ops where the runtime is not asked (`lowering.LOWERINGS`).
        value_bytes: of a value in the ops that it was fitted on.
        terms: in the order of groups; zero terms are left out.
        groups: one per group that was seen; one without terms takes no time.
        same: groups that are predicted as another one, by its terms.
        standins: terms for ops of groups that were not measured, by kind.
        peaks: what the audit held the terms against.
        sources: what it was fitted on.
        network: check on whole networks.
        nearby: networks timed whole, where no op was; what the terms left of their times.
        calibration: where it was made from another device's model.
        power: at each batch of which the Runs measured the energy; () where of none.
        batches: (smallest, largest) batch in training.
        made_for: the networks that its equations are about; None where its terms say what was seen.
        doubt: where it is known to be far off, and by how much; "" where that is not known.
        notes: sentences that a reader must see.
        created: ISO 8601.
    """

    schema: int = SCHEMA
    name: str
    target: Target = Target()
    device: dict[str, Any] = {}
    processor: Processor = UNKNOWN
    precision: str = msgspec.field(default_factory=_fp32)  # so that files always state it
    lowering: str = "fused"
    value_bytes: float = 4.0
    terms: tuple[Term, ...]
    groups: tuple[Group, ...]
    same: dict[str, str] = {}
    standins: tuple[StandIn, ...] = ()
    peaks: Peaks = Peaks()
    sources: tuple[Source, ...] = ()
    network: Whole = Whole()
    nearby: tuple[Neighbour, ...] = ()
    calibration: Calibration | None = None
    power: tuple[Power, ...] = ()
    batches: tuple[int, int] | None = None
    made_for: MadeFor | None = None
    doubt: str = ""
    notes: tuple[str, ...] = ()
    created: str = ""

    def group(self, name: str) -> Group | None:
        """The group that ops of that group are predicted as, None where no such op was seen."""
        name = self.same.get(name, name)
        return next((group for group in self.groups if group.name == name), None)

    def terms_of(self, group: str) -> tuple[Term, ...]:
        """The terms that ops of a group have, in order."""
        group = self.same.get(group, group)
        return tuple(term for term in self.terms if term.group == group)


_DOCUMENT = Document(CostModel, "a cost model", "Give a file that nnprof fit-model wrote.", SCHEMA)


def encode(model: CostModel) -> bytes:
    """The model as JSON, one term and one group to a line; numbers have five digits."""
    values = _rounded(msgspec.to_builtins(model))
    lines = []
    for key, value in values.items():
        text = msgspec.json.encode(value).decode()
        if key in ("terms", "groups", "nearby") and value:
            text = (
                "[\n  " + ",\n  ".join(msgspec.json.encode(one).decode() for one in value) + "\n ]"
            )
        lines.append(f' "{key}": {text}')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _rounded(value: Any, key: str = "") -> Any:
    if isinstance(value, float) and math.isfinite(value):
        short = float(f"{value:.{_DIGITS.get(key, _OTHER_DIGITS)}g}")
        return int(short) if short.is_integer() and abs(short) < 1e4 else short
    if isinstance(value, dict):
        return {name: _rounded(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one, key) for one in value]
    return value


def fitted_in(model: CostModel) -> CostModel:
    """The model with `leverage` left out of groups, the longest first, until its file is small.

    Of such groups only amounts are held against what was measured, and no longer their mix.
    """
    while len(encode(model)) > MOST_BYTES and any(group.inverse for group in model.groups):
        longest = max(model.groups, key=lambda group: len(group.inverse))
        short = replace(longest, inverse=(), leverage=None)
        model = replace(
            model, groups=tuple(short if one is longest else one for one in model.groups)
        )
    return model


def save(model: CostModel, path: AnyPath) -> None:
    """Write the model file.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_atomically(Path(path), encode(model))


def decode(text: bytes, name: str) -> CostModel:
    """Read a model file's text; `name` is for errors.

    Raises:
        NewerSchema: a later nnprof wrote it.
        BadFile: it is no cost model.
    """
    return _usable(_DOCUMENT.decode(text, name), name)


def _usable(model: CostModel, name: str) -> CostModel:
    """The model, if all that it names is known here, and its parts fit together."""
    from nnprof.profiler.costmodel import features, lowering, work

    wrong = [f"lowering {model.lowering}"] if model.lowering not in lowering.LOWERINGS else []
    wrong += [
        f"feature {term.feature}"
        for term in model.terms
        if term.group != NETWORK and term.feature not in features.FEATURES
    ]
    named = [name for one in model.standins for name in one.terms]
    wrong += [f"feature {name}" for name in named if name not in features.FEATURES]
    for group in model.groups:
        terms = len(model.terms_of(group.name))
        wrong += [f"column {column}" for column in group.domain if column not in work.COLUMNS]
        if group.inverse and len(group.inverse) != terms * (terms + 1) // 2:
            wrong.append(f"inverse of {group.name}, which has {terms} terms")
    if wrong:
        raise BadFile(
            f"{name} is not a cost model of this nnprof: it has a {wrong[0]}.", _DOCUMENT.remedy
        )
    return model


def load(text: AnyPath) -> CostModel:
    """The model in a file, or the published one of that name.

    Raises:
        NewerSchema, BadFile: see `decode`.
    """
    path = Path(text)
    if not path.is_file() and str(text) in published():
        return decode(_shipped()[str(text)].read_bytes(), f"{text}.json")
    if not path.exists():
        raise BadFile(f"There is no file {path}.", f"Published models: {', '.join(published())}.")
    return _usable(_DOCUMENT.load(path), str(path))


def published() -> tuple[str, ...]:
    """Names of the models that come with nnprof: published ones, and priors."""
    return tuple(sorted(_shipped()))


def _shipped() -> dict[str, Traversable]:
    """Their files by name."""
    folder = files("nnprof.profiler.costmodel")
    entries = (*folder.iterdir(), *folder.joinpath("priors").iterdir())
    return {one.name[:-5]: one for one in entries if one.name.endswith(".json")}
