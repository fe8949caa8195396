"""What is done to gradients of whole terms before the optimiser sees them: two add-ons that go with any loss.

- Sharpness-aware minimisation: min over theta of max over |e| <= rho of L(theta + e), solved to first order by
  e = rho g / |g| (Foret et al. 2021, arXiv 2010.01412). On the forget terms alone it makes unlearning harder to undo by
  relearning (Fan et al. 2025, ICML, arXiv 2502.05374). We differ in taking |g| over the trained parameters only.
- GRU, gradient rectified unlearning: where the forget gradient f would raise the retain loss, <f, r> < 0, use
  f - <f, r> / |r|^2 r instead, the closest gradient that does not (Wang et al. 2025, ICML, arXiv 2503.09117).
  We differ in using the retain gradient r of the same step, not a moving average of it: that would be one more state to
  save. The projection is PCGrad's (Yu et al. 2020, arXiv 2001.06782), one way only.

Gradients are flat lists, one tensor per parameter; all are seen as one long vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Inner product of two gradients, a scalar in float64."""
    return torch.stack([(a.double() * b.double()).sum() for a, b in zip(one, other, strict=True)]).sum()


def rectified(forget: Sequence[Tensor], retain: Sequence[Tensor]) -> list[Tensor]:
    """The gradient closest to `forget` whose inner product with `retain` is not negative: it does not raise the retain loss."""
    conflict = inner(forget, retain)
    if conflict >= 0:
        return list(forget)
    share = conflict / inner(retain, retain)
    return [f - share * r for f, r in zip(forget, retain, strict=True)]


def ascent(gradient: Sequence[Tensor], rho: float) -> list[Tensor]:
    """The step of length `rho` that raises the loss most, to first order; no step where the gradient is 0."""
    length = inner(gradient, gradient).sqrt()
    if length == 0:
        return [torch.zeros_like(g) for g in gradient]
    return [g * (rho / length) for g in gradient]


@contextmanager
def moved(parameters: Sequence[Tensor], step: Sequence[Tensor]) -> Iterator[None]:
    """Inside, `parameters` are at `step` from where they were; afterwards they are exactly, bit by bit, where they were."""
    with torch.no_grad():
        before = [p.clone() for p in parameters]
        for p, s in zip(parameters, step, strict=True):
            p.add_(s)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, b in zip(parameters, before, strict=True):
                p.copy_(b)


def of(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of `loss`; zeros for parameters that it does not reach. What lies in `.grad` is not touched."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def taken(parameters: Sequence[Tensor]) -> list[Tensor]:
    """What has gathered in `.grad`, which is empty afterwards; zeros where nothing has."""
    gathered = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    return gathered


def put(parameters: Sequence[Tensor], *gradients: Sequence[Tensor]) -> None:
    """Make `.grad` the sum of `gradients`."""
    for p, parts in zip(parameters, zip(*gradients, strict=True), strict=True):
        p.grad = torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]
