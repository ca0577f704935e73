"""Accuracy of the bundled network in each form of int8, on this processor.

    python benchmarks/int8_forms.py
    benchmarks/avx2.sh .venv/bin/python benchmarks/int8_forms.py   # as AVX2 computes it

Calibrated on 512 training tiles of MNIST, and tried on its 10,000 test tiles and the 64 of the
package; MNIST is read from the folder that NNPROF_DATA names. Prints lines of a Markdown table.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.exporters.int8 import ANYWHERE, Form, on_processor, signed
from nnprof.exporters.models import load_model
from nnprof.exporters.precision import convert
from nnprof.networks import bundled, datasets
from nnprof.profiler.devices.cpu import DEVICE
from nnprof.profiler.run import accuracy
from nnprof.types import Model, Workload

_FORMS = (
    Form(unsigned=True, reduced=False, why="x86 with VNNI"),
    Form(unsigned=True, reduced=True, why="x86 without VNNI"),
    signed("TensorRT and Arm"),
    ANYWHERE,
)
_CHUNK = 250


def main() -> None:
    """Print the table."""
    facts = DEVICE.facts()
    model = load_model(bundled.model_path())
    calibration = accuracy.calibration(Workload(model=model, batch=1))
    tests = datasets.load("mnist")
    with np.load(bundled.tiles_path()) as arrays:
        few = arrays["tiles"], arrays["labels"]
    sys.stdout.write(
        f"{facts['model']}, {' '.join(facts['extensions'])}: {on_processor(facts)}\n\n"
        f"| form | {len(tests.test_targets)} tiles | {len(few[1])} tiles |\n| --- | ---: | ---: |\n"
    )
    forms = [(str(form), convert(model, "int8", calibration, form=form)) for form in _FORMS]
    for name, one in (("fp32", model), *forms):
        shares = [_right(one, *pair) for pair in ((tests.test_inputs, tests.test_targets), few)]
        sys.stdout.write(f"| {name} | {shares[0]:.2%} | {shares[1]:.2%} |\n")
        sys.stdout.flush()


def _right(model: Model, tiles: NDArray[Any], labels: NDArray[Any]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    right = 0
    for start in range(0, len(labels), _CHUNK):
        chunk = tiles[start : start + _CHUNK].reshape(-1, 1, 28, 28).astype(np.float32)
        (outputs,) = session.run(None, {model.inputs[0].name: chunk})
        right += int((outputs.argmax(axis=1) == labels[start : start + _CHUNK]).sum())
    return right / len(labels)


if __name__ == "__main__":
    main()
