"""Where a network is unlike those that a published model is about.

A published model's equations have terms for what its author measured; what the author's networks
never had may cost nothing in them. So the layers are looked at, not the ops.
"""

from __future__ import annotations

from nnprof.networks.layers import Act, Layer, Pool
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel.model import CostModel

_KINDS = {"Conv": "conv", "Dense": "fc", "BatchNorm": "batch norm", "Dropout": "dropout"}


def kind_of(layer: Layer) -> str:
    """conv, max pool, avg pool, fc, batch norm, dropout, or another layer by its name in small."""
    if isinstance(layer, Pool):
        return f"{layer.mode} pool"
    name = type(layer).__name__
    return _KINDS.get(name, name.lower())


def words(model: CostModel, spec: NetworkSpec) -> tuple[str, ...]:
    """A sentence for each way in which a network is unlike those; () where the model tells none."""
    own = model.made_for
    if own is None:
        return ()
    layers = [layer for layer in spec.layers if not isinstance(layer, Act)]
    kinds = list(dict.fromkeys(kind_of(layer) for layer in layers))
    used = dict.fromkeys(str(getattr(layer, "activation", "linear")) for layer in spec.layers)
    strange = [kind for kind in kinds if kind not in own.layers]
    strange += [name for name in used if name not in own.activations]
    found = (
        [f"no network that the model was made for has {' or '.join(strange)}"] if strange else []
    )
    found += [f"every network that the model was made for has a {kind} layer"
              for kind in own.needed if kind not in kinds]  # fmt: skip
    if own.tiles and spec.input_shape != own.tiles:
        shape = "×".join(map(str, own.tiles))
        found.append(f"the model was made for tiles of {shape}")
    return tuple(found)
