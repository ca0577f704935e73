"""The part splits: random and extrapolating splits of our own Runs (S1, S3, S4 and S5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import costmodel_cells as own
import costmodel_judge as judge
import costmodel_show as show
import numpy as np
from costmodel_cells import Cells, Own
from costmodel_models import MODELS, Array, Learner, whole_flops

from nnprof.networks.families import LAYERS
from nnprof.networks.studies.mattsson import DEPTHS, NEURONS
from nnprof.profiler.costmodel.rows import Rows

Known = Mapping[str, Array]  # of ops or of cells: conv, fc, depth, neurons, batch
Choice = Callable[[Known], Array]
SEEDS = range(5)
DEEP = 64
MANY = 100  # held-out ops from which on intervals are judged


class Case(NamedTuple):
    """What is learned from and what is asked, as ops and as whole networks."""

    train: Rows
    trained: Cells
    ops: Rows
    asked: Cells


def run_splits(folder: Path, _: Path) -> dict:
    """S1 on all our own ops; S3, S4, S5 inside the groups of 2016, and from our 120 ops."""
    found = own.own(folder)
    out: dict = {"S1 a fifth of the shapes": _random(found)}
    for label, cases in (*_in_groups(found), *_from_grid(found)):
        if sum(len(case.asked.seconds) for case in cases):
            out[label] = extrapolated(cases, found.train.call_s)
            show.models(label, out[label])
    show.coverage(
        "Ops of the splits with at least 100 of them",
        {label: one["coverage"] for label, one in out.items() if "coverage" in one},
    )
    return out


def _random(found: Own) -> dict:
    """A fifth of the shapes of the training and the dev Run held out; totals are of those ops."""
    rows = found.train.rows
    if found.dev is not None:
        rows, _ = judge.joined(rows, found.dev.rows)
    splits = judge.random_splits(rows, SEEDS)
    out = judge.compared(rows, judge.keys_of(rows), splits)
    out["coverage"] = judge.covered(rows, splits, networks=False)
    show.models("S1: a fifth of the shapes held out, own ops", out)
    return out


# --- cases ----------------------------------------------------------------------------------------


def _is(name: str, value: int) -> Choice:
    return lambda known: known[name] == value


def _isnt(name: str, value: int) -> Choice:
    return lambda known: known[name] != value


def _most(name: str, value: int) -> Choice:
    return lambda known: known[name] <= value


def _least(name: str, value: int) -> Choice:
    return lambda known: known[name] >= value


def _of_group(number: int) -> Choice:
    """The cells of a group of the 2016 study that vary in size: 3 in neurons, 4 in depth."""
    fixed = {3: {"conv": 1, "depth": 20}, 4: {"fc": 1, "neurons": 128}}[number] | {"batch": 1024}
    return lambda known: np.all([known[name] == value for name, value in fixed.items()], axis=0)


def _and(*choices: Choice) -> Choice:
    return lambda known: np.all([choice(known) for choice in choices], axis=0)


def _in_groups(found: Own) -> Iterator[tuple[str, list[Case]]]:
    """Parts of the 2016 groups predicted from other parts.

    Their ops were timed by ONNX Runtime's profiler in whole microseconds; networks are judged by
    their clean times. A value left out is left out of all groups, and asked in the group that
    varies it.
    """
    if found.groups is None or found.group_cells is None:
        return
    rows, cells = found.groups.rows, found.group_cells
    of_ops, of_cells = own.of_rows(rows), own.of_cells(cells)

    def case(train: Choice, test: Choice) -> Case:
        return Case(rows.only(train(of_ops)), cells.only(train(of_cells)),
                    rows.only(test(of_ops)), cells.only(test(of_cells)))  # fmt: skip

    for name, values, group in (("depth", DEPTHS, 4), ("neurons", NEURONS, 3)):
        each = {one: case(_isnt(name, one), _and(_is(name, one), _of_group(group)))
                for one in values}  # fmt: skip
        yield f"S3 one {name} left out", list(each.values())
        yield f"S3 {name} {values[-1]} left out", [each[values[-1]]]
        larger = _and(_least(name, values[3]), _of_group(group))
        yield f"S3 {name} to {values[2]}, then more", [case(_most(name, values[2]), larger)]
    for name, layers in (("conv", "ConvLayers"), ("fc", "FC layers")):
        yield (
            f"S3 one number of {layers} left out",
            [case(_isnt(name, one), _is(name, one)) for one in LAYERS[1:]],
        )
        yield f"S3 {layers} to 3, then 4 and 5", [case(_most(name, 3), _least(name, 4))]
    for least in (256, 1024):
        yield (
            f"S4 batch to 64, then from {least}",
            [case(_most("batch", 64), _least("batch", least))],
        )
    yield "S5 one ConvLayer, then five", [case(_is("conv", 1), _is("conv", 5))]


def _from_grid(found: Own) -> Iterator[tuple[str, list[Case]]]:
    """Extrapolation from our own ops: to random networks, and to the 2016 groups."""
    rows, trained = found.train.rows, found.trained
    narrow = (rows.columns["n"] <= DEEP) | (rows.groups == "gemm")
    narrow &= rows.columns["c_in"] <= DEEP
    shallow = own.of_cells(trained)["depth"] <= DEEP
    early, early_cells = rows.columns["batch"] <= DEEP, trained.batches <= DEEP
    small = (rows.only(narrow), trained.only(shallow))
    first = (rows.only(early), trained.only(early_cells))
    for where, cells, ops in _sets(found):
        of_cells, of_ops = own.of_cells(cells), own.of_rows(ops)
        for label, train, asked in (
            (f"S3 our ops of depth to {DEEP}, then more", small, _least("depth", DEEP + 1)),
            ("S4 our ops of batch to 64, then from 256", first, _least("batch", 256)),
            ("S4 our ops of batch to 64, then from 1000", first, _least("batch", 1000)),
        ):
            case = Case(*train, ops.only(asked(of_ops)), cells.only(asked(of_cells)))
            yield f"{label}: {where}", [case]
    yield from _topologies(found)


def _sets(found: Own) -> Iterator[tuple[str, Cells, Rows]]:
    """The random networks with the ops that were timed of them, and the groups."""
    every = found.random()
    nothing = found.train.rows.only(np.zeros(len(found.train.rows.seconds), dtype=bool))
    if every:
        yield "random", own.merged(every), found.dev.rows if found.dev else nothing
    if found.groups is not None and found.group_cells is not None:
        yield "2016", found.group_cells, found.groups.rows


def _topologies(found: Own) -> Iterator[tuple[str, list[Case]]]:
    """S5: networks with one ConvLayer or none, then deep and mixed ones."""
    if found.dev is None or found.dev_cells is None:
        return
    rows, _ = judge.joined(found.train.rows, found.dev.rows)
    cells = own.merged(found.random())
    trained = own.merged([found.trained, found.dev_cells])
    of_ops, of_cells = own.of_rows(rows), own.of_cells(cells)
    train = _most("conv", 1)
    known = (rows.only(train(of_ops)), trained.only(train(own.of_cells(trained))))
    for label, asked in (("five ConvLayers", _is("conv", 5)),
                         ("three and more, with two and more hidden FC",
                          _and(_least("conv", 3), _least("fc", 2)))):  # fmt: skip
        case = Case(*known, rows.only(asked(of_ops)), cells.only(asked(of_cells)))
        yield f"S5 our ops of up to one ConvLayer, then {label}", [case]


# --- judging --------------------------------------------------------------------------------------


def extrapolated(cases: Sequence[Case], call_s: float) -> dict:
    """Every model on all cases together: ops, and clean times of networks."""
    cases = [case._replace(ops=case.ops.only(judge.judgeable(case.ops))) for case in cases]
    measured = np.concatenate([case.asked.seconds for case in cases])
    timed = np.concatenate([case.ops.seconds for case in cases])
    lacking = np.concatenate([case.asked.lacking(case.train) for case in cases])
    out: dict = {"models": {}}
    whole = {}
    for name, learn in MODELS.items():
        seconds, ops, spent = _learned(learn, cases, call_s)
        whole[name] = seconds
        out["models"][name] = {
            "ops": judge.errors(ops, timed) if len(timed) else None,
            "networks": judge.errors(seconds, measured, lacking),
            **spent,
        }
    flops = np.concatenate([whole_flops(case.trained.table)(case.asked.table) for case in cases])
    out["models"]["flops"] = {"ops": None, "networks": judge.errors(flops, measured)}
    names = np.concatenate([case.asked.names for case in cases])
    out["ours minus forest"] = judge.difference(whole["ours"], whole["forest"], measured, names)
    if len(timed) >= MANY:
        pairs = [(case.train, case.ops) for case in cases]
        out["coverage"] = judge.covered_in(pairs, networks=True)
    return out


def _learned(
    learn: Learner, cases: Sequence[Case], call_s: float
) -> tuple[Array, Array, dict[str, float]]:
    """Seconds of networks, seconds of ops, and what it took."""
    seconds, ops, spent = [], [], []
    for case in cases:
        rows, test = judge.joined(case.train, case.ops)
        made = judge.run(learn, rows, [(~test, test)])
        ops.append(made.seconds[test])
        spent.append(made)
        seconds.append(case.asked.of(learn(case.train), call_s))
    return np.concatenate(seconds), np.concatenate(ops), judge.spent(spent)
