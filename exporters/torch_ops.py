"""What each ONNX op is in torch: an `nn.Module` in `MODULES`, or a function in `FUNCTIONS`.

A new op is one entry in one of the two tables. A maker raises `Refused` where torch has no such op.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

if TYPE_CHECKING:
    import torch

Attributes = Mapping[str, Any]
Constants = Mapping[int, NDArray[Any]]  # of a node, by position among its inputs


class Refused(Exception):
    """Says which part of a node torch does not have."""


# --- modules --------------------------------------------------------------------------------------

Maker = Callable[[Attributes, Constants], "torch.nn.Module"]


def _window(attributes: Attributes, rank: int) -> tuple[list[int], tuple[int, ...] | None]:
    """Padding in ONNX's order and, where torch can pad so by itself, one number per axis."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Refused("it pads by 'auto_pad'")
    pads = list(attributes.get("pads", [0] * 2 * rank))
    before, after = pads[:rank], pads[rank:]
    return pads, tuple(before) if before == after else None


def _padding(pads: Sequence[int], fill: float) -> torch.nn.Module:
    """ONNX says all beginnings, then all ends; torch says both of the last axis first."""
    from torch import nn

    rank = len(pads) // 2
    sides = [pads[at + half] for at in reversed(range(rank)) for half in (0, rank)]
    makers: tuple[Any, ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
    padding: torch.nn.Module = makers[rank - 1](tuple(sides), fill)
    return padding


def _conv(attributes: Attributes, constants: Constants) -> torch.nn.Module:
    import torch
    from torch import nn

    if 1 not in constants:
        raise Refused("the weights of a convolution flow in")
    weight = constants[1]
    rank = weight.ndim - 2
    pads, even = _window(attributes, rank)
    group = attributes.get("group", 1)
    makers: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    conv: torch.nn.Module = makers[rank - 1](
        weight.shape[1] * group,
        weight.shape[0],
        weight.shape[2:],
        tuple(attributes.get("strides", [1] * rank)),
        even or 0,
        tuple(attributes.get("dilations", [1] * rank)),
        group,
        bias=2 in constants,
    )
    conv.weight = nn.Parameter(torch.tensor(weight))
    if 2 in constants:
        conv.bias = nn.Parameter(torch.tensor(constants[2]))
    return conv if even else nn.Sequential(_padding(pads, 0.0), conv)


def _gemm(attributes: Attributes, constants: Constants) -> torch.nn.Module:
    import torch
    from torch import nn

    if 1 not in constants or attributes.get("transA") or 0 in constants:
        raise Refused("a Gemm of it is no fully connected layer")
    weight = constants[1] if attributes.get("transB") else constants[1].T
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=2 in constants)
    scaled = weight * weight.dtype.type(attributes.get("alpha", 1.0))
    linear.weight = nn.Parameter(torch.tensor(scaled))
    if 2 in constants:
        bias = np.broadcast_to(constants[2].reshape(-1), len(weight))
        linear.bias = nn.Parameter(torch.tensor(bias * bias.dtype.type(attributes.get("beta", 1))))
    return linear


def _max_pool(attributes: Attributes, _: Constants) -> torch.nn.Module:
    from torch import nn

    rank = len(attributes["kernel_shape"])
    pads, even = _window(attributes, rank)
    if even is None:
        raise Refused(f"a pool of it pads unevenly ({pads})")
    makers: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
    pool: torch.nn.Module = makers[rank - 1](
        tuple(attributes["kernel_shape"]),
        tuple(attributes.get("strides", [1] * rank)),
        even,
        tuple(attributes.get("dilations", [1] * rank)),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )
    return pool


def _average_pool(attributes: Attributes, _: Constants) -> torch.nn.Module:
    from torch import nn

    rank = len(attributes["kernel_shape"])
    pads, even = _window(attributes, rank)
    if even is None or any(one != 1 for one in attributes.get("dilations", [])):
        raise Refused(f"a pool of it pads unevenly ({pads}) or is dilated")
    makers: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
    pool: torch.nn.Module = makers[rank - 1](
        tuple(attributes["kernel_shape"]),
        tuple(attributes.get("strides", [1] * rank)),
        even,
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )
    return pool


def _batch_norm(attributes: Attributes, constants: Constants) -> torch.nn.Module:
    import torch
    from torch import nn

    if set(constants) != {1, 2, 3, 4} or attributes.get("training_mode"):
        raise Refused("a batch normalisation of it is one for training")
    scale, shift, mean, variance = (torch.tensor(constants[at]) for at in (1, 2, 3, 4))

    class Norm(nn.modules.batchnorm._BatchNorm):
        """Over axis 1, whatever the rank."""

        def _check_input_dim(self, input: torch.Tensor) -> None:
            pass

    norm = Norm(len(scale), eps=attributes.get("epsilon", 1e-5))
    norm.weight, norm.bias = nn.Parameter(scale), nn.Parameter(shift)
    norm.running_mean, norm.running_var = mean, variance
    return norm


def _plain(name: str, **renamed: tuple[str, Any]) -> Maker:
    """`torch.nn.NAME`, with arguments taken from attributes: argument=(attribute, default)."""

    def make(attributes: Attributes, _: Constants) -> torch.nn.Module:
        from torch import nn

        arguments = {word: attributes.get(*source) for word, source in renamed.items()}
        module: torch.nn.Module = getattr(nn, name)(**arguments)
        return module

    return make


MODULES: dict[str, Maker] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Relu": _plain("ReLU"),
    "Tanh": _plain("Tanh"),
    "Sigmoid": _plain("Sigmoid"),
    "Softsign": _plain("Softsign"),
    "LeakyRelu": _plain("LeakyReLU", negative_slope=("alpha", 0.01)),
    "Elu": _plain("ELU", alpha=("alpha", 1.0)),
    "Softmax": _plain("Softmax", dim=("axis", -1)),
    "LogSoftmax": _plain("LogSoftmax", dim=("axis", -1)),
}


# --- functions ------------------------------------------------------------------------------------

# A function, and positions of constants that it takes beside the inputs that flow in.
Bound = tuple[Callable[..., Any], tuple[int, ...]]


def _named(name: str) -> Callable[[Attributes, Constants], Bound]:
    """`torch.NAME` of one or two tensors."""

    def bind(_: Attributes, __: Constants) -> Bound:
        import torch

        return getattr(torch, name), (0, 1)

    return bind


def _reshape(attributes: Attributes, constants: Constants) -> Bound:
    if 1 not in constants:
        raise Refused("the shape of a Reshape flows in")
    asked = [int(side) for side in constants[1]]

    if 0 in asked and not attributes.get("allowzero"):

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            """A zero stands for the side that was there."""
            return tensor.reshape([side or tensor.shape[at] for at, side in enumerate(asked)])

        return keep, ()

    def reshape(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(asked)

    return reshape, ()


def _flatten(attributes: Attributes, _: Constants) -> Bound:
    axis = attributes.get("axis", 1)
    if axis != 1:
        raise Refused("it flattens from another axis than 1")

    def flatten(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.flatten(1)

    return flatten, ()


def _transpose(attributes: Attributes, _: Constants) -> Bound:
    order = attributes.get("perm")

    def transpose(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.permute(order or list(reversed(range(tensor.ndim))))

    return transpose, ()


def _concat(attributes: Attributes, _: Constants) -> Bound:
    import torch

    axis = attributes["axis"]

    def concat(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors, axis)

    return concat, tuple(range(64))


def _sum(_: Attributes, __: Constants) -> Bound:
    def add(first: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        for one in rest:
            first = first + one
        return first

    return add, tuple(range(64))


def _axes(constants: Constants) -> list[int] | None:
    return [int(axis) for axis in constants[1]] if 1 in constants else None


def _squeeze(_: Attributes, constants: Constants) -> Bound:
    axes = _axes(constants)

    def squeeze(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.squeeze() if axes is None else tensor.squeeze(axes)

    return squeeze, ()


def _unsqueeze(_: Attributes, constants: Constants) -> Bound:
    axes = _axes(constants)
    if axes is None:
        raise Refused("the axes of an Unsqueeze flow in")

    def unsqueeze(tensor: torch.Tensor) -> torch.Tensor:
        rank = tensor.ndim + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            tensor = tensor.unsqueeze(axis)
        return tensor

    return unsqueeze, ()


def _gather(attributes: Attributes, constants: Constants) -> Bound:
    if 1 not in constants or constants[1].ndim:
        raise Refused("a Gather of it takes other than one fixed place")
    axis, place = attributes.get("axis", 0), int(constants[1])

    def gather(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.select(axis, place)

    return gather, ()


def _clip(_: Attributes, constants: Constants) -> Bound:
    low, high = (constants[at].item() if at in constants else None for at in (1, 2))

    def clip(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clamp(low, high)

    return clip, ()


def _pad(attributes: Attributes, constants: Constants) -> Bound:
    if 1 not in constants or attributes.get("mode", b"constant") != b"constant" or 3 in constants:
        raise Refused("it pads with other than a constant")
    from torch.nn import functional

    pads = [int(side) for side in constants[1]]
    rank = len(pads) // 2
    sides = [pads[at + half] for at in reversed(range(rank)) for half in (0, rank)]
    fill = constants[2].item() if 2 in constants else 0.0

    def pad(tensor: torch.Tensor) -> torch.Tensor:
        return functional.pad(tensor, sides, value=fill)

    return pad, ()


def _global_average(_: Attributes, __: Constants) -> Bound:
    def mean(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.mean(dim=tuple(range(2, tensor.ndim)), keepdim=True)

    return mean, ()


def _cast(attributes: Attributes, _: Constants) -> Bound:
    import torch

    wanted = torch.from_numpy(np.zeros(0, helper.tensor_dtype_to_np_dtype(attributes["to"]))).dtype

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(wanted)

    return cast, ()


FUNCTIONS: dict[str, Callable[[Attributes, Constants], Bound]] = {
    **{op: _named(op.lower()) for op in ("Abs", "Neg", "Exp", "Log", "Sqrt", "Erf")},
    **{op: _named(op.lower()) for op in ("Sub", "Mul", "Div", "MatMul")},
    # A copy, as in other runtimes, so that the floor of a call means the same in all.
    "Identity": _named("clone"),
    "Add": lambda *_: (operator.add, (0, 1)),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Concat": _concat,
    "Sum": _sum,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Clip": _clip,
    "Pad": _pad,
    "GlobalAveragePool": _global_average,
    "Cast": _cast,
}
