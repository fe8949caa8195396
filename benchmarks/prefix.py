"""Shared-prefix engine against the ordinary way: scoring and answering many variants of one question about one picture.

    python benchmarks/prefix.py [--json] [--variants 20 100] [--shape small|llava-1.5-7b] [--device cpu|cuda] [--threads N]

The two numbers first: the tokens that must be computed, and the bytes of keys and values that must be read for them.
The ordinary way is one full forward per variant, batched, at the batch size that serves it best. Both ways run in turn in
one process; speedup is the median of the paired ratios. Parity is asserted before anything is timed.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from shapes import make
from unmirage.attacks.one_word import OneWord
from unmirage.models.prefix import Prefix, trunk_length
from unmirage.models.tree import grow
from unmirage.models.vlm import VLM
from unmirage.records import Example
from unmirage.toy import world

QUESTION = Example("q", "Describe the rune of this thing and the place where it was seen.", "toy:1f436/blue/small/0,1")


def main() -> None:
    """Print a row for scoring and one for generating, for every number of variants."""
    options = argparse.ArgumentParser()
    options.add_argument("--json", action="store_true")
    options.add_argument("--variants", type=int, nargs="+", default=[20])
    options.add_argument("--shape", default="small")
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--new-tokens", type=int, default=32)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    dtype = torch.float32 if asked.device == "cpu" else torch.bfloat16
    policy = make(asked.shape, asked.device, dtype)
    policy.model.generation_config.eos_token_id = 31_999  # never said: every answer is of full length
    words = [w.capitalize() for w in world.vocabulary() if w.isalpha() and len(w) > 2]
    for count in asked.variants:
        examples = OneWord(tuple(words[:count]))(QUESTION)
        rows = [score(policy, examples, asked.repeats), generate(policy, examples, asked.new_tokens, asked.repeats)]
        for row in rows:
            row |= {"shape": asked.shape, "device": asked.device, "threads": asked.threads}
            print(json.dumps(row) if asked.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


def score(policy: VLM, examples: list[Example], repeats: int) -> dict[str, object]:
    """Log-probability of one refusal opening after every variant."""
    opening = [policy.encoder.tokens("Sorry, I cannot help")]
    rows = [policy.encoder.encode(e, False) for e in examples]
    engine, exact = Prefix(policy), Prefix(policy)
    gap = float((engine.score(examples, opening) - exact._in_full(rows, opening, 8)).abs().max())
    assert not engine.reason, engine.reason
    assert gap < (1e-4 if policy.model.dtype == torch.float32 else 1.0) * len(opening[0]), gap

    def ordinary(size: int) -> Callable[[], object]:
        return lambda: exact._in_full([policy.encoder.encode(e, False) for e in examples], opening, size)

    best = min((1, 4, len(examples)), key=lambda size: clock(ordinary(size)))
    found = compare(lambda: engine.score(examples, opening), ordinary(best), repeats)
    trunk = trunk_length(rows)
    tree = grow([row.inputs["input_ids"][0, trunk:].tolist() + opening[0][:-1] for row in rows])
    tokens = sum(len(row.segments) + len(opening[0]) for row in rows)
    return {"what": "score", "variants": len(examples), **found, "batch": best, "gap": round(gap, 7), "tokens": tokens,
            "tokens_shared": trunk + len(tree)}  # fmt: skip


def generate(policy: VLM, examples: list[Example], new_tokens: int, repeats: int) -> dict[str, object]:
    """Greedy answers of `new_tokens` tokens to every variant."""
    engine = Prefix(policy)
    fast, slow = engine.generate(examples, new_tokens), policy.generate(examples, new_tokens)
    assert not engine.reason, engine.reason
    same = sum(a == b for a, b in zip(fast, slow, strict=True))
    assert same == len(examples) or policy.model.dtype != torch.float32, f"{same} of {len(examples)} answers agree"

    def ordinary(size: int) -> Callable[[], object]:
        return lambda: [policy.generate(examples[i : i + size], new_tokens) for i in range(0, len(examples), size)]

    best = min((4, len(examples)), key=lambda size: clock(ordinary(size)))
    found = compare(lambda: engine.generate(examples, new_tokens), ordinary(best), repeats)
    return {"what": "generate", "variants": len(examples), **found, "batch": best, "same": same, "new_tokens": new_tokens}


def compare(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> dict[str, object]:
    """Seconds of both in turn, the median of their ratios, and the ratio of their peak memories."""
    pairs = [(clock(ours), clock(theirs)) for _ in range(repeats)]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    memory = peak(ours), peak(theirs)
    return {"speedup": round(ratio, 2), "seconds": round(mine, 3), "ordinary_seconds": round(other, 3),
            "peak_mib": memory[0], "ordinary_peak_mib": memory[1], "memory_ratio": round(memory[0] / max(1, memory[1]), 2)}  # fmt: skip


def clock(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak(work: Callable[[], object]) -> int:
    """MiB of memory that `work` needs above what is held before it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return int((torch.cuda.max_memory_allocated() - held) >> 20)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) >> 10


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


if __name__ == "__main__":
    main()
