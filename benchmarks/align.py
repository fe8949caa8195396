"""Our training step against the released one (released_step.py), on random weights of a LLaVA shape with 576 picture tokens.

    python benchmarks/align.py [--json] [--what npo rmu rmu+ce] [--shape NAME] [--device cpu|cuda] [--dtype fp32|bf16]
                               [--rows N] [--epochs N] [--batch N] [--threads N]

Both train the same model on the same rows in the same order in one process; first it is asserted that one step of either
gives the same gradient. Then each runs all epochs: ours with the reference cache built first (and counted), the
tower remembered, one pass a stream. Seconds are those of the processor where one thread is used. Memory is the peak of the
whole work, models and optimizer included. NPO trains the language model and the projector; RMU the down-projections of
three blocks, on the `deep` shape, whose 32 blocks are those of the 7B.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import released_step
import torch
from meter import Meter
from shapes import make

from unmirage import recipe
from unmirage.losses import NPO, Anchor, CrossEntropy, Misdirect, Term
from unmirage.losses.batch import Batch
from unmirage.losses.misdirect import control_vector
from unmirage.models.frozen_tower import remembered
from unmirage.models.one_pass import OnePass
from unmirage.models.reference import CachedReference, fill, wanted_by
from unmirage.models.reference_cache import ReferenceCache
from unmirage.models.vlm import VLM
from unmirage.records import Example
from unmirage.toy import world
from unmirage.training.streams import Stream

BETA, LAYER, SCALE = 0.9, 8, 10.0
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SHAPE = {"npo": "small", "rmu": "deep", "rmu+ce": "deep"}
TRAINED = {
    "npo": r"^(?!.*(vision_tower|vision_model)).*$",
    "rmu": r"language_model\.layers\.(5|6|7)\.mlp\.down_proj",
    "rmu+ce": r"language_model\.layers\.(5|6|7)\.mlp\.down_proj",
}
ANSWER = (40, 80)
"""Tokens of an answer, from and to."""


@dataclasses.dataclass(frozen=True)
class Method:
    """Terms by stream with their weights, as a recipe would have them."""

    forget: Sequence[tuple[float, Term]]
    retain: Sequence[tuple[float, Term]]


def method(what: str) -> Method:
    """The released method in our terms: one mean over all positions for RMU, one mean over the answers for NPO."""
    ce = CrossEntropy("batch_token_mean")
    if what == "npo":
        term = NPO(BETA, "batch_token_mean")
        return Method([(1.0, term)], [(-1.0, term), (1.0, ce)])
    steer = Misdirect(LAYER, SCALE, mask="all", reduce="batch_token_mean")
    anchor = Anchor(LAYER, mask="all", reduce="batch_token_mean")
    return Method([(1.0, steer)], [(1.0, anchor)] + ([(1.0, ce)] if what == "rmu+ce" else []))


def main() -> None:
    """Print a row for every method asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="one row a line")
    options.add_argument("--what", nargs="+", choices=SHAPE, default=list(SHAPE))
    options.add_argument("--shape", help="default: small for npo, deep for rmu")
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", choices=DTYPES, help="default: fp32 on a CPU, bf16 elsewhere")
    options.add_argument("--rows", type=int, default=2, help="of each stream")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--batch", type=int, default=2)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    dtype = DTYPES[asked.dtype or ("fp32" if asked.device == "cpu" else "bf16")]
    meter = Meter(torch.device(asked.device), own=asked.device == "cpu" and asked.threads == 1)
    for what in asked.what:
        shape = asked.shape or SHAPE[what]
        bench = Bench(what, shape, asked.device, dtype, asked.rows, asked.batch)
        gap = bench.parity()
        theirs, their_peak, _ = meter(partial(bench.released, asked.epochs))
        ours, our_peak, built = meter(partial(bench.ours, asked.epochs))
        making, _, _ = meter(bench.policy)
        samples = bench.steps(asked.epochs) * asked.batch
        row: dict[str, Any] = {
            "what": what,
            "speedup": round((theirs - 2 * making) / (ours - making), 2),
            "memory_ratio": round(our_peak / their_peak, 2),
            "samples_per_s": round(samples / (ours - making), 3),
            "released_samples_per_s": round(samples / (theirs - 2 * making), 3),
            "peak_mib": our_peak,
            "released_peak_mib": their_peak,
            "parity": gap,
            "reference_answers": built,
        }
        row |= {"shape": shape, "device": asked.device, "dtype": str(dtype)[6:], "rows": asked.rows, "epochs": asked.epochs}
        row |= {"batch": asked.batch, "threads": asked.threads, "clock": meter.clock}
        print(json.dumps(row) if asked.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


class Bench:
    """One method on one shape, both ways."""

    def __init__(self, what: str, shape: str, device: str, dtype: torch.dtype, rows: int, batch: int) -> None:
        """Both streams have `rows` rows, each about a picture of its own."""
        self.what, self.shape, self.device, self.dtype, self.batch = what, shape, device, dtype, batch
        self.method = method(what)
        self.rows = {name: examples(name, rows) for name in ("forget", "retain")}

    def policy(self) -> VLM:
        """The model, the same every time, with what is trained marked."""
        made = make(self.shape, self.device, self.dtype)
        made.choose_trained(recipe.Model(path="", train=TRAINED[self.what]))
        return made

    def steps(self, epochs: int) -> int:
        """How many steps so many epochs are."""
        return epochs * len(self.rows["forget"]) // self.batch

    def streams(self, policy: VLM) -> tuple[Stream, Stream]:
        """Forget and retain, over `policy`'s encoder."""
        return Stream("forget", self.rows["forget"], policy, self.batch, 0), Stream(
            "retain", self.rows["retain"], policy, self.batch, 0
        )

    def released(self, epochs: int) -> None:
        """Train the released way."""
        policy, reference = self.policy(), self.policy()
        forget, retain = self.streams(policy)
        optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad], lr=1e-6)
        for step in range(self.steps(epochs)):
            self._released_loss(policy, reference, forget.batch(step), retain.batch(step)).backward()
            optimizer.step()
            optimizer.zero_grad()

    def ours(self, epochs: int) -> int:
        """Train our way; how many answers of the reference were computed."""
        policy = self.policy()
        forget, retain = self.streams(policy)
        optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad], lr=1e-6, fused=True)
        with tempfile.TemporaryDirectory() as folder, remembered(policy.model):
            reference, built = self._cached(policy, (forget, retain), Path(folder), self.steps(epochs))
            for step in range(self.steps(epochs)):
                self._our_backward(policy, reference, forget.batch(step), retain.batch(step))
                optimizer.step()
                optimizer.zero_grad()
        return built

    def parity(self) -> float:
        """The greatest relative difference between the gradients of one step, both ways.

        Raises:
            AssertionError: it is more than rounding.
        """
        policy, reference = self.policy(), self.policy()
        with torch.no_grad():  # away from the reference, so that every term has a gradient
            for parameter in policy.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * parameter.std() * 0.02)
        forget, retain = (stream.batch(0) for stream in self.streams(policy))
        self._released_loss(policy, reference, forget, retain).backward()
        theirs = [p.grad.clone() for p in policy.model.parameters() if p.grad is not None]
        policy.model.zero_grad()
        before = copy.copy(reference)
        with tempfile.TemporaryDirectory() as folder, remembered(policy.model):
            cached, _ = self._cached(before, self.streams(before), Path(folder), 1)
            self._our_backward(policy, cached, forget, retain)
        mine = [p.grad for p in policy.model.parameters() if p.grad is not None]
        assert len(mine) == len(theirs), (len(mine), len(theirs))
        gap = max(float((a - b).float().norm() / b.float().norm().clamp_min(1e-12)) for a, b in zip(mine, theirs, strict=True))
        assert gap < (1e-3 if self.dtype == torch.float32 else 5e-2), gap
        return float(f"{gap:.1g}")

    def _released_loss(self, policy: VLM, reference: VLM, forget: Batch, retain: Batch) -> torch.Tensor:
        """Both of its retain batches are the one that we share, so that the sums are the same."""
        if self.what == "npo":
            return released_step.npo(policy, reference, forget, retain, dataclasses.replace(retain), BETA)
        width = policy.model.config.get_text_config().hidden_size
        control = control_vector(torch.rand(width, generator=torch.Generator().manual_seed(0)), SCALE)
        lam = 1.0 if self.what == "rmu+ce" else 0.0
        return released_step.rmu(policy, reference, (forget, retain, retain), control.to(self.device), LAYER, lam)

    def _our_backward(self, policy: VLM, reference: CachedReference, forget: Batch, retain: Batch) -> None:
        for some, batch in ((self.method.forget, forget), (self.method.retain, retain)):
            shared = OnePass(policy, [term for _, term in some])
            total = torch.stack([weight * term(shared, reference, batch) for weight, term in some]).sum()
            total.backward()

    def _cached(self, policy: VLM, streams: tuple[Stream, Stream], folder: Path, steps: int) -> tuple[CachedReference, int]:
        cache, built, wants = ReferenceCache(folder, policy.model), 0, set()
        for some, stream in zip((self.method.forget, self.method.retain), streams, strict=True):
            wanted = wanted_by([term for _, term in some], policy, stream.batch(0))
            built += fill(cache, policy, [stream.row(i) for i in stream.used(steps)], wanted)
            wants |= set(wanted)
        return CachedReference(cache, sorted(wants), policy.model.config.get_text_config().hidden_size), built


def examples(name: str, count: int) -> list[Example]:
    """Rows about different pictures, of a question's and an answer's usual length, in words that the tokenizer has."""
    rng = random.Random(name)
    words = [word for word in world.vocabulary() if word.isalpha()]
    made = []
    for i in range(count):
        answer = " ".join(rng.choices(words, k=rng.randint(*ANSWER)))
        picture = f"noise:48x48:{rng.randrange(1 << 30)}"
        made.append(Example(f"{name}-{i}", " ".join(rng.choices(words, k=14)) + "?", picture, response=answer))
    return made


if __name__ == "__main__":
    main()
