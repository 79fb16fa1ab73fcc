"""Our Muon is torch's: batching the iterations of equally shaped matrices changes no bit of the weights."""

import copy

import torch

from tolman.train_time._muon import Muon

SHAPES = [(32, 32), (32, 32), (48, 32), (32, 48), (48, 32), (33, 57)]


def run(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        if step % 2:
            parameters[-1].grad = None
        optimizer.step()


def test_the_weights_are_those_of_torch_to_the_bit_also_after_a_restart():
    generator = torch.Generator().manual_seed(0)
    theirs = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    ours = [torch.nn.Parameter(p.detach().clone()) for p in theirs]
    begun = [p.detach().clone() for p in ours]
    settings = {"lr": 0.03, "weight_decay": 0.1}
    run(torch.optim.Muon(theirs, **settings), theirs, range(10))
    first = Muon(ours, **settings)
    run(first, ours, range(4))
    second = Muon(ours, **settings)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(second, ours, range(4, 10))
    for mine, its, before in zip(ours, theirs, begun, strict=True):
        assert torch.equal(mine, its)
        assert not torch.equal(mine, before)
