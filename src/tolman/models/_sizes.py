"""What a forward or backward pass of a `transformers` model costs, from its sizes."""

from dataclasses import dataclass
from typing import Any, Self

from torch import nn


@dataclass(frozen=True, slots=True)
class Sizes:
    """Multiply-adds per token: in linear maps that are trained, in those that are not, in the output head; and head widths of all layers together."""

    trained: int
    frozen: int
    head: int
    head_trained: bool
    attention: int

    @classmethod
    def of(cls, network: Any) -> Self:
        """The sizes of a dense transformer (of a mixture of experts, all experts count), with the adapter around it if there is one."""
        base = network.get_base_model() if hasattr(network, "peft_config") else network
        head, config = base.get_output_embeddings(), base.config
        linear = [m.weight for m in network.modules() if isinstance(m, nn.Linear) and m is not head]
        split = sum(2 * len(m.osf_svd_params["default"]["S_low"]) * (m.in_features + m.out_features) for m in network.modules() if hasattr(m, "osf_svd_params"))
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            sum(w.numel() for w in linear if w.requires_grad) + split, sum(w.numel() for w in linear if not w.requires_grad), head.weight.numel(),
            head.weight.requires_grad, config.num_hidden_layers * config.num_attention_heads * width,
        )  # fmt: skip

    def flops(self, positions: int, seen: int, asked: int) -> float:
        """FLOPs of the matrix products of a forward pass, 2 per multiply-add: each of `positions` is compared with `seen`; logits are computed at `asked`.

        Equal to `torch.utils.flop_counter`, which likewise counts masked pairs and leaves out norms and element-wise work.
        """
        return 2.0 * (positions * (self.trained + self.frozen + 2 * seen * self.attention) + asked * self.head)

    def training_flops(self, positions: int, seen: int, asked: int) -> float:
        """FLOPs of a forward and a backward pass: the gradient of a map's input costs what the map does, that of its weights as much again where they are trained.

        (The first layer's inputs need no gradient if the embedding has none; that is counted all the same: it is 1 % of a model of 30 layers.)
        """
        maps = 3 * self.trained + 2 * self.frozen + 3 * 2 * seen * self.attention
        return 2.0 * (positions * maps + asked * self.head * (3 if self.head_trained else 2))


KEPT_WIDTHS, KEPT_HIDDEN = 10, 4
"""Vectors of the width and of the feed-forward width that a block keeps of each token for the backward pass (counted in a Llama block with all weights trained; 8 and
4 with adapters)."""


def kept_bytes(config: Any) -> int:
    """Memory of what a backward pass in float32 needs, per token, for a network of this configuration (of transformers); 0 where that is not known."""
    if config is None:
        return 0
    config = config.get_text_config()
    hidden = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return 4 * config.num_hidden_layers * (KEPT_WIDTHS * config.hidden_size + KEPT_HIDDEN * hidden)
