"""What a loss may ask of a model, whichever model it is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from unmirage.losses.batch import Batch
from unmirage.losses.steering import Pull


class Policy(Protocol):
    """A model as the losses see it. A frozen reference answers the same questions without gradients."""

    def token_logprobs(self, batch: Batch) -> Tensor:
        """Log-probability of every token given those before it, (B, S) in nats; position 0 is 0."""

    def logits(self, batch: Batch, counted: Tensor) -> Tensor:
        """Logits (N, V) of what could have stood at `counted` (B, S), given all before, row by row; nothing at position 0."""

    def hidden(self, batch: Batch, layer: int) -> Tensor:
        """Residual stream after decoder block `layer` (1 = after the first block), (B, S, H)."""

    def pulled_logprobs(self, batch: Batch, counted: Tensor, pull: Pull) -> Tensor:
        """As `token_logprobs` at `counted` (B, S), 0 elsewhere, with states led as `pull` says; no gradient goes below them."""

    def answering(self, batch: Batch, text: str) -> Batch:
        """The same examples, every one of them answered with `text`."""


class Term(Protocol):
    """One summand of a loss: a frozen dataclass whose fields are hyper-parameters and whose call is the formula."""

    def __call__(self, policy: Policy, reference: Policy, batch: Batch) -> Tensor:
        """The loss of `batch`, a scalar."""


@runtime_checkable
class Watched(Protocol):
    """A term that says more of its batch than its loss."""

    def watch(self, policy: Policy, reference: Policy, batch: Batch) -> dict[str, float]:
        """Numbers that show how it works, by name."""
