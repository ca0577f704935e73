"""The layers of the notation, each by itself."""

import pytest

from nnprof.networks.layers import KINDS, Branches, Layer


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Branches])
def test_a_layer_reads_its_own_examples(kind: type[Layer]) -> None:
    """An example that an error offers is a word of that layer, and comes back as it was written."""
    examples = [word for form in kind.FORMS.values() for word in form.split(", ")]
    for example in examples or [kind.CALLED.replace("activation", "tanh")]:
        match = kind.WORD.fullmatch(example)
        assert match
        assert kind.read(match).word == example
