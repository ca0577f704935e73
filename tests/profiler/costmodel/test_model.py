"""The model file, and the published model."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadFile, NewerSchema
from nnprof.networks.families import mattsson
from nnprof.profiler.costmodel import audit, lowering, model
from nnprof.profiler.costmodel.model import CostModel, Group, Peaks, Term
from nnprof.profiler.costmodel.predict import predict, predict_specs

FROZEN = Path(__file__).parents[3] / "benchmarks" / "results" / "costmodel-own-frozen.json"

numbers = st.floats(min_value=1e-15, max_value=1e9).map(lambda value: float(f"{value:.4g}"))
terms = st.builds(
    Term,
    group=st.sampled_from(["network", "conv", "gemm"]),
    feature=st.sampled_from(["launch", "flops", "bytes_in"]),
    coefficient=numbers,
    low=st.none() | numbers,
    high=st.none() | numbers,
    identified=st.booleans(),
    share=st.none() | st.floats(0, 1).map(lambda value: round(value, 3)),
    flag=st.text(max_size=20),
)


@given(st.lists(terms, max_size=6), st.text(max_size=10))
def test_a_model_survives_its_file(listed: list[Term], name: str) -> None:
    """What is written is what is read."""
    made = CostModel(name=name, terms=tuple(listed), groups=(Group(name="conv", ops=("Conv",)),))
    assert model.decode(model.encode(made), "x") == made


def test_a_file_always_states_its_precision() -> None:
    """The precision stands in the file, also where it is the usual one; files without it load."""
    made = CostModel(name="toy", terms=(), groups=(Group(name="conv", ops=("Conv",)),))
    written = json.loads(model.encode(made))
    assert written.pop("precision") == "fp32"
    assert model.decode(json.dumps(written).encode(), "old").precision == "fp32"


def test_a_negative_coefficient_is_no_model() -> None:
    """No device takes less than no time."""
    with pytest.raises(ValueError, match="at least 0"):
        Term(group="conv", feature="flops", coefficient=-1.0)


@pytest.mark.parametrize(
    ("text", "error"),
    [(b'{"schema": 99}', NewerSchema), (b'{"name": "x"}', BadFile), (b"half", BadFile)],
)
def test_what_is_no_model_is_said_to_be_none(text: bytes, error: type[Exception]) -> None:
    """A newer file, another file and a cut one each get their sentence."""
    with pytest.raises(error):
        model.decode(text, "x.json")


def test_a_missing_file_names_the_published_models(tmp_path: Path) -> None:
    """Who mistypes the name of the published model is told it."""
    with pytest.raises(BadFile, match="gtx960-mattsson2016"):
        model.load(str(tmp_path / "nothing.json"))


@pytest.mark.parametrize(("conv", "fc", "tiles"), [(5, 1, 36.1), (1, 5, 98.0), (3, 3, 42.7)])
def test_the_published_model_gives_the_paper_s_arithmetic(conv: int, fc: int, tiles: float) -> None:
    """Equations 14-18 and C7 of Mattsson 2016, depth 20, 128 neurons, with his 1×1 pools."""
    made = model.load("gtx960-mattsson2016")
    spec = mattsson(conv=conv, fc=fc, depth=20, neurons=128, pool1=1)
    seconds = predict_specs(made, [spec], 1024)[0]
    assert round(1024 / seconds / 1e3, 1) == tiles
    parts = predict(made, lowering.of_spec(spec, made.lowering, 1024), 1024)
    assert parts.seconds == pytest.approx(seconds)
    assert parts.extrapolates == ()


def test_the_audit_flags_equation_14() -> None:
    """6.6e-11 ms × neurons² is 30 TFLOP/s, on a card of 2.3."""
    made = audit.audited(model.load("gtx960-mattsson2016"))
    flagged = [(term.feature, term.flag) for term in made.terms if term.flag]
    assert [feature for feature, _ in flagged] == ["mattsson2016_neurons2"]
    assert "13" in flagged[0][1]


def test_no_peak_no_audit() -> None:
    """A rate is held against a peak or not at all."""
    term = Term(group="conv", feature="flops", coefficient=1e-20)
    blind = CostModel(name="x", terms=(term,), groups=())
    assert audit.audited(blind).terms[0].flag == ""
    seeing = msgspec.structs.replace(blind, peaks=Peaks(flops_per_s=1e12))
    assert "times the peak" in audit.audited(seeing).terms[0].flag


def test_the_frozen_model_is_small_and_whole() -> None:
    """At most 12 kB, and JSON that any reader can take apart line by line."""
    text = FROZEN.read_bytes()
    assert len(text) <= model.MOST_BYTES
    assert json.loads(text)["terms"]
    again = model.encode(model.decode(text, "frozen"))
    assert model.encode(model.decode(again, "again")) == again
