"""What a training makes small.

Cross-entropy is taken on the logits. The other losses of classes are taken, as Keras takes them, on
what the network gives (probabilities, where it ends in a softmax) against 1 for the right class and
0 for the others.
"""

from __future__ import annotations

from nnprof.networks.pytorch import Tensor, nn, torch

ON_LOGITS = ("cross-entropy", "kl")
_LEAST_SQUARE = 1e-12  # the root of 0 has no slope


def loss_of(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of outputs (N, k).

    `targets` are classes int64 (N,), or values (N, k). With one right class the Kullback-Leibler
    divergence is the cross-entropy, because the entropy of the target is 0.
    """
    if kind in ON_LOGITS:
        return nn.functional.cross_entropy(outputs, targets)
    if targets.ndim == 1:
        targets = torch.eye(outputs.shape[1], device=outputs.device)[targets]
    match kind:
        case "hinge":
            return (1 - (2 * targets - 1) * outputs).clamp_min(0).mean()
        case "squared-hinge":
            return (1 - (2 * targets - 1) * outputs).clamp_min(0).square().mean()
        case "mae":
            return nn.functional.l1_loss(outputs, targets)
        case "huber":
            return nn.functional.huber_loss(outputs, targets)
        case "rmse":
            square = nn.functional.mse_loss(outputs, targets)
            return square.clamp_min(_LEAST_SQUARE).sqrt()
        case _:
            return nn.functional.mse_loss(outputs, targets)
