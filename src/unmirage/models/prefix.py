"""Scoring and answering many variants of a question at the price of a few: what they share is computed once.

System prompt, picture and unchanged words are the trunk: one forward pass leaves their keys and values in a cache. The
rest of all variants, and every continuation that is scored, is a tree (tree.py): one more pass over its nodes, as one
sequence whose mask lets each node see the trunk and its own ancestors only. Nothing is padded, no key or value is
copied per variant, and logits are made where they are read.

Exact where the trunk does not look ahead. The first group of variants is scored in full too and compared; a model whose
trunk attends to what follows (PaliGemma), or that takes no mask of ours, is found out there and scored in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from unmirage.models.encoding import Row
from unmirage.models.tree import Tree, grow, in_parts, shared_length
from unmirage.models.vlm import VLM
from unmirage.records import Completion, Example

TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""How far, in nats a token, a score may be from the full forward's before the engine is not used."""


@dataclass(frozen=True)
class _Trunk:
    """What a group of prompts shares: its keys and values, its length, and how far positions lag behind it (Qwen)."""

    cache: Any
    length: int
    lag: Tensor | None


class Prefix:
    """The engine over one model. `reason` says why it scores in full; it is empty as long as it does not."""

    def __init__(self, policy: VLM, most: int = 1024) -> None:
        """`most` tokens of a tree are computed at once."""
        self.policy = policy
        self.most = most
        self.reason = ""
        self.checked = False

    @torch.no_grad()
    def score(self, examples: Sequence[Example], continuations: Sequence[Sequence[int]]) -> Tensor:
        """Log-probability of every continuation as the beginning of the answer to every example, (E, C) in nats, float32.

        Args:
            examples: questions; those about the same picture share its trunk.
            continuations: token ids, at least one each.

        Raises:
            ValueError: a continuation is empty.
        """
        if not all(continuations):
            raise ValueError("a continuation has no tokens")
        scores = torch.zeros(len(examples), len(continuations))
        for places in by_picture(examples):
            rows = self.policy.encoder.encode_variants([examples[i] for i in places])
            if not self.checked:
                self._check(rows[:2], continuations)
            scores[places] = self._in_full(rows, continuations) if self._whole(rows) else self._branches(rows, continuations)
        return scores

    @torch.no_grad()
    def generate(self, examples: Sequence[Example], max_new_tokens: int) -> list[Completion]:
        """Greedy answers to `examples`; the same as `VLM.generate`, up to ties."""
        found: dict[int, Completion] = {}
        for places in by_picture(examples):
            rows = self.policy.encoder.encode_variants([examples[i] for i in places])
            if not self.checked:
                self._check(rows[:2], [[self.policy.stops[0]]])
            if self._whole(rows):
                said = self.policy.generate([examples[i] for i in places], max_new_tokens)
            else:
                said = self._grown(rows, max_new_tokens)
            found |= dict(zip(places, said, strict=True))
        return [found[i] for i in range(len(examples))]

    def _whole(self, rows: Sequence[Row]) -> bool:
        """Whether `rows` must be computed in full: always, or because they differ before their picture ends."""
        return bool(self.reason) or trunk_length(rows) == 0

    def _check(self, rows: Sequence[Row], continuations: Sequence[Sequence[int]]) -> None:
        """Compare the engine with the full forward once, and give it up where they differ."""
        self.checked = True
        if trunk_length(rows) == 0:
            return
        full = self._in_full(rows, continuations[:2])
        try:
            gap = float((self._branches(rows, continuations[:2]) - full).abs().max())
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError) as error:
            self.reason = f"this model does not take a tree of variants ({type(error).__name__})"
            return
        longest = max(len(c) for c in continuations[:2])
        if not gap <= TOLERANCE[self.policy.model.dtype] * longest:
            self.reason = f"with this model shared beginnings change scores (by {gap:.1g} nats)"

    def _branches(self, rows: Sequence[Row], continuations: Sequence[Sequence[int]]) -> Tensor:
        trunk = self._grow_trunk(rows)
        asked = [row.inputs["input_ids"][0, trunk.length :].tolist() for row in rows]
        ends = [list(c[:-1]) for c in continuations]  # the last token is read, not computed on
        scores = torch.zeros(len(rows), len(continuations))
        for part in in_parts(asked, max(1, self.most // (1 + sum(map(len, ends))))):
            tree = grow([asked[i] + end for i in part for end in ends])
            logprobs, place = self._read(trunk, tree, [len(asked[i]) - 1 for i in part for _ in ends])
            for k, path in enumerate(tree.paths):
                i, c = part[k // len(ends)], k % len(ends)
                nodes = [place[node] for node in path[len(asked[i]) - 1 :]]
                scores[i, c] = logprobs[nodes, list(continuations[c])].sum()
        return scores

    def _read(self, trunk: _Trunk, tree: Tree, first: Sequence[int]) -> tuple[Tensor, Mapping[int, int]]:
        """Log-probabilities after every node from place `first[i]` of path i on, and the row of each such node."""
        wanted = sorted({node for path, begin in zip(tree.paths, first, strict=True) for node in path[begin:]})
        logits = self._run(trunk, tree, torch.tensor(wanted))
        trunk.cache.crop(-len(tree))
        return logits.float().log_softmax(-1).cpu(), {node: row for row, node in enumerate(wanted)}

    def _grow_trunk(self, rows: Sequence[Row]) -> _Trunk:
        length = trunk_length(rows)
        batch = self.policy.to_device(self.policy.encoder.collate(rows[:1]))
        shape = batch.inputs["input_ids"].shape
        inputs = {name: t[:, :length] if t.shape == shape else t for name, t in batch.inputs.items()}
        cache = DynamicCache()
        self.policy.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return _Trunk(cache, length, self.policy.position_lag())

    def _run(self, trunk: _Trunk, tree: Tree, wanted: Tensor) -> Tensor:
        """Logits (W, V) of the nodes `wanted`; the cache keeps the whole tree after the trunk."""
        positions = torch.tensor(tree.depths) + trunk.length
        seen = torch.cat([torch.ones(len(tree), trunk.length, dtype=torch.bool), tree.sees()], dim=1)
        return self._forward(trunk, torch.tensor(tree.tokens), positions, seen, wanted)

    def _forward(self, trunk: _Trunk, tokens: Tensor, positions: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        """Logits after the nodes `wanted` among N new `tokens` at `positions`, each attending to the keys `seen` (N, K)."""
        model, device = self.policy.model, self.policy.device
        mask = torch.zeros(seen.shape, dtype=model.dtype, device=device)
        mask.masked_fill_(~seen.to(device), torch.finfo(model.dtype).min)
        where = positions[None].to(device)
        if trunk.lag is not None:
            where = (where + trunk.lag.view(-1)[0]).expand(3, *where.shape)
        out = model(
            input_ids=tokens[None].to(device),
            past_key_values=trunk.cache,
            attention_mask=mask[None, None],
            position_ids=where,
            use_cache=True,
            logits_to_keep=wanted.to(device),
        )
        logits: Tensor = out.logits[0]
        return logits

    def _grown(self, rows: Sequence[Row], max_new_tokens: int) -> list[Completion]:
        trunk = self._grow_trunk(rows)
        asked = [row.inputs["input_ids"][0, trunk.length :].tolist() for row in rows]
        said: list[list[int]] = [[] for _ in rows]
        for part in in_parts(asked, self.most):
            tree = grow([asked[i] for i in part])
            leaves = sorted({path[-1] for path in tree.paths})
            answers = self._decode(trunk, tree, leaves, max_new_tokens)
            for i, path in zip(part, tree.paths, strict=True):
                said[i] = answers[leaves.index(path[-1])]
        return self.policy.completions([row.example for row in rows], said)

    def _decode(self, trunk: _Trunk, tree: Tree, leaves: Sequence[int], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after every leaf, stop token included; all that still speak go on side by side."""
        logits = self._run(trunk, tree, torch.tensor(leaves))
        live = torch.arange(len(leaves))
        seen = torch.cat([torch.ones(len(leaves), trunk.length, dtype=torch.bool), tree.sees()[list(leaves)]], dim=1)
        positions = torch.tensor([tree.depths[leaf] for leaf in leaves]) + trunk.length
        stops = torch.tensor(self.policy.stops)
        said: list[list[int]] = [[] for _ in leaves]
        for step in range(max_new_tokens):
            tokens = logits.argmax(-1).cpu()
            for place, token in zip(live.tolist(), tokens.tolist(), strict=True):
                said[place].append(token)
            going = ~torch.isin(tokens, stops)
            live, tokens, seen, positions = live[going], tokens[going], seen[going], positions[going] + 1
            if not len(live) or step == max_new_tokens - 1:
                break
            seen = torch.cat([seen, torch.eye(len(live), dtype=torch.bool)], dim=1)
            logits = self._forward(trunk, tokens, positions, seen, torch.arange(len(live)))
        trunk.cache.crop(trunk.length - trunk.cache.get_seq_length())
        return said

    def _in_full(self, rows: Sequence[Row], continuations: Sequence[Sequence[int]], at_once: int = 16) -> Tensor:
        """The same scores by one ordinary forward pass per variant and continuation, in batches."""
        pairs = [(i, c) for c in range(len(continuations)) for i in range(len(rows))]
        scores = torch.zeros(len(rows), len(continuations))
        for begin in range(0, len(pairs), at_once):
            some = pairs[begin : begin + at_once]
            longer = [self.policy.encoder.lengthen(rows[i], continuations[c]) for i, c in some]
            logprobs = self.policy.token_logprobs(self.policy.to_device(self.policy.encoder.collate(longer))).cpu()
            for (i, c), row, found in zip(some, longer, logprobs, strict=True):
                end = len(row.segments)
                scores[i, c] = found[end - len(continuations[c]) : end].sum()
        return scores


def by_picture(examples: Sequence[Example]) -> list[list[int]]:
    """Places of the examples about the same picture, pictures in order of appearance."""
    groups: dict[str | None, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        groups[example.image].append(i)
    return list(groups.values())


def trunk_length(rows: Sequence[Row]) -> int:
    """How many tokens all `rows` share, each keeping at least one of its own; 0 if that does not cover the picture."""
    prompts = [row.inputs["input_ids"][0].tolist() for row in rows]
    shared = min(min(shared_length(prompts[0], prompt) for prompt in prompts), min(map(len, prompts)) - 1)
    return shared if shared >= max(row.picture_end for row in rows) else 0
