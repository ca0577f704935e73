"""Whether an exported model computes what its network computes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import Disagreement
from nnprof.exporters import check
from nnprof.exporters import export as exporter
from nnprof.networks.checkpoint import source_of
from nnprof.networks.spec import parse
from nnprof.types import Model

SPEC = parse("1x10x10 conv4k3 pool2 fc5")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An exported network."""
    return exporter.export(SPEC, cache=tmp_path_factory.mktemp("models"))


def test_an_export_agrees(model: Model) -> None:
    """The same network on the same raw bytes: same classes, differences of rounding only."""
    tiles = check.generated_tiles(SPEC.input_shape, 600).astype(np.uint8)
    agreement = check.check_against_torch(model, exporter.reference(SPEC), tiles)
    assert agreement.max_difference < 1e-5
    assert (agreement.top1_agreement, agreement.tiles) == (1.0, 600)
    check.require_agreement(model, agreement)


def test_a_network_that_makes_roundings_large_is_told_from_a_wrong_file(tmp_path: Path) -> None:
    """Far beyond its training a cell without bounds explodes: torch does not agree with itself."""
    spec = parse("60x1 lstm20 linear lstm20 linear fc1 linear")
    file = exporter.export(spec, cache=tmp_path)
    network = exporter.reference(spec)
    inside = check.check_against_torch(file, network, check.generated_for(source_of(spec, None)))
    assert (inside.max_difference < 1e-4, inside.rounding) == (True, None)
    beyond = check.generated_tiles(spec.input_shape) * 100
    agreement = check.check_against_torch(file, network, beyond)
    assert agreement.rounding is not None
    with pytest.raises(Disagreement, match="makes roundings large"):
        check.require_agreement(file, agreement)


def test_other_weights_are_found_out(model: Model) -> None:
    """A file that computes something else is refused, with the figures."""
    other = exporter.reference(parse("1x10x10 conv4k3 pool2 fc5 seed1"))
    tiles = check.generated_tiles(SPEC.input_shape)
    agreement = check.check_against_torch(model, other, tiles)
    with pytest.raises(Disagreement, match="of 64 tiles"):
        check.require_agreement(model, agreement)


@pytest.mark.parametrize(("difference", "same"), [(2e-4, 1.0), (1e-6, 0.98), (float("nan"), 1.0)])
def test_either_figure_is_enough_to_refuse(model: Model, difference: float, same: float) -> None:
    """Too large a difference, one other class, or not a number: each is refused."""
    agreement = check.Agreement(
        max_difference=difference, top1_agreement=same, tiles=50, runtime="onnxruntime"
    )
    with pytest.raises(Disagreement):
        check.require_agreement(model, agreement)


def test_a_tie_may_go_to_any_of_its_classes() -> None:
    """Rounding decides between equal outputs; it does not between different ones."""
    expected = np.array([[0.5, 0.5, 0.0], [0.4, 0.6, 0.0]], np.float32)
    assert check.same_class(expected, expected[:, [1, 0, 2]]) == 1
    assert check.same_class(expected, expected) == 2


def test_without_onnxruntime_the_reference_of_onnx_runs(model: Model, tmp_path: Path) -> None:
    """The check works where only onnx is installed, and says what ran."""
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from pathlib import Path; from nnprof.exporters import check, export as exporter, models\n"
        "from nnprof.networks.spec import parse\n"
        f"spec = parse({SPEC.notation!r})\n"
        "model = models.load_model(Path(sys.argv[1]))\n"
        "tiles = check.generated_tiles(spec.input_shape, 8)\n"
        "print(check.check_against_torch(model, exporter.reference(spec), tiles))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, model.path], capture_output=True, text=True, check=True
    )
    assert "top1_agreement=1.0" in done.stdout
    assert "runtime='onnx.reference'" in done.stdout
