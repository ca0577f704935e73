"""A torch module cut, run node by node, and told apart in the events of torch's profiler."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnprof.profiler.ports import OpNode
from nnprof.types import Kind

if TYPE_CHECKING:
    from torch import fx

INFERENCE = "nnprof.inference"  # the label of an inference; with a number behind, of a node
_COMPILED = "## Call CompiledFxGraph"
# Words in the names of compiled kernels, the more telling first.
_WORDS: dict[str, Kind] = {
    "conv": "conv",
    "mm": "gemm",
    "linear": "gemm",
    "pool": "pool",
    "softmax": "softmax",
    "copy": "memory",
    "clone": "memory",
    "fused": "elementwise",
}


def beginning(module: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The module up to and with node `last`; its outputs are the tensors that later nodes read."""
    from torch import fx

    program = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    rest: list[fx.Node] = []
    for node in module.graph.nodes:
        if rest:
            rest.append(node)
            continue
        copies[node] = program.node_copy(node, lambda source: copies[source])
        if node is last:
            rest = [node]
    read = {source for node in rest[1:] for source in node.all_input_nodes}
    flowing = [node for node in copies if node in read and node.op.startswith("call")]
    program.output(tuple(copies[node] for node in flowing or [last]))
    return fx.GraphModule(module, program)


def labelled(module: fx.GraphModule, steps: Sequence[fx.Node]) -> Any:
    """Runs a module node by node, each under a label that the profiler records."""
    from torch import fx
    from torch.profiler import record_function

    labels = {step.name: f"{INFERENCE}.{at}" for at, step in enumerate(steps)}

    class Labelled(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            if n.name not in labels:
                return super().run_node(n)
            with record_function(labels[n.name]):
                return super().run_node(n)

    return Labelled(module)


def recorder(module: fx.GraphModule) -> Any:
    """Runs a module node by node and keeps what each made."""
    from torch import fx

    class Recorder(fx.Interpreter):
        def __init__(self) -> None:
            super().__init__(module)
            self.made: dict[fx.Node, Any] = {}

        def run_node(self, n: fx.Node) -> Any:
            self.made[n] = super().run_node(n)
            return self.made[n]

    return Recorder()


# --- events of the profiler -----------------------------------------------------------------------


def steps_of(event: Any) -> list[Any]:
    """The labelled nodes inside an inference, in order."""
    return [child for child in event.cpu_children if child.name.startswith(f"{INFERENCE}.")]


def kernels_of(event: Any) -> list[list[Any]]:
    """The kernels and calls that a compiled inference makes, each in a list of its own."""
    if event.name.startswith(_COMPILED):
        return [[child] for child in event.cpu_children]
    return [found for child in event.cpu_children for found in kernels_of(child)]


def kernel_of(events: Sequence[Any]) -> str:
    """The name under which most time was spent: a kernel of the device, or a call on the CPU."""
    by_length: dict[str, float] = defaultdict(float)
    front = list(events)
    while front:
        event = front.pop()
        front += event.cpu_children
        by_length[event.name] += event.self_cpu_time_total
        for kernel in event.kernels:
            by_length[kernel.name] += kernel.duration * 1e3  # a kernel before what launched it
    return max(by_length, key=lambda name: by_length[name], default="")


def described(events: Sequence[Sequence[Any]], at: int) -> OpNode:
    """A compiled kernel, known by its name and the shapes that the profiler saw."""
    (event,) = events[0]
    name = str(event.name).partition("_cpp_")[2] or str(event.name)
    shapes = tuple(tuple(shape) for shape in event.input_shapes if shape)
    text = f"{name}{shapes}"
    return OpNode(
        node=f"{name}.{at}",
        op=name,
        kind=next((kind for word, kind in _WORDS.items() if word in name), "other"),
        key=hashlib.sha256(text.encode()).hexdigest()[:16] if shapes else "",
        inputs=shapes,
    )
