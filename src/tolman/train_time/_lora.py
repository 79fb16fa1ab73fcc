"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) put into a network by PEFT, with first weights of our own drawing; PEFT's orthogonal subspaces; and how far
weights have moved."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tolman.core.errors import UserError
from tolman.core.seeds import derive


def with_lora(network: Any, *, rank: int, scale: float, seed: int) -> Any:
    """`network` with an adapter around every linear map but the output's, frozen otherwise; one that has such an adapter already goes on with it.

    Raises UserError for a network that PEFT cannot adapt.
    """
    if hasattr(network, "peft_config"):
        return _goes_on(network, rank=rank, alpha=rank * scale)
    peft = peft_for(network, "weights = lora", "set train_time.weights=full")
    config = peft.LoraConfig(r=rank, lora_alpha=rank * scale, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):  # PEFT draws from the global generator; these weights are drawn again
        adapted = peft.get_peft_model(network, config, autocast_adapter_dtype=False).to(network.dtype)
    draw = torch.Generator().manual_seed(derive(seed, "finetune", "lora"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_A" in name:  # as PEFT does: uniform within 1 / sqrt(inputs)
                bound = parameter.shape[1] ** -0.5
                parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=draw))
    return adapted


def _goes_on(network: Any, *, rank: int, alpha: float) -> Any:
    """`network`, whose adapter may change again. Raises UserError where it is of another size: two adapters would be one too many to save."""
    has = network.peft_config["default"]
    if not hasattr(has, "lora_alpha"):
        raise UserError(f"weights = lora cannot go on with the model's adapter, which is {has.peft_type.value.lower()}: train a model without one")
    if (has.r, has.lora_alpha) != (rank, alpha):
        raise UserError(
            f"the model has an adapter of rank {has.r} and scale {has.lora_alpha / has.r:g} already: set train_time.rank and train_time.scale to these, to go on with it"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return network


def peft_for(network: Any, what: str, instead: str) -> Any:
    """The package peft, for `what`. Raises UserError, which says what to do `instead`, where it is not installed or the network is none that it can change (any more)."""
    if not hasattr(network, "get_output_embeddings"):
        raise UserError(f"{what} needs a pretrained model (models/hf): {instead} for this one")
    if hasattr(network, "peft_config"):
        raise UserError(f"{what} needs a model without an adapter, and this one was trained with one before: train that with train_time.weights=full")
    try:
        import peft
    except ImportError as error:
        raise UserError(f"{what} needs the package peft: pip install peft, or {instead}") from error
    return peft


def with_osf(network: Any, *, preserved: float) -> Any:
    """`network` with every linear map but the output's as the sum of its strongest singular directions, a share `preserved` of all, which are frozen, and the others, which
    are trained at right angles to them (PEFT projects their gradients; AdamW's step by element may lean a little). Raises UserError where PEFT cannot."""
    peft = peft_for(network, "weights = osf", "set train_time.weights=full")
    config = peft.OSFConfig(effective_rank=preserved, target_modules="all-linear", task_type="CAUSAL_LM")
    return peft.get_peft_model(network, config, autocast_adapter_dtype=False)


@torch.no_grad()
def merged_osf(network: Any) -> Any:
    """The plain network with the changes in its weights: as an adapter they would be decomposed anew at each loading."""
    for module in _split(network):
        module.get_base_layer().weight.add_(module.get_delta_weight("default"))
    return network.unload()


def squared_shift(network: Any) -> Tensor:
    """Sum over all adapted maps of the squared change of their weights, differentiable; that of low-rank adapters, |scale B A|², from products of rank x rank."""
    lora = sum((m.scaling["default"] ** 2 * ((b.T @ b) * (a @ a.T)).sum() for m, a, b in _pairs(network)), torch.zeros(()))
    return lora + sum(m.get_delta_weight("default").float().square().sum() for m in _split(network))


def _split(network: Any) -> Iterator[Any]:
    """The maps that `with_osf` split."""
    return (module for module in network.modules() if hasattr(module, "osf_svd_params"))


def _pairs(network: Any) -> Iterator[tuple[Any, Tensor, Tensor]]:
    for module in network.modules():
        if hasattr(module, "lora_A"):
            yield module, module.lora_A["default"].weight.float(), module.lora_B["default"].weight.float()


class Masters:
    """float32 copies of the trained weights where these are in lower precision: small steps would round to nothing there (Micikevicius et al. 2018).

    Weights that are float32 already are their own masters.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self.weights = [p for p in parameters if p.requires_grad]
        self.masters = [p if p.dtype == torch.float32 else torch.nn.Parameter(p.detach().float()) for p in self.weights]

    def take_gradients(self) -> None:
        """Move the gradients of the weights to their masters."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad, weight.grad = weight.grad.float(), None

    @torch.no_grad()
    def put_back(self) -> None:
        """Round the masters into the weights."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                weight.copy_(master)

    @torch.no_grad()
    def load(self, saved: Sequence[Tensor]) -> None:
        for master, tensor in zip(self.masters, saved, strict=True):
            master.copy_(tensor)
        self.put_back()
