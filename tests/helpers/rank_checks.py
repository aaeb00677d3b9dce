"""Checks that run on each of three ranks. The module imports little, since each process loads it."""

from collections.abc import Callable

import torch

from aammodel.distributed.ranks import Ranks

Check = Callable[[Ranks], None]


def check_communication(ranks: Ranks) -> None:
    """Check gathering and sums on three ranks, with 4 samples and with 2, which leave the last rank empty."""
    numbers = torch.Generator().manual_seed(0)
    for total in (4, 2):
        everyone = torch.randn(total, 5, dtype=torch.float64, generator=numbers, requires_grad=True)
        mine = (everyone[ranks.turns] if ranks.rank < total else everyone[:1]).detach().requires_grad_()
        gathered = ranks.gather(mine, total)
        assert torch.equal(gathered, everyone)
        # The loss of all ranks is the sum over all pairs. Each rank computes its own rows.
        mine_alone = mine[: len(range(total)[ranks.turns])]
        (mine_alone @ gathered.T).square().sum().backward()
        (everyone @ everyone.T).square().sum().backward()
        assert mine.grad is not None
        assert everyone.grad is not None
        assert torch.allclose(mine.grad[: len(mine_alone)], everyone.grad[ranks.turns], rtol=1e-14)
        assert not mine.grad[len(mine_alone) :].any()
    assert ranks.sum([ranks.rank, 0.5]) == [3.0, 1.5]
    assert ranks.largest(-ranks.rank) == 0
    assert ranks.first_text("second" if ranks.rank else None) == "second"
    assert ranks.first_text(None) is None


def check_weights_and_gradients(ranks: Ranks) -> None:
    model = torch.nn.Linear(2, 1, bias=True)
    with torch.no_grad():
        model.weight.fill_(ranks.rank + 1)
    ranks.share_weights(model)
    assert (model.weight == 1).all()
    if ranks.rank == 1:
        model.weight.grad = torch.ones(1, 2)
    ranks.add_gradients(model.parameters())
    assert model.weight.grad is not None
    assert (model.weight.grad == 1).all()
    # No rank has this gradient, so the optimizer must not shrink the weight.
    assert model.bias.grad is None
