"""The optimizer against torch's own."""

import pytest
import torch

from bgformer.fit.optimizer import OneCycleAdam


@pytest.mark.parametrize("n_steps", [1, 2, 3, 40])
def test_a_step_is_that_of_torch(n_steps):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator)]
    ours, theirs = ([torch.nn.Parameter(part.clone()) for part in start] for _ in range(2))
    mine = OneCycleAdam(ours, 0.1, n_steps)
    adam = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.0, fused=True)
    rising = max(0.1, min(0.9, 1.5 / n_steps))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, 0.1, total_steps=n_steps, pct_start=rising
    )
    for _ in range(n_steps):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = 10 * torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        mine.step()
        torch.nn.utils.clip_grad_norm_(theirs, 5.0)
        adam.step()
        schedule.step()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
