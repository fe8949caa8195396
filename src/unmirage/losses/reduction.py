"""How per-token numbers become a loss. The literature silently disagrees, so every term names its reduction.

- `sum`: per sequence the sum over counted tokens, then the mean over the batch (original NPO);
- `seq_mean`: per sequence the mean, then the mean over the batch (does not depend on how rows are batched);
- `batch_token_mean`: one mean over all counted tokens of the batch (the released Safety-Mirage code; splitting the
  same rows into other batches changes it wherever it goes through a non-linear function).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduce = Literal["sum", "seq_mean", "batch_token_mean"]


def reduce_tokens(values: Tensor, counted: Tensor, reduce: Reduce) -> Tensor:
    """Reduce over tokens only: `values`, `counted` (B, S) -> (B,) for `sum` and `seq_mean`, (1,) for `batch_token_mean`.

    The arithmetic is in at least float32.
    """
    values = values if values.dtype.itemsize >= 4 else values.float()
    kept = values.masked_fill(~counted, 0.0)
    if reduce == "sum":
        return kept.sum(dim=1)
    if reduce == "seq_mean":
        return kept.sum(dim=1) / counted.sum(dim=1)
    return (kept.sum() / counted.sum()).reshape(1)


def placed(values: Tensor, counted: Tensor) -> Tensor:
    """`values` (N,) of the tokens at `counted` (B, S) except position 0, back at their places; 0 elsewhere."""
    reached = counted.clone()
    reached[:, 0] = False  # nothing stands before it, so nothing is predicted there
    return values.new_zeros(counted.shape).masked_scatter(reached, values)
