"""Mattsson 2016, "Classification performance": layers, depths, widths and batches on two GPUs.

Groups, section 3.1: one ConvLayer where FC layers vary, one FC layer where ConvLayers vary, depth
20 where it does not vary; section 4.1: batch 1024 in groups 3 and 4. Of the neurons in groups 1, 2
and 4 and in Table 2 the thesis says nothing: 128 is our choice.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nnprof.networks.families import LAYERS, mattsson
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.spec import NetworkSpec
from nnprof.networks.studies.claims import Between
from nnprof.networks.studies.study import Asked, Study, Training, merged

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
NEURONS = (128, 256, 512, 1024, 2048)
NEURONS_EARLIER = (100, 200, 400, 800, 1600)
NEURONS_FINE = tuple(range(64, 2049, 32))
DEPTHS = (5, 10, 20, 40, 80)


def _timed(specs: Iterable[NetworkSpec], batches: Iterable[int]) -> tuple[Asked, ...]:
    every = tuple(batches)
    return tuple(Asked(network=spec.name, batch=batch) for spec in specs for batch in every)


def group1() -> Study:
    """FC layers 1-5 × batch 16…4096, one ConvLayer."""
    return Study(
        name="group1",
        asks="How do FC layers and the batch change the speed?",
        gives="Figure 10",
        cells=_timed((mattsson(conv=1, fc=fc) for fc in LAYERS), BATCHES),
    )


def group2() -> Study:
    """ConvLayers 1-5 × batch 16…4096, one FC layer, the 1×1 pools included."""
    return Study(
        name="group2",
        asks="How do ConvLayers and the batch change the speed?",
        gives="Figure 11",
        cells=_timed((mattsson(conv=conv, pool1=1) for conv in LAYERS), BATCHES),
    )


def group3() -> Study:
    """FC layers 1-5 × neurons 128…2048, one ConvLayer, batch 1024."""
    specs = (mattsson(fc=fc, neurons=neurons) for fc in LAYERS for neurons in NEURONS)
    return Study(
        name="group3",
        asks="How do the number and the width of FC layers change the speed?",
        gives="Figures 12-14, 21-23, 33-35",
        cells=_timed(specs, [1024]),
    )


def group3_100() -> Study:
    """Group 3 with neurons 100…1600, which the study tried first (section 4.1 says why not)."""
    specs = (mattsson(fc=fc, neurons=neurons) for fc in LAYERS for neurons in NEURONS_EARLIER)
    return Study(
        name="group3-100",
        asks="The same with 100…1600 neurons, which the study tried first",
        gives="section 4.1",
        cells=_timed(specs, [1024]),
    )


def group4() -> Study:
    """ConvLayers 1-5 × depth 5…80, one FC layer, the 1×1 pools included, batch 1024."""
    specs = (mattsson(conv=conv, depth=depth, pool1=1) for conv in LAYERS for depth in DEPTHS)
    return Study(
        name="group4",
        asks="How do the number and the depth of ConvLayers change the speed?",
        gives="Figures 15-20, 24-32",
        cells=_timed(specs, [1024]),
    )


def groups() -> Study:
    """Groups 1 to 4 in one Run: an op that several networks share is timed alone once."""
    parts = [group() for group in (group1, group2, group3, group4)]
    return msgspec.structs.replace(
        merged("groups", parts, "Groups 1 to 4 in one Run"), gives="Figures 10-35"
    )


def figure9() -> Study:
    """A network at 784 tiles, which are an image of 784×784."""
    return Study(
        name="figure9",
        asks="How many images of 784×784 are classified a second? (add --image 784x784)",
        gives="Figure 9",
        cells=_timed([mattsson(conv=2)], [784]),
    )


def figure36() -> Study:
    """Neurons finely, × FC layers; the values are not given: 64…2048 by 32 is our choice."""
    specs = (mattsson(fc=fc, neurons=neurons) for fc in LAYERS for neurons in NEURONS_FINE)
    return Study(
        name="figure36",
        asks="Are multiples of 128 neurons faster than those beside them?",
        gives="Figure 36",
        cells=_timed(specs, [1024]),
    )


def table1() -> Study:
    """Four networks; which ones is lost, so these are our choice."""
    specs = (mattsson(conv=conv, fc=fc, pool1=1) for conv in (1, 2) for fc in (1, 2))
    return Study(
        name="table1",
        asks="Does the speed drift from loop to loop? (add --protocol loop)",
        gives="Table 1",
        cells=_timed(specs, [1024]),
    )


def table2() -> Study:
    """5C1F, 1C5F and 3C3F, trained as in section 2 and timed at 1024 tiles.

    Rate, epochs and normalisation per feature are the thesis's; the batch of 64 in training and
    the patience of 5 epochs of its early termination are ours.
    """
    settings = TrainingSettings(epochs=60, learning_rate=0.03, normalisation="pixel")
    cells = [
        Asked(
            network=mattsson(conv=conv, fc=fc, pool1=1).name,
            batch=1024,
            name=f"{conv}C{fc}F",
            varied={"ConvLayers": str(conv), "FC layers": str(fc)},
            train=Training(dataset="mnist", settings=settings),
        )
        for conv, fc in ((5, 1), (1, 5), (3, 3))
    ]
    names = tuple(cell.name for cell in cells)
    return Study(
        name="table2",
        asks="Speed against the time of training to 90, 95 and 97 %",
        gives="Table 2",
        cells=tuple(cells),
        claims=(
            Between(
                says="each reaches 97 %", of="validation accuracy", cells=names, low=0.97, high=1.0
            ),
        ),
    )
