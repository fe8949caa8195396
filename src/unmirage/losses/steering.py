"""Where the residual stream is led: RMU's vector, the distance that both of its halves minimise, and a pull towards it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unmirage.losses.reduction import Reduce, reduce_tokens

Channels = Literal["mean", "sum", "norm"]
"""Over the hidden width: the squared error's `mean` as in the released codes, its `sum` as in the formula of the WMDP paper,
or the `norm`, not squared, as in circuit breakers."""


@dataclass(frozen=True)
class Pull:
    """States after block `layer`, moved by `share` (B, S) of the way to `scale` times the unit vector drawn from `seed`."""

    layer: int
    scale: float | Tensor
    seed: int
    share: Tensor

    def led(self, states: Tensor) -> Tensor:
        """`states` (B, S, H), moved; cut off from what made them where they are."""
        target = control_vector(drawn(states, self.seed), self.scale).to(states.dtype)
        kept, share = states.detach(), self.share[..., None]
        return torch.where(share > 0, kept + share.to(states.dtype) * (target - kept), states)


def control_vector(uniform: Tensor, scale: float | Tensor) -> Tensor:
    """`scale` times the unit vector along `uniform` (H,)."""
    unit: Tensor = uniform / uniform.norm()
    return unit * scale


def drawn(like: Tensor, seed: int) -> Tensor:
    """U uniform on [0, 1)^H, as wide as the states `like` (..., H) and where they lie."""
    made: Tensor = torch.rand(like.shape[-1], generator=torch.Generator().manual_seed(seed))
    return made.to(like.device)


def mean_length(states: Tensor, counted: Tensor) -> Tensor:
    """The mean length of the `counted` (B, S) ones of `states` (B, S, H), in at least float32."""
    length: Tensor = exact(states[counted]).norm(dim=-1).mean()
    return length


def exact(states: Tensor) -> Tensor:
    """`states` in at least float32."""
    return states if states.dtype.itemsize >= 4 else states.float()


def distance(states: Tensor, target: Tensor, counted: Tensor, reduce: Reduce, channels: Channels) -> Tensor:
    """Distance of `states` (B, S, H) to `target` (broadcastable), reduced in at least float32 to a scalar."""
    difference = exact(states) - exact(target)
    if channels == "norm":
        return reduce_tokens(difference.norm(dim=-1), counted, reduce).mean()
    squared = difference.square()
    tokens = squared.mean(dim=-1) if channels == "mean" else squared.sum(dim=-1)
    return reduce_tokens(tokens, counted, reduce).mean()
