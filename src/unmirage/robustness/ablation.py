"""Taking one direction out of the residual stream: h <- h - (h . d) d after every decoder block, with d of length 1.

Arditi et al. 2024 (arXiv 2406.11717) undo refusals so, with d the difference in means, at one layer, between the last prompt
tokens of harmful and harmless requests. Between a repaired model and the one before it, on what was to be forgotten, the same
difference is the way that the repair pushes the states: RMU pushes all of them towards one vector, so it is the first to try.
The control is a random direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unmirage.models.vlm import VLM


def between(ones: Tensor, others: Tensor) -> Tensor:
    """The unit vector (H,) from the mean of `others` (M, H) to that of `ones` (N, H); zero where the means are the same."""
    apart = ones.mean(dim=0) - others.mean(dim=0)
    unit: Tensor = apart / apart.norm().clamp_min(torch.finfo(torch.float32).tiny)
    return unit


def drawn(width: int, seed: int) -> Tensor:
    """A random unit vector (H,)."""
    some = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    unit: Tensor = some / some.norm()
    return unit


@contextmanager
def ablated(policy: VLM, direction: Tensor) -> Iterator[None]:
    """Inside, no decoder block of `policy` leaves anything along `direction`."""
    with ExitStack() as stack:
        for block in policy.blocks():
            stack.callback(block.register_forward_hook(_without(direction)).remove)
        yield


def _without(direction: Tensor) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _given: Any, made: Any) -> Any:
        states = made[0] if isinstance(made, tuple) else made
        unit = direction.to(states.device, states.dtype)
        states = states - (states @ unit)[..., None] * unit
        return (states, *made[1:]) if isinstance(made, tuple) else states

    return hook
