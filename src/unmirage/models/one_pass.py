"""One forward pass over a batch for all the terms on it, however many ask, and nothing computed that none of them reads.

Terms that only look at hidden states end the pass at the deepest layer they name: no later block runs, and no head. Terms
of likelihood get logits where some term counts a token, and nowhere else. The released Safety-Mirage code makes every
pass whole, all logits with it, and one for each term.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from unmirage.losses.batch import Batch, selected
from unmirage.losses.policy import Term
from unmirage.models.vlm import VLM


class OnePass:
    """`policy` as `terms` may ask it about one batch. Make a new one for every batch and every change of the weights."""

    def __init__(self, policy: VLM, terms: Sequence[Term]) -> None:
        """`terms` are all that will be asked for; those with a `layer` look at hidden states only."""
        self._policy = policy
        self._layers = sorted({int(layer) for term in terms if (layer := getattr(term, "layer", None)) is not None})
        self._likely = [term for term in terms if getattr(term, "layer", None) is None]
        self._batch: Batch | None = None
        self._logprobs: Tensor | None = None
        self._states: dict[int, Tensor] = {}

    def token_logprobs(self, batch: Batch) -> Tensor:
        """As `Policy.token_logprobs`; 0 where no term counts a token."""
        self._run(batch)
        assert self._logprobs is not None, "no term of likelihood was announced"
        return self._logprobs

    def hidden(self, batch: Batch, layer: int) -> Tensor:
        """As `Policy.hidden`."""
        self._run(batch)
        return self._states[layer]

    def _run(self, batch: Batch) -> None:
        if self._batch is batch:
            return
        self._batch = batch
        if not self._likely:
            _, self._states = self._policy.forward(batch, None, self._layers)
            return
        counted = selected(batch.segments, getattr(self._likely[0], "mask", "answer"))
        for term in self._likely[1:]:
            counted = counted | selected(batch.segments, getattr(term, "mask", "answer"))
        self._logprobs, self._states = self._policy.answer_logprobs(batch, counted, self._layers)
