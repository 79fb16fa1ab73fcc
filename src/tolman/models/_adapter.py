"""PEFT's low-rank adapters with the adapter's product added within the second matrix product, instead of in two more passes over the output.

Shapes: N tokens, I inputs, O outputs, R rank.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def fuse(network: Any) -> None:
    """Let every plain adapted linear map of `network` compute x W + scale (x A) B so; whatever else PEFT can do (several adapters, dropout, variants) it still does itself."""
    for module in network.modules():
        if hasattr(module, "lora_A") and isinstance(getattr(module, "base_layer", None), nn.Linear):
            module.forward = partial(_forward, module, type(module).forward)


def _forward(module: Any, original: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    active = module.active_adapters
    if module.disable_adapters or module.merged or len(active) != 1 or active[0] not in module.lora_A or module.lora_variant or args or kwargs:
        return original(module, x, *args, **kwargs)
    first, second = module.lora_A[active[0]], module.lora_B[active[0]]
    if not isinstance(module.lora_dropout[active[0]], nn.Identity) or first.weight.dtype != x.dtype or first.bias is not None or second.bias is not None:
        return original(module, x)
    x_NI = x.flatten(0, -2)
    base_NO = module.base_layer(x_NI)
    return torch.addmm(base_NO, x_NI @ first.weight.T, second.weight.T, alpha=module.scaling[active[0]]).unflatten(0, x.shape[:-1])
