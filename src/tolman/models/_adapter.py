"""PEFT's low-rank adapters with the adapter's product added within the second matrix product, instead of in two more passes over the output; and its learned caches.

Shapes: N tokens, I inputs, O outputs, R rank.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tolman.core.errors import UserError


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


def learned_tokens(network: Any) -> int:
    """How many positions of learned keys and values (PEFT's Cartridge or prefix tuning) stand before every text that `network` reads; 0 without any.

    Raises UserError for what PEFT learns as inputs (prompt tuning and the like), which is not read here.
    """
    config = getattr(network, "peft_config", {}).get("default")
    if config is None or not config.is_prompt_learning:
        return 0
    if config.peft_type not in ("CARTRIDGE", "PREFIX_TUNING"):
        raise UserError(f"PEFT's {config.peft_type.value} adapters cannot be used here: train a LoRA adapter or a cartridge")
    return config.num_virtual_tokens


def learned_cache(network: Any, rows: int) -> Any:
    """The learned keys and values as a cache for `rows` texts, differentiable; None without any."""
    return network.get_prompt(rows) if learned_tokens(network) else None
