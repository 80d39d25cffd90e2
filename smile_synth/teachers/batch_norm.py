"""Batch norms of a frozen network, folded into the convolutions before them: the same function, in fewer operations."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution into it, in place.

    Outputs stay the same but for rounding; the statistics can no longer change. An activation that timm keeps inside
    its batch norms stays where it is.

    Args:
        network: in evaluation mode; a convolution and its batch norm are neighbours in the order of definition.
    """
    before: tuple[str, nn.Module] | None = None
    for name, module in list(network.named_children()):
        fold_batch_norms(module)
        if before is not None and isinstance(before[1], nn.Conv2d) and isinstance(module, nn.BatchNorm2d):
            setattr(network, before[0], fuse_conv_bn_eval(before[1], module))
            setattr(network, name, getattr(module, "act", nn.Identity()))
        before = (name, module)
