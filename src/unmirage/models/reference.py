"""The reference: the model as it was before training, asked without gradients.

With a LoRA adapter it is the same weights with the adapter off, exactly; otherwise a frozen copy.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext

import torch
from torch import Tensor

from unmirage.losses.batch import Batch
from unmirage.models.vlm import VLM


class Reference:
    """Answers what a `Policy` answers, with the weights of before training."""

    def __init__(self, policy: VLM, adapter: bool) -> None:
        """Remember `policy` as it is now; `adapter`: it is trained through a LoRA adapter."""
        self._vlm = policy if adapter else VLM(copy.deepcopy(policy.model).requires_grad_(False), policy.encoder.processor)
        self._adapter = adapter

    @torch.no_grad()
    def token_logprobs(self, batch: Batch) -> Tensor:
        """As `Policy.token_logprobs`."""
        with self._vlm.adapter_off() if self._adapter else nullcontext():
            return self._vlm.token_logprobs(batch)

    @torch.no_grad()
    def hidden(self, batch: Batch, layer: int) -> Tensor:
        """As `Policy.hidden`."""
        with self._vlm.adapter_off() if self._adapter else nullcontext():
            return self._vlm.hidden(batch, layer)

    @torch.no_grad()
    def logits(self, batch: Batch, counted: Tensor) -> Tensor:
        """As `Policy.logits`."""
        with self._vlm.adapter_off() if self._adapter else nullcontext():
            return self._vlm.logits(batch, counted)

    def answering(self, batch: Batch, text: str) -> Batch:
        """As `Policy.answering`."""
        return self._vlm.answering(batch, text)
