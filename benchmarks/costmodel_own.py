"""The part own: trained on 120 ops of our own grid, judged on networks that were not among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import costmodel_cells as own
import costmodel_judge as judge
import costmodel_plots as plots
import costmodel_show as show
import numpy as np
from costmodel_cells import Cells, Own
from costmodel_models import MODELS, Array, Predict, whole_flops

from nnprof.profiler.costmodel import assemble, fit, lowering
from nnprof.profiler.costmodel import model as models
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.predict import predict, predict_specs
from nnprof.profiler.costmodel.prediction import Prediction

RESULTS = Path(__file__).parent / "results"
FROZEN = RESULTS / "costmodel-own-frozen.json"
COUNTS = (12, 20, 40, 80, 120)
SEEDS = range(2)
QUIET = 0.05  # relative spread of the processes up to which a cell counts as quiet
TARGET = 0.10


def run_own(folder: Path, plotted: Path) -> dict:
    """Trained on at most 120 ops; judged on random networks drawn after the model was frozen."""
    found = own.own(folder)
    fitted = {"frozen": models.load(str(FROZEN)), "fit-model": assemble.model(found.train)}
    sets = {
        "random networks": found.test,
        "2016 groups": found.group_cells,
        "dev networks": found.dev_cells,
        "calibrating networks": found.calibrate,
    }
    train = found.train.rows
    timed = train.only(train.groups != "reshape")
    out: dict = {
        "measurements": {"ops": len(timed.seconds), "distinct": len(set(timed.works)),
                         "networks": len(found.train.networks)},
        "frozen on": [source.name for source in fitted["frozen"].sources],
    }  # fmt: skip
    points, learned = {}, {name: learn(train) for name, learn in MODELS.items()}
    for name, cells in sets.items():
        if cells is not None:
            out[name], points[name] = _judged_cells(cells, found, fitted, learned)
            show.networks(f"Own grid, {name}", out[name])
            _say_noise(out[name])
    out["ops of other Runs"] = _ops(found)
    out["coverage"] = _coverage(sets, found, fitted)
    show.coverage("Own grid", out["coverage"])
    out["learning"] = _learning(found)
    if found.test is not None:
        out["cells"] = _listed(found.test, points["random networks"])
    plots.predicted(points, plotted / "costmodel-own-predicted.png")
    _residuals(found, plotted / "costmodel-own-residuals.png")
    return out


def _judged_cells(
    cells: Cells, found: Own, fitted: Mapping[str, CostModel], learned: Mapping[str, Predict]
) -> tuple[dict, dict[str, Array]]:
    """Every model on these networks, and the seconds that each predicts, with the measured."""
    seconds = {name: predicted(model, cells) for name, model in fitted.items()}
    for name, known in learned.items():
        seconds[name] = cells.of(known, found.train.call_s)
    seconds["flops"] = whole_flops(found.trained.table)(cells.table)
    seconds |= _published(cells)
    lacking = cells.lacking(found.train.rows)
    result: dict = {"models": {}}
    for name, one in seconds.items():
        part = lacking if name in learned else None
        result["models"][name] = judge.errors(one, cells.seconds, part) | _over_noise(one, cells)
    clusters = cells.names
    result["ours minus forest"] = judge.difference(
        seconds["ours"], seconds["forest"], cells.seconds, clusters
    )
    result["noise"] = cells.noise()
    return result, {**seconds, "measured": cells.seconds}


def predicted(model: CostModel, cells: Cells) -> Array:
    """Seconds of each network by nnprof predict; NaN where the model lacks an op."""
    return np.array([
        predict_specs(model, [spec], int(batch))[0]
        for spec, batch in zip(cells.specs, cells.batches, strict=True)
    ])  # fmt: skip


def _published(cells: Cells) -> dict[str, Array]:
    """B1: the constants of 2016 where all networks are of his family; then scaled as a whole.

    They are of another device. The scale is the median over the very cells that are judged, which
    flatters them: what is left is the form.
    """
    if not all(spec.family == "mattsson" for spec in cells.specs):
        return {}
    plain = predicted(models.load("gtx960-mattsson2016"), cells)
    return {"published": plain, "scaled": plain * float(np.median(cells.seconds / plain))}


def _over_noise(seconds: Array, cells: Cells) -> dict:
    """The error beside the repeats' noise: on quiet cells, on the others, and target 1's share.

    `within`: errors of at most 10 %, or of 1.5 times the cell's own spread where that is larger.
    """
    off = np.abs(np.where(np.isfinite(seconds), seconds, 0.0) / cells.seconds - 1)
    quiet = cells.spreads <= QUIET
    limit = np.maximum(TARGET, 1.5 * cells.spreads)
    return {
        "quiet": {"n": int(quiet.sum()), "mape": _mean(off[quiet])},
        "noisy": {"n": int((~quiet).sum()), "mape": _mean(off[~quiet])},
        "within 10 % or 1.5 × noise": float((off <= limit).mean()),
        "mape over noise": float(off.mean()) / max(float(cells.spreads.mean()), 1e-9),
    }


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None


def _say_noise(found: Mapping) -> None:
    """Noise of the repeats, and the error beside it, for the model that is frozen."""
    one, noise = found["models"]["frozen"], found["noise"]
    quiet, noisy = (show.percent(one[kind]["mape"]) for kind in ("quiet", "noisy"))
    show.say(
        f"Noise of the repeats {noise['median']:.1%} in the median, {noise['mean']:.1%} in the "
        f"mean; error of frozen {one['mape over noise']:.1f} times the mean noise; on the "
        f"{one['quiet']['n']} cells with noise up to {QUIET:.0%} {quiet}, "
        f"on the others {noisy}; within 10 % or 1.5 times the noise "
        f"{one['within 10 % or 1.5 × noise']:.0%}."
    )


def _ops(found: Own) -> dict:
    """Ops of Runs that nothing was fitted on, from the 120 of the training Run."""
    out = {}
    for name, measured in (("dev", found.dev), ("2016 groups", found.groups)):
        if measured is None:
            continue
        rows = measured.rows
        both, chosen = judge.joined(found.train.rows, rows)
        asked = chosen & judge.judgeable(both)
        out[name] = judge.compared(both, judge.keys_of(both), [(~chosen, asked)])
        show.models(f"Own grid, timed ops of {name}", out[name])
    return out


def _coverage(
    sets: Mapping[str, Cells | None], found: Own, fitted: Mapping[str, CostModel]
) -> dict:
    """90 % intervals of networks as `predict` gives them, and of timed ops."""
    out = {}
    for label, model in fitted.items():
        for name, cells in sets.items():
            if cells is not None and cells is not found.calibrate:
                out[f"{label}, {name}"] = _held(model, cells)
    for name, measured in (("dev", found.dev), ("2016 groups", found.groups)):
        if measured is not None:
            both, test = judge.joined(found.train.rows, measured.rows)
            out[f"ops of {name}"] = judge.covered(
                both, [(~test, test & judge.judgeable(both))], networks=True
            )
    return out


def _held(model: CostModel, cells: Cells) -> dict:
    made: list[Prediction] = [
        predict(model, lowering.of_spec(spec, model.lowering, int(batch)), int(batch))
        for spec, batch in zip(cells.specs, cells.batches, strict=True)
    ]
    given = [
        (one.low_s <= seconds <= one.high_s, one.high_s / one.seconds)
        for one, seconds in zip(made, cells.seconds, strict=True)
        if one.low_s is not None and one.high_s is not None
    ]
    inside, factors = [one for one, _ in given], [two for _, two in given]
    return judge.interval(inside, factors, len(made) - len(given))


def _learning(found: Own) -> dict:
    """S2: n of the 120 ops by k-centre; judged on ops and networks that nothing was fitted on."""
    train = found.train.rows
    curve: dict = {}
    for count in (*(one for one in COUNTS if one < len(train.seconds)), len(train.seconds)):
        curve[str(count)] = {}
        chosen = [judge.k_centre(train, count, seed) for seed in SEEDS]
        for name, learn in MODELS.items():
            runs = []
            for mask in chosen[: 1 if count == len(train.seconds) else len(SEEDS)]:
                known = learn(train.only(mask))
                one = {"networks": judge.errors(*_both(known, found))}
                if found.dev is not None:
                    rows = found.dev.rows.only(judge.judgeable(found.dev.rows))
                    one["ops"] = judge.errors(known(rows.works), rows.seconds)
                runs.append(one)
            curve[str(count)][name] = judge.mean(runs)
    for part in next(iter(curve.values()))["ours"]:
        show.curve(f"Own grid, {part} by ops measured, {len(SEEDS)} seeds", curve, part)
    return curve


def _both(known: object, found: Own) -> tuple[Array, Array]:
    """Predicted and measured seconds of all random networks."""
    every = found.random() or [found.trained]
    made = [cells.of(known, found.train.call_s) for cells in every]
    return np.concatenate(made), np.concatenate([cells.seconds for cells in every])


def _listed(cells: Cells, points: Mapping[str, Array]) -> list[dict]:
    """Each network with what was measured and what the frozen model says."""
    return [
        {"network": spec.notation, "batch": int(batch), "measured_s": float(one),
         "predicted_s": float(two) if np.isfinite(two) else None, "noise": float(noise)}
        for spec, batch, one, two, noise in zip(
            cells.specs, cells.batches, cells.seconds, points["frozen"], cells.spreads, strict=True)
    ]  # fmt: skip


def _residuals(found: Own, path: Path) -> None:
    """Plot of held-out ops: their error against the term that is the largest in them."""
    rows = (found.dev or found.train).rows
    fitted = fit.fit(found.train.rows)
    plots.residuals(rows, fitted, path)
