"""The distance that both halves of RMU minimise: between residual streams, over counted tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from unmirage.losses.reduction import Reduce, reduce_tokens

Channels = Literal["mean", "sum", "norm"]
"""Over the hidden width: the squared error's `mean` as in the released codes, its `sum` as in the formula of the WMDP paper,
or the `norm`, not squared, as in circuit breakers."""


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
